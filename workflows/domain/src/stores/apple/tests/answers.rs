//! The snapshot of signed facts, and when they do not suffice.

use super::states::{bought, reach, refunded, shown};
use super::{message, monthly, period, renewal, renewing, together};
use crate::event::tests::day;
use crate::purchase::Purchase;
use crate::store_state::StoreStatus;
use crate::stores::apple::{Doubt, PurchaseFacts, SubscriptionStatus, TransactionFact};
use crate::time::MINUTE;
use crate::verification::{Offer, Product, Snapshot};
use std::collections::BTreeSet;

fn snapshot(facts: &PurchaseFacts) -> Snapshot {
    facts.snapshot(None).expect("a transaction")
}

#[test]
fn a_running_plan_has_its_dates_and_its_payment() {
    let shown = snapshot(&monthly(1, day(1)));
    assert_eq!(shown.term_sku.as_deref(), Some("gold"));
    assert_eq!(shown.product, Product::Subscription);
    assert_eq!((shown.at, shown.purchased_at), (day(1), Some(day(0))));
    assert_eq!((shown.renews_at, shown.ends_at), (Some(day(30)), None));
    assert_eq!(
        (shown.auto_renewing, shown.country.as_deref()),
        (Some(true), Some("DE"))
    );
    let state = shown.state.unwrap();
    assert_eq!((state.status, state.cycle), (StoreStatus::Active, Some(1)));
    assert_eq!(state.transaction_id.as_deref(), Some("200001"));
    assert_eq!((state.is_bought, state.renewal_as_of), (true, Some(day(1))));
    let paid = &state.periods[0];
    assert_eq!((paid.begins_at, paid.ends_at), (day(0), Some(day(30))));
    assert_eq!(
        (paid.price, paid.currency.as_deref()),
        ("4.99".parse().ok(), Some("EUR"))
    );
}

#[test]
fn a_planned_product_has_its_date() {
    let planned = snapshot(&shown("planned", day(12)));
    assert_eq!(planned.deferred_at, Some(day(30)));
    assert_eq!(planned.deferred_sku.as_deref(), Some("silver"));
    let state = planned.state.unwrap();
    assert_eq!(state.skus, BTreeSet::from(["gold".to_owned()]));
    assert_eq!(state.planned, Some(BTreeSet::from(["silver".to_owned()])));
    let mut off = shown("planned", day(12));
    renewal(&mut off).is_on = false;
    assert_eq!(snapshot(&off).deferred_sku, None);
}

#[test]
fn an_offer_is_shown_while_its_period_runs() {
    let trial = snapshot(&shown("trial", day(1)));
    assert_eq!(trial.trial_ends_at, Some(day(7)));
    assert_eq!(
        (trial.offer, trial.in_intro_offer),
        (Some(Offer::Introductory), false)
    );
    let over = snapshot(&shown("trial expired", day(8)));
    assert_eq!((over.trial_ends_at, over.offer), (None, None));
}

#[test]
fn a_state_without_a_number_is_that_of_the_renewal() {
    for (name, expected) in [
        ("paid", StoreStatus::Active),
        ("grace", StoreStatus::Grace),
        ("hold", StoreStatus::AccountHold),
        ("expired", StoreStatus::Over),
    ] {
        let mut facts = shown(name, day(31));
        facts.renewals[0].status = None;
        assert_eq!(snapshot(&facts).state.unwrap().status, expected, "{name}");
    }
    let mut revoked = monthly(1, day(5));
    revoked.renewals[0].status = Some(SubscriptionStatus::Revoked);
    assert_eq!(snapshot(&revoked).state.unwrap().status, StoreStatus::Over);
}

#[test]
fn each_lane_has_a_signing_time_of_its_own() {
    let known = reach("grace");
    // A payment that was signed after the renewal information.
    let paid = PurchaseFacts {
        transactions: vec![period(2, day(33))],
        ..PurchaseFacts::default()
    };
    let shown = paid.snapshot(Some(&known)).unwrap();
    assert_eq!(shown.state.as_ref().unwrap().status, StoreStatus::Active);
    assert_eq!(shown.renews_at, Some(day(60)));
    // Renewal information that was signed before what is known.
    let late = PurchaseFacts {
        renewals: vec![renewing(day(2))],
        ..PurchaseFacts::default()
    };
    let shown = late.snapshot(Some(&known)).unwrap();
    let state = shown.state.unwrap();
    assert_eq!((state.status, shown.at), (StoreStatus::Grace, day(31)));
    assert_eq!(state.renewal_as_of, Some(day(31)));
    assert_eq!(shown.grace_ends_at, Some(day(34)));
}

