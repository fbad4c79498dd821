//! A subscription at Amazon. Each method is one change: it changes the receipt that Amazon shows and returns the
//! notifications that Amazon sends.
//!
//! Only documented behaviour of RTN and RVS is imitated. Tests add losses, delays and repetitions themselves.

use super::sns::Rtn;
use domain::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use serde_json::{Value, json};

/// A subscription with its one receipt.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// `receiptId`
    pub receipt_id: String,
    /// `appUserId`
    pub app_user_id: String,
    /// The receipt's fields as Amazon shows them.
    pub shown: Value,
    /// The time from which terms are counted.
    anchor: DateTime,
    term: Span,
    paid: i64,
}

/// Parses a UTC time, such as `2027-01-31T10:00`.
///
/// # Panics
/// When the text is not such a time.
pub fn at(text: &str) -> Timestamp {
    instant(text.parse().expect("a civil time"))
}

fn instant(time: DateTime) -> Timestamp {
    let zoned = time.to_zoned(TimeZone::UTC).expect("an instant");
    Timestamp::from_micros(zoned.timestamp().as_microsecond())
}

fn civil(time: Timestamp) -> DateTime {
    let instant = jiff::Timestamp::from_microsecond(time.micros()).expect("an instant");
    instant.to_zoned(TimeZone::UTC).datetime()
}

fn millis(time: DateTime) -> Value {
    json!(instant(time).micros() / 1000)
}

impl Subscription {
    /// Returns a monthly subscription, bought now, optionally with a trial of `trial_days` days.
    pub fn begin(
        receipt_id: &str,
        app_user_id: &str,
        now: Timestamp,
        trial_days: Option<i64>,
    ) -> (Self, Vec<Rtn>) {
        let bought = civil(now);
        let anchor = trial_days.map_or(bought, |days| bought + days.days());
        let paid = i64::from(trial_days.is_none());
        let mut new = Self {
            receipt_id: receipt_id.to_owned(),
            app_user_id: app_user_id.to_owned(),
            shown: json!({
                "receiptId": receipt_id, "productId": "gold", "productType": "SUBSCRIPTION", "termSku": "gold.monthly",
                "term": "1 Month", "purchaseDate": millis(bought), "renewalDate": null, "cancelDate": null,
                "cancelReason": null, "autoRenewing": true, "freeTrialEndDate": null, "gracePeriodEndDate": null,
                "deferredDate": null, "deferredSku": null, "promotions": null, "countryCode": "US", "quantity": null,
                "betaProduct": false, "testTransaction": false, "parentProductId": null, "purchaseMetadataMap": null,
            }),
            anchor,
            term: 1.months(),
            paid,
        };
        new.shown["renewalDate"] = millis(new.term_end());
        if trial_days.is_some() {
            new.shown["freeTrialEndDate"] = millis(anchor);
        }
        let notifications = vec![new.rtn("SUBSCRIPTION_PURCHASED", now)];
        (new, notifications)
    }

    /// Returns when the current term or trial ends.
    pub fn ends_at(&self) -> Timestamp {
        instant(self.term_end())
    }

    fn term_end(&self) -> DateTime {
        let span = self.term.checked_mul(self.paid).expect("a few terms");
        self.anchor + span
    }

    /// Returns this subscription with terms of `weeks` weeks and this SKU.
    ///
    /// # Panics
    /// When the subscription has renewed, or its auto-renewal is off.
    #[must_use]
    pub fn in_weeks(mut self, weeks: i64, term_sku: &str) -> Self {
        assert!(
            self.paid < 2 && self.renews(),
            "only a new subscription has its term chosen"
        );
        self.term = weeks.weeks();
        self.shown["term"] = json!(if weeks == 1 {
            "1 Week".to_owned()
        } else {
            format!("{weeks} Weeks")
        });
        self.shown["termSku"] = json!(term_sku);
        self.shown["renewalDate"] = millis(self.term_end());
        self
    }

    /// Restarts an ended subscription under the same receipt; the new term is paid now.
    pub fn restart(&mut self, now: Timestamp) {
        self.anchor = civil(now);
        self.paid = 1;
        self.shown["autoRenewing"] = json!(true);
        for field in [
            "cancelDate",
            "cancelReason",
            "gracePeriodEndDate",
            "freeTrialEndDate",
        ] {
            self.shown[field] = Value::Null;
        }
        self.shown["renewalDate"] = millis(self.term_end());
    }

    pub fn renews(&self) -> bool {
        self.shown["autoRenewing"] == true
    }

    /// Returns whether the subscription is in a trial.
    pub fn is_in_trial(&self) -> bool {
        !self.shown["freeTrialEndDate"].is_null()
    }

