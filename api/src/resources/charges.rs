//! Sentences about a subscription's next charge and its amount. Pure.

use super::standing::{Record, WHO_CANCELS, renewing};
use domain::user::CustomerPurchase;
use domain::{Environment, State, Timestamp};
use storage::{Paged, PurchaseView};

/// Returns a sentence about the customer's next real charge: when it is due (the first renewal after `now`), or that
/// there is none because auto-renewal is off for every active subscription. `None` if neither is known. `views` are the
/// most recently settled purchases, and `counted` has all of the customer's.
pub fn next_charge(
    views: &Paged<PurchaseView>,
    counted: &[CustomerPurchase],
    now: Timestamp,
) -> Option<String> {
    let active = |states: &[State]| renewing(&views.items, counted, states);
    let is_off = is_certain(views, counted)
        && active(&[State::Trial, State::Active, State::Grace]).is_empty()
        && !active(&[State::TrialOff, State::Off]).is_empty();
    let records = active(&[State::Trial, State::Active]);
    let next = records
        .iter()
        .find(|record| record.expires_at.is_some_and(|at| at > now));
    let sentence = next.map(|record| format!("{}, {}.", record.charge(now), record.product()));
    sentence.or_else(|| is_off.then(|| "No further charge.".to_owned()))
}

/// Returns the sentence that erasing a customer ends no subscription, with the next charge if known; `None` if none
/// renews.
pub fn charged_after_erasing(
    views: &[PurchaseView],
    counted: &[CustomerPurchase],
    now: Timestamp,
) -> Option<String> {
    let renewing = renewing(views, counted, &[State::Trial, State::Active, State::Grace]);
    let next = renewing
        .iter()
        .filter(|record| record.expires_at.is_some_and(|at| at > now))
        .min_by_key(|record| record.expires_at);
    let record = next.or(renewing.first())?;
    let at = record
        .expires_at
        .map_or_else(String::new, |at| format!(", next on {at}"));
    Some(format!(
        "Erasing does not end the subscription ({}): the store goes on charging for it{at}. {WHO_CANCELS}.",
        record.product()
    ))
}

/// Returns whether all production purchases were read and the store's response for each is known. Otherwise, one that
/// was not read may renew.
fn is_certain(views: &Paged<PurchaseView>, counted: &[CustomerPurchase]) -> bool {
    let is_known = |one: &CustomerPurchase| {
        one.environment != Environment::Production || one.is_active.is_some()
    };
    let is_answered = |view: &PurchaseView| view.standing.unverified_since.is_none();
    views.next_cursor.is_none()
        && counted.iter().all(is_known)
        && views.items.iter().all(is_answered)
}

impl Record {
    /// Returns whether the renewal time has passed while the store has confirmed neither the renewal nor an end.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// Returns when a renewing subscription is charged next, and the amount if known. Test purchases are not charged.
    pub(super) fn charge(&self, now: Timestamp) -> String {
        let next = self
            .pending_sku_ref_id
            .as_ref()
            .map(|sku| format!(" as `{sku}`"))
            .unwrap_or_default();
        match (self.expires_at, self.next_amount()) {
            (None, _) => format!("It renews{next}; the date is not known yet"),
            (Some(at), _) if self.is_due(now) => {
                format!("Renewal was due on {at}; the store has not confirmed it yet")
            }
            (Some(at), _) if self.is_test() => format!("Renews {at}{next}"),
            (Some(at), None) => format!("Next charge: {at}{next}"),
            (Some(at), Some(amount)) => format!("Next charge: {amount} on {at}{next}"),
        }
    }

    /// Returns the sentence that a refunded subscription will be charged again; `None` if it does not renew.
    pub(super) fn charges_on(&self, state: State, now: Timestamp) -> Option<String> {
        let renews = matches!(state, State::Trial | State::Active) && self.is_subscription();
        renews.then(|| {
            let charge = self.charge(now);
            format!("Renewal is still on. {charge}. {WHO_CANCELS}")
        })
    }

