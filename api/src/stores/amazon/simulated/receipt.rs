//! Builds the receipt that the simulated store returns, from the purchase's notifications. Pure.
//!
//! The receipt has the fields that Amazon documents, as far as a demo needs them. Its terms last thirty days and renew
//! automatically while auto-renewal is on.

use domain::Timestamp;
use serde_json::{Value, json};

/// A notification of the demo's store: its type and when it was accepted.
pub struct Sent {
    /// The store's type, such as `SUBSCRIPTION_RENEWED`.
    pub store_type: String,
    /// When the message was accepted.
    pub at: Timestamp,
}

/// Products of the demo: SKU, name, price in US dollars, and whether the product gives the entitlement.
pub const PRODUCTS: [(&str, &str, &str, bool); 4] = [
    (MONTHLY, "Demo Gold, monthly (simulated)", "9.99", true),
    (YEARLY, "Demo Gold, yearly (simulated)", "99.99", true),
    (COINS, "Demo Coins (simulated)", "1.99", false),
    (LIFETIME, "Demo Gold, lifetime (simulated)", "149.99", true),
];
/// Reference id of the entitlement that the products give.
pub const ENTITLEMENT: &str = "gold";

const PARENT: &str = "demo.gold";
const MONTHLY: &str = "demo.gold.monthly";
const YEARLY: &str = "demo.gold.yearly";
const COINS: &str = "demo.coins";
const LIFETIME: &str = "demo.gold.forever";
const DAY_MS: i64 = 24 * 60 * 60 * 1000;
/// Length of a term, shown as a month, in milliseconds.
const TERM_MS: i64 = 30 * DAY_MS;
const GRACE_MS: i64 = 6 * DAY_MS;

/// Why a subscription or purchase ended, with the store's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Customer = 1,
    Store = 2,
    Replaced = 4,
}

/// A receipt to which notifications are being applied.
struct Receipt {
    kind: &'static str,
    sku: &'static str,
    bought_at: Timestamp,
    term_ends_at: Timestamp,
    renews: bool,
    end: Option<(Timestamp, Reason)>,
    grace_ends_at: Option<Timestamp>,
    deferred_sku: Option<&'static str>,
}

/// Returns the store's receipt at `now`; `None` if the store does not know it. `sent` is in the order of acceptance.
pub fn receipt(receipt_id: &str, sent: &[Sent], now: Timestamp) -> Option<Value> {
    let (first, rest) = sent.split_first()?;
    let mut receipt = Receipt::begin(first);
    // As the first notification, these two only begin the receipt and are not applied to it as well.
    let is_beginning = matches!(
        first.store_type.as_str(),
        "SUBSCRIPTION_RENEWED" | "SUBSCRIPTION_MODIFIED_IMMEDIATE"
    );
    for one in if is_beginning { rest } else { sent } {
        receipt.pass(one.at);
        receipt.apply(one);
    }
    receipt.pass(now);
    Some(receipt.shown(receipt_id))
}

impl Receipt {
    fn begin(first: &Sent) -> Self {
        let (kind, sku) = match first.store_type.split('_').next() {
            Some("CONSUMABLE") => ("CONSUMABLE", COINS),
            Some("ENTITLEMENT") => ("ENTITLED", LIFETIME),
            _ if first.store_type == "SUBSCRIPTION_MODIFIED_IMMEDIATE" => ("SUBSCRIPTION", YEARLY),
            _ => ("SUBSCRIPTION", MONTHLY),
        };
        Self {
            kind,
            sku,
            bought_at: first.at,
            term_ends_at: first.at.plus_millis(TERM_MS),
            renews: true,
            end: None,
            grace_ends_at: None,
            deferred_sku: None,
        }
    }

    /// Advances the receipt to `now`: each term that has ended is renewed, or ends the subscription.
    fn pass(&mut self, now: Timestamp) {
        while self.kind == "SUBSCRIPTION" && self.end.is_none() && self.term_ends_at <= now {
            match self.grace_ends_at {
                Some(until) if until > now => return,
                Some(until) => self.end = Some((until, Reason::Store)),
                None if self.renews => self.renew(),
                None => self.end = Some((self.term_ends_at, Reason::Customer)),
            }
        }
    }