#[test]
fn the_newest_period_that_names_a_customer_is_remembered() {
    let named = |known: Option<&Purchase>, named_at| {
        let facts = PurchaseFacts {
            named_at,
            ..monthly(1, day(1))
        };
        facts.snapshot(known).unwrap().state.unwrap().named_at
    };
    assert_eq!(named(None, None), None);
    assert_eq!(named(None, Some(day(0))), Some(day(0)));
    assert_eq!(named(Some(&reach("active")), Some(day(0))), Some(day(0)));
}

#[test]
fn nothing_is_shown_without_a_transaction() {
    assert_eq!(PurchaseFacts::default().snapshot(None), None);
    let state = PurchaseFacts {
        renewals: vec![renewing(day(1))],
        ..PurchaseFacts::default()
    };
    assert_eq!(state.snapshot(None), None);
    assert_eq!(state.doubt(None), Some(Doubt::Statuses));
}

#[test]
fn signed_facts_usually_suffice() {
    assert_eq!(monthly(1, day(1)).doubt(None), None);
    for (state, name, at) in [
        ("active", "renewed", 31),
        ("active", "off", 10),
        ("active", "upgraded", 12),
        ("active", "refunded", 12),
        ("grace", "renewed", 33),
        ("hold", "recovered", 75),
        ("expired", "again", 45),
        ("bought", "bought refunded", 5),
    ] {
        let facts = shown(name, day(at));
        assert_eq!(
            facts.doubt(Some(&reach(state))),
            None,
            "{state}, then {name}"
        );
    }
}

#[test]
fn apple_is_queried_if_the_state_is_doubtful() {
    let known = reach("renewed");
    let nothing = PurchaseFacts::default();
    assert_eq!(nothing.doubt(Some(&known)), Some(Doubt::Statuses), "a wake");
    let alone = PurchaseFacts {
        transactions: vec![period(1, day(1))],
        ..PurchaseFacts::default()
    };
    assert_eq!(
        alone.doubt(None),
        Some(Doubt::Statuses),
        "no renewal information"
    );
    let older = message(refunded(period(1, day(40)), day(40)), renewing(day(40)));
    assert_eq!(
        older.doubt(Some(&known)),
        Some(Doubt::Statuses),
        "another refund"
    );
    let mut other = monthly(2, day(40));
    renewal(&mut other).product = "silver".to_owned();
    assert_eq!(
        other.doubt(Some(&known)),
        Some(Doubt::Statuses),
        "another product"
    );
}

#[test]
fn the_history_is_queried_if_a_period_is_missing() {
    let midway = monthly(3, day(61));
    assert_eq!(midway.doubt(None), Some(Doubt::History));
    let counted = PurchaseFacts {
        counted: Some(3),
        ..midway.clone()
    };
    assert_eq!(counted.doubt(None), None);
    assert_eq!(snapshot(&counted).state.unwrap().cycle, Some(3));
    assert_eq!(midway.doubt(Some(&reach("active"))), Some(Doubt::History));
    assert_eq!(midway.doubt(Some(&reach("renewed"))), None);
    let later = together(&[monthly(3, day(61)), monthly(4, day(91))]);
    assert_eq!(later.doubt(Some(&reach("active"))), Some(Doubt::History));
    assert_eq!(later.doubt(Some(&reach("renewed"))), None);
    let apart = together(&[monthly(1, day(1)), monthly(3, day(61))]);
    assert_eq!(apart.doubt(None), Some(Doubt::History), "the second one");
    let close = TransactionFact {
        bought_at: day(30).plus(MINUTE),
        ..period(2, day(31))
    };
    let close = message(close, renewing(day(31)));
    assert_eq!(close.doubt(Some(&reach("active"))), None);
}

#[test]
fn a_transaction_bought_again_has_its_own_row() {
    let facts = shown("again", day(45));
    let shown = facts.snapshot(Some(&reach("expired"))).unwrap();
    let began_at = bought("again", day(45)).bought_at;
    assert_eq!(shown.purchased_at, Some(began_at));
    assert_eq!(shown.state.unwrap().cycle, Some(1));
}