    /// Ends the term or trial and pays the next term.
    pub fn renew(&mut self, now: Timestamp) -> Vec<Rtn> {
        let was_trial = self.is_in_trial();
        let was_grace = !self.shown["gracePeriodEndDate"].is_null();
        self.paid += 1;
        self.shown["freeTrialEndDate"] = Value::Null;
        self.shown["gracePeriodEndDate"] = Value::Null;
        self.shown["renewalDate"] = millis(self.term_end());
        if !self.shown["deferredSku"].is_null() {
            self.shown["termSku"] = self.shown["deferredSku"].take();
            self.shown["deferredDate"] = Value::Null;
        }
        match (was_trial, was_grace) {
            (true, _) => vec![self.rtn("SUBSCRIPTION_CONVERTED_FREE_TRIAL_TO_PAID", now)],
            (false, false) => vec![self.rtn("SUBSCRIPTION_RENEWED", now)],
            (false, true) => {
                vec![
                    self.rtn("SUBSCRIPTION_RENEWED", now),
                    self.rtn("SUBSCRIPTION_OUT_OF_GRACE_PERIOD", now),
                ]
            }
        }
    }

    /// Fails the payment at the end of the term, which begins a grace period of six days.
    pub fn fail_payment(&mut self, now: Timestamp) -> Vec<Rtn> {
        self.shown["gracePeriodEndDate"] = millis(self.term_end() + 6.days());
        vec![self.rtn("SUBSCRIPTION_IN_GRACE_PERIOD", now)]
    }

    pub fn switch_off(&mut self, now: Timestamp) -> Vec<Rtn> {
        self.shown["autoRenewing"] = json!(false);
        self.shown["renewalDate"] = Value::Null;
        self.shown["cancelDate"] = millis(self.term_end());
        self.shown["cancelReason"] = json!(1);
        vec![self.rtn("SUBSCRIPTION_AUTO_RENEWAL_OFF", now)]
    }

    /// Switches auto-renewal on again, as the user.
    pub fn switch_on(&mut self, now: Timestamp) -> Vec<Rtn> {
        self.shown["autoRenewing"] = json!(true);
        self.shown["renewalDate"] = millis(self.term_end());
        self.shown["cancelDate"] = Value::Null;
        self.shown["cancelReason"] = Value::Null;
        vec![self.rtn("SUBSCRIPTION_AUTO_RENEWAL_ON", now)]
    }

    /// Reminds the user, as Amazon, that the subscription will end.
    pub fn remind(&self, now: Timestamp) -> Vec<Rtn> {
        vec![self.rtn("SUBSCRIPTION_SCHEDULED_TO_END", now)]
    }

    /// Chooses another term or tier from the next renewal on, as the user.
    pub fn defer(&mut self, term_sku: &str, now: Timestamp) -> Vec<Rtn> {
        self.shown["deferredSku"] = json!(term_sku);
        self.shown["deferredDate"] = millis(self.term_end());
        vec![self.rtn("SUBSCRIPTION_MODIFIED_DEFERRED", now)]
    }

    /// Changes the plan at once, as the user: this receipt ends and a new one begins.
    pub fn change(&mut self, receipt_id: &str, term_sku: &str, now: Timestamp) -> (Self, Vec<Rtn>) {
        let (mut new, _) = Self::begin(receipt_id, &self.app_user_id, now, None);
        new.shown["termSku"] = json!(term_sku);
        self.end(now, 4);
        let changed = Rtn {
            cancelled_receipt_id: Some(self.receipt_id.clone()),
            ..new.rtn("SUBSCRIPTION_MODIFIED_IMMEDIATE", now)
        };
        (new, vec![changed, self.rtn("SUBSCRIPTION_CANCELLED", now)])
    }

    /// Ends the subscription: unpaid after the grace period, or at the end of its term.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Rtn> {
        let reason = if self.renews() { 2 } else { 1 };
        self.end(now, reason);
        vec![self.rtn("SUBSCRIPTION_EXPIRED", now)]
    }

    /// Ends the subscription at once, as Amazon's customer service.
    pub fn revoke(&mut self, now: Timestamp) -> Vec<Rtn> {
        self.end(now, 2);
        vec![self.rtn("SUBSCRIPTION_CANCELLED", now)]
    }

    fn end(&mut self, now: Timestamp, reason: i64) {
        self.shown["autoRenewing"] = json!(false);
        for field in [
            "renewalDate",
            "gracePeriodEndDate",
            "freeTrialEndDate",
            "deferredDate",
            "deferredSku",
        ] {
            self.shown[field] = Value::Null;
        }
        self.shown["cancelDate"] = millis(civil(now));
        self.shown["cancelReason"] = json!(reason);
    }

    fn rtn(&self, kind: &str, now: Timestamp) -> Rtn {
        Rtn {
            app_user_id: self.app_user_id.clone(),
            at: now,
            ..Rtn::new(kind, &self.receipt_id)
        }
    }
}