    fn renew(&mut self) {
        self.term_ends_at = self.term_ends_at.plus_millis(TERM_MS);
        self.sku = self.deferred_sku.take().unwrap_or(self.sku);
    }

    fn apply(&mut self, one: &Sent) {
        match one.store_type.as_str() {
            "SUBSCRIPTION_PURCHASED" if self.end.is_some() => {
                self.end = None;
                self.renews = true;
                self.term_ends_at = one.at.plus_millis(TERM_MS);
            }
            "SUBSCRIPTION_RENEWED" => {
                self.renew();
                self.grace_ends_at = None;
            }
            "SUBSCRIPTION_OUT_OF_GRACE_PERIOD" => self.grace_ends_at = None,
            "SUBSCRIPTION_IN_GRACE_PERIOD" => {
                self.term_ends_at = one.at;
                self.grace_ends_at = Some(one.at.plus_millis(GRACE_MS));
            }
            "SUBSCRIPTION_AUTO_RENEWAL_OFF" => self.renews = false,
            "SUBSCRIPTION_AUTO_RENEWAL_ON" => self.renews = true,
            "SUBSCRIPTION_MODIFIED_DEFERRED" => self.deferred_sku = Some(YEARLY),
            "SUBSCRIPTION_MODIFIED_IMMEDIATE" => self.end = Some((one.at, Reason::Replaced)),
            "SUBSCRIPTION_EXPIRED" => {
                let reason = if self.renews {
                    Reason::Store
                } else {
                    Reason::Customer
                };
                self.end = Some((one.at, reason));
            }
            "SUBSCRIPTION_CANCELLED" | "CONSUMABLE_CANCELLED" | "ENTITLEMENT_CANCELLED"
                if self.end.is_none() =>
            {
                self.end = Some((one.at, Reason::Store));
            }
            _ => {}
        }
    }