    /// Returns the last payment's price with its source; `None` if the next term may have another price.
    fn next_amount(&self) -> Option<String> {
        let is_on = |flag: Option<bool>| flag == Some(true);
        let is_reduced = is_on(self.is_in_trial_period) || is_on(self.is_in_intro_offer_period);
        if is_reduced || self.offer_type.is_some() || self.pending_sku_ref_id.is_some() {
            return None;
        }
        let price = self.price()?;
        Some(match self.price_source.as_deref() {
            Some("report") => format!("{price} (as last charged)"),
            Some("device") => format!("{price} (price on the device)"),
            Some("catalogue") => format!("{price} (list price)"),
            _ => price,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{charged_after_erasing, next_charge};
    use crate::resources::refunds::tests::entry;
    use crate::resources::standing::{Known, Record, Standing};
    use domain::payment::EntryKind;
    use domain::user::CustomerPurchase;
    use domain::{AppId, CollapseKey, Environment, PlatformId, State, Timestamp};
    use serde_json::{Value, json};
    use std::collections::BTreeSet;
    use storage::{Paged, PurchaseStatus, PurchaseView};
    use uuid::Uuid;

    fn now() -> Timestamp {
        "2026-11-28T00:00:00Z".parse().unwrap()
    }

    /// Returns a monthly subscription with these additional fields.
    fn gold(fields: Value) -> Record {
        let mut record = json!({
            "entitlements": [{ "name": "Gold" }], "current_term_length": "P1M", "expires_at": "2026-12-03T00:00:00Z",
        });
        record
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        serde_json::from_value(record).unwrap()
    }

    #[test]
    fn a_charge_has_its_amount_where_the_next_one_has_that_price() {
        let priced = |mut fields: Value| {
            fields["purchase_price"] = json!("9.99");
            fields["purchase_currency"] = json!("USD");
            gold(fields).charge(now())
        };
        let at: Timestamp = "2026-12-03T00:00:00Z".parse().unwrap();
        for (fields, sentence) in [
            (
                json!({ "price_source": "catalogue" }),
                format!("Next charge: 9.99 USD (list price) on {at}"),
            ),
            (
                json!({ "price_source": "report" }),
                format!("Next charge: 9.99 USD (as last charged) on {at}"),
            ),
            (json!({}), format!("Next charge: 9.99 USD on {at}")),
            (
                json!({ "offer_type": "promotion" }),
                format!("Next charge: {at}"),
            ),
            (
                json!({ "is_in_intro_offer_period": true }),
                format!("Next charge: {at}"),
            ),
            (
                json!({ "pending_sku_ref_id": "year" }),
                format!("Next charge: {at} as `year`"),
            ),
            (json!({ "environment": "sandbox" }), format!("Renews {at}")),
        ] {
            assert_eq!(priced(fields), sentence);
        }
        assert_eq!(
            gold(json!({ "expires_at": null })).charge(now()),
            "It renews; the date is not known yet"
        );
    }

    #[test]
    fn a_renewal_whose_time_has_passed_is_not_announced_as_a_charge() {
        let at: Timestamp = "2026-12-03T00:00:00Z".parse().unwrap();
        let due = format!("Renewal was due on {at}; the store has not confirmed it yet");
        let gold = gold(json!({ "purchase_price": "9.99", "purchase_currency": "USD" }));
        assert_eq!(gold.charge(at), due);
        for state in [State::Active, State::Trial] {
            assert_eq!(gold.runs(state, at), Some(due.clone()), "{state:?}");
            assert_ne!(gold.runs(state, now()), Some(due.clone()), "{state:?}");
        }
        let refunded = gold.charges_on(State::Active, at).unwrap();
        assert!(
            refunded.starts_with(&format!("Renewal is still on. {due}. Only the customer ")),
            "{refunded}"
        );
    }

    /// Returns a subscription in this state.
    fn subscription(number: u128, state: State) -> (PurchaseView, CustomerPurchase) {
        let (key, id) = (
            CollapseKey::new(Uuid::from_u128(number)),
            Uuid::from_u128(1),
        );
        let view = PurchaseView {
            collapse_key: key,
            platform_id: PlatformId::new(id),
            app_id: AppId::new(id),
            receipt_id: "receipt".to_owned(),
            app_user_id: None,
            revision: 1,
            state: state.as_str().to_owned(),
            held_until: None,
            held_by: None,
            held_reason: None,
            updated_at: now(),
            standing: PurchaseStatus::default(),
            data: json!({ "data": { "product_type": "subscription", "expires_at": "2026-12-03T00:00:00Z" } }),
        };
        let counted = CustomerPurchase {
            collapse_key: key,
            state: Some(state.as_str().to_owned()),
            is_active: state.is_active(),
            expires_at: None,
            sku: None,
            environment: Environment::Production,
            announced_at: None,
        };
        (view, counted)
    }

    #[test]
    fn no_further_charge_is_certain_only_if_every_purchase_is_known() {
        let charge = |all: &[(PurchaseView, CustomerPurchase)], next_cursor: Option<&str>| {
            let (items, counted): (Vec<_>, Vec<_>) = all.iter().cloned().unzip();
            next_charge(
                &Paged {
                    items,
                    next_cursor: next_cursor.map(str::to_owned),
                },
                &counted,
                now(),
            )
        };
        let (off, unknown) = (subscription(1, State::Off), subscription(2, State::Unknown));
        let none = Some("No further charge.".to_owned());
        assert_eq!(charge(std::slice::from_ref(&off), None), none);
        assert_eq!(
            charge(std::slice::from_ref(&off), Some("51")),
            None,
            "the 51st may renew"
        );
        assert_eq!(
            charge(&[off.clone(), unknown.clone()], None),
            None,
            "the store has not shown it yet"
        );
        let test = CustomerPurchase {
            environment: Environment::Sandbox,
            ..unknown.1
        };
        assert_eq!(
            charge(&[off.clone(), (unknown.0, test)], None),
            none,
            "no money"
        );
        let mut silent = off;
        silent.0.standing.unverified_since = Some(now());
        assert_eq!(charge(&[silent], None), None, "the store stopped answering");
        let on = charge(&[subscription(3, State::Active)], Some("51")).unwrap_or_default();
        assert!(on.starts_with("Next charge: 2026-12-03T00:00:00"), "{on}");
    }

    #[test]
    fn erasing_ends_no_subscription_that_renews() {
        let sentence = |state: State| {
            let (view, counted) = subscription(1, state);
            charged_after_erasing(&[view], &[counted], now())
        };
        let on = sentence(State::Active).unwrap_or_default();
        let end = "the store goes on charging for it, next on 2026-12-03T00:00:00";
        assert!(
            on.starts_with("Erasing does not end ") && on.contains(end),
            "{on}"
        );
        for state in [State::Off, State::Expired] {
            assert_eq!(sentence(state), None, "{state:?}");
        }
    }

    #[test]
    fn a_refunded_purchase_with_access_has_a_reason() {
        let refund = [entry(EntryKind::Refund, "report", Some("T-1"))];
        let unlisted = BTreeSet::new();
        let known = Known {
            deliveries: &[],
            destinations: &[],
            payments: &refund,
            unchosen: &[],
            unlisted: &unlisted,
            now: now(),
        };
        for state in [State::Active, State::Expired] {
            let (view, counted) = subscription(0, state);
            let shown = Standing::of(&view, counted.is_active, &known).summary;
            let is_explained = shown.contains("access ends when the store ends it");
            assert_eq!(is_explained, state == State::Active, "{shown}");
        }
    }

    #[test]
    fn a_refund_does_not_stop_a_charge() {
        let on = gold(json!({})).charges_on(State::Active, now()).unwrap();
        assert!(
            on.starts_with("Renewal is still on. Next charge: 2026-12-03T00:00:00"),
            "{on}"
        );
        assert!(gold(json!({})).charges_on(State::Off, now()).is_none());
        let coins: Record =
            serde_json::from_value(json!({ "product_type": "consumable" })).unwrap();
        assert_eq!(coins.charges_on(State::Active, now()), None);
    }
}