    /// Returns the receipt as JSON in Amazon's format, marked as a test purchase.
    fn shown(&self, receipt_id: &str) -> Value {
        let is_subscription = self.kind == "SUBSCRIPTION";
        let millis = |at: Timestamp| at.micros().div_euclid(1000);
        let end = match self.end {
            None if is_subscription && !self.renews => Some((self.term_ends_at, Reason::Customer)),
            end => end,
        };
        let runs_on = is_subscription && end.is_none();
        let deferred = self.deferred_sku.filter(|_| runs_on);
        json!({
            "receiptId": receipt_id,
            "productType": self.kind,
            "productId": if is_subscription { PARENT } else { self.sku },
            "termSku": is_subscription.then_some(self.sku),
            "term": is_subscription.then_some("1 Month"),
            "purchaseDate": millis(self.bought_at),
            "renewalDate": runs_on.then(|| millis(self.term_ends_at)),
            "cancelDate": end.map(|(at, _)| millis(at)),
            "cancelReason": end.map(|(_, reason)| reason as i64),
            "autoRenewing": runs_on,
            "gracePeriodEndDate": self.grace_ends_at.filter(|_| runs_on).map(millis),
            "freeTrialEndDate": null,
            "deferredDate": deferred.map(|_| millis(self.term_ends_at)),
            "deferredSku": deferred,
            "countryCode": "US",
            "betaProduct": false,
            "testTransaction": true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{COINS, DAY_MS, Sent, TERM_MS, YEARLY, receipt};
    use domain::Timestamp;
    use serde_json::{Value, json};

    fn at(day: i64) -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000 + day * DAY_MS)
    }

    fn day(value: &Value) -> Option<i64> {
        value
            .as_i64()
            .map(|millis| (millis - 1_700_000_000_000) / DAY_MS)
    }

    fn shown(sent: &[(&str, i64)], now: i64) -> Value {
        let sent = sent.iter().map(|(name, day)| Sent {
            store_type: (*name).to_owned(),
            at: at(*day),
        });
        receipt("r", &sent.collect::<Vec<_>>(), at(now)).expect("a receipt")
    }

    #[test]
    fn a_receipt_that_nothing_was_sent_of_is_not_known() {
        assert_eq!(receipt("r", &[], at(0)), None);
    }

    #[test]
    fn a_subscription_renews_by_itself_until_renewal_is_off() {
        let bought = [("SUBSCRIPTION_PURCHASED", 0)];
        let new = shown(&bought, 0);
        assert_eq!(
            (day(&new["renewalDate"]), &new["autoRenewing"]),
            (Some(30), &json!(true))
        );
        assert_eq!(
            (&new["productId"], &new["testTransaction"]),
            (&json!("demo.gold"), &json!(true))
        );
        assert_eq!(day(&shown(&bought, 70)["renewalDate"]), Some(90));
        let off = [
            ("SUBSCRIPTION_PURCHASED", 0),
            ("SUBSCRIPTION_AUTO_RENEWAL_OFF", 5),
        ];
        for now in [6, 60] {
            let off = shown(&off, now);
            assert_eq!(
                (day(&off["cancelDate"]), &off["cancelReason"]),
                (Some(30), &json!(1)),
                "{now}"
            );
            assert_eq!(
                (&off["renewalDate"], &off["autoRenewing"]),
                (&Value::Null, &json!(false)),
                "{now}"
            );
        }
    }

    #[test]
    fn grace_ends_in_a_payment_or_in_the_end() {
        let unpaid = [
            ("SUBSCRIPTION_PURCHASED", 0),
            ("SUBSCRIPTION_IN_GRACE_PERIOD", 29),
        ];
        assert_eq!(day(&shown(&unpaid, 30)["gracePeriodEndDate"]), Some(35));
        assert_eq!(day(&shown(&unpaid, 40)["cancelDate"]), Some(35));
        let paid = [
            unpaid.as_slice(),
            &[
                ("SUBSCRIPTION_RENEWED", 31),
                ("SUBSCRIPTION_OUT_OF_GRACE_PERIOD", 31),
            ],
        ]
        .concat();
        let paid = shown(&paid, 32);
        assert_eq!(
            (&paid["gracePeriodEndDate"], day(&paid["renewalDate"])),
            (&Value::Null, Some(59))
        );
    }

    #[test]
    fn ends_and_changes_of_plan_are_shown() {
        let expired = shown(
            &[("SUBSCRIPTION_PURCHASED", 0), ("SUBSCRIPTION_EXPIRED", 3)],
            4,
        );
        assert_eq!(
            (day(&expired["cancelDate"]), &expired["cancelReason"]),
            (Some(3), &json!(2))
        );
        let replaced = shown(
            &[
                ("SUBSCRIPTION_PURCHASED", 0),
                ("SUBSCRIPTION_MODIFIED_IMMEDIATE", 3),
            ],
            4,
        );
        assert_eq!(replaced["cancelReason"], json!(4));
        assert_eq!(
            shown(&[("SUBSCRIPTION_MODIFIED_IMMEDIATE", 3)], 4)["termSku"],
            json!(YEARLY)
        );
        let deferred = [
            ("SUBSCRIPTION_PURCHASED", 0),
            ("SUBSCRIPTION_MODIFIED_DEFERRED", 3),
        ];
        assert_eq!(shown(&deferred, 4)["deferredSku"], json!(YEARLY));
        assert_eq!(shown(&deferred, 31)["termSku"], json!(YEARLY));
        let coins = shown(
            &[("CONSUMABLE_PURCHASED", 0), ("CONSUMABLE_CANCELLED", 1)],
            400,
        );
        assert_eq!(
            (&coins["productId"], day(&coins["cancelDate"])),
            (&json!(COINS), Some(1))
        );
        assert!(TERM_MS > 0 && coins["renewalDate"].is_null());
    }
}
