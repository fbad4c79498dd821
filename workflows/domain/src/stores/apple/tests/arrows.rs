//! Every arrow of the life of a purchase: from a state, by reports and what was signed, to a state, with the events in
//! order.

use super::states::{decided, history, reach, shown, signed_again};
use super::{events, settle, show, together};
use crate::event::tests::day;
use crate::notification::NotificationKind::{
    self, AutoRenewalOff, AutoRenewalOn, EntitlementPurchased, Expired, GraceBegan,
    PlanChangeScheduled, Renewed, SubscriptionPurchased, Unknown,
};
use crate::purchase::Purchase;
use crate::stores::apple::PurchaseFacts;

/// A row: the state before, the reports of the window, what is signed on which day, the state after, the events.
type Row = (
    &'static str,
    &'static [NotificationKind],
    &'static str,
    i64,
    &'static str,
    &'static str,
);

const CONVERTED: &str = "journey.trial.converted renewed";
const NOT_CONVERTED: &str = "journey.trial.did_not_convert expired";
const BEGUN_FREE: &str = "journey.trial.started purchased";
const LAPSED_AND_BEGUN_FREE: &str = "expired journey.trial.started purchased";

const BEGINNINGS: &[Row] = &[
    (
        "none",
        &[SubscriptionPurchased],
        "trial",
        1,
        "trial",
        BEGUN_FREE,
    ),
    (
        "none",
        &[SubscriptionPurchased],
        "paid",
        1,
        "active",
        "purchased",
    ),
    ("none", &[Renewed], "renewed", 31, "active", "renewed"),
    ("none", &[AutoRenewalOff], "off", 10, "off", "cancelled"),
    (
        "none",
        &[GraceBegan],
        "grace",
        31,
        "grace",
        "in_grace_period",
    ),
    ("none", &[Expired], "expired", 31, "expired", "expired"),
    ("none", &[], "paid", 1, "active", ""),
    ("none", &[Unknown], "hold", 31, "account_hold", ""),
    ("active", &[SubscriptionPurchased], "paid", 2, "active", ""),
    (
        "expired",
        &[SubscriptionPurchased],
        "again",
        45,
        "active",
        "purchased",
    ),
    ("expired", &[], "again", 45, "active", "purchased"),
    (
        "expired",
        &[SubscriptionPurchased],
        "again free",
        45,
        "trial",
        BEGUN_FREE,
    ),
    (
        "active",
        &[SubscriptionPurchased],
        "again",
        45,
        "active",
        "expired purchased",
    ),
    (
        "active",
        &[SubscriptionPurchased],
        "again free",
        45,
        "trial",
        LAPSED_AND_BEGUN_FREE,
    ),
    (
        "hold",
        &[SubscriptionPurchased],
        "again",
        120,
        "active",
        "expired purchased",
    ),
    (
        "refunded",
        &[SubscriptionPurchased],
        "again",
        45,
        "active",
        "purchased",
    ),
    (
        "none",
        &[EntitlementPurchased],
        "bought",
        1,
        "active",
        "purchased",
    ),
];

const PAYMENTS: &[Row] = &[
    ("trial", &[Renewed], "converted", 8, "active", CONVERTED),
    ("trial", &[], "converted", 8, "active", CONVERTED),
    ("active", &[Renewed], "renewed", 31, "active", "renewed"),
    ("active", &[], "renewed", 31, "active", "renewed"),
    (
        "active",
        &[Renewed],
        "renewed twice",
        61,
        "active",
        "renewed renewed",
    ),
    (
        "grace",
        &[Renewed],
        "renewed",
        33,
        "active",
        "renewal_in_grace_period",
    ),
    ("hold", &[Renewed], "recovered", 40, "active", "renewed"),
    ("hold", &[], "recovered", 40, "active", "renewed"),
    (
        "active",
        &[Renewed],
        "changed",
        31,
        "active",
        "renewed sku_change",
    ),
    (
        "planned",
        &[Renewed],
        "changed",
        31,
        "active",
        "renewed sku_change",
    ),
];

const CHANGES: &[Row] = &[
    ("active", &[Unknown], "upgraded", 12, "active", "sku_change"),
    (
        "off",
        &[Unknown],
        "upgraded",
        12,
        "active",
        "resumed sku_change",
    ),
    ("trial", &[Unknown], "upgraded", 5, "active", "sku_change"),
    ("hold", &[Unknown], "upgraded", 40, "active", "sku_change"),
    (
        "active",
        &[PlanChangeScheduled],
        "planned",
        12,
        "active",
        "pending_sku_change",
    ),
    (
        "off",
        &[PlanChangeScheduled],
        "planned",
        12,
        "active",
        "resumed pending_sku_change",
    ),
    ("planned", &[Unknown], "paid", 13, "active", ""),
    ("active", &[AutoRenewalOff], "off", 10, "off", "cancelled"),
    ("active", &[], "off", 10, "off", "cancelled"),
    (
        "trial",
        &[AutoRenewalOff],
        "trial off",
        3,
        "trial_off",
        "cancelled",
    ),
    ("off", &[AutoRenewalOn], "paid", 12, "active", "resumed"),
    (
        "active",
        &[AutoRenewalOff, AutoRenewalOn],
        "paid",
        12,
        "active",
        "cancelled resumed",
    ),
    (
        "active",
        &[GraceBegan],
        "grace",
        31,
        "grace",
        "in_grace_period",
    ),
    (
        "grace",
        &[AutoRenewalOff],
        "grace off",
        33,
        "grace",
        "cancelled",
    ),
    ("active", &[Unknown], "hold", 31, "account_hold", ""),
    ("grace", &[Unknown], "hold", 35, "account_hold", ""),
    (
        "hold",
        &[AutoRenewalOff],
        "hold off",
        40,
        "account_hold",
        "",
    ),
];

const ENDS: &[Row] = &[
    ("active", &[Expired], "expired", 31, "expired", "expired"),
    ("active", &[], "expired", 31, "expired", "expired"),
    ("off", &[Expired], "expired", 31, "expired", "expired"),
    (
        "trial",
        &[Expired],
        "trial expired",
        8,
        "expired",
        NOT_CONVERTED,
    ),
    (
        "trial off",
        &[Expired],
        "trial expired",
        8,
        "expired",
        NOT_CONVERTED,
    ),
    ("grace", &[Expired], "unpaid", 35, "expired", "expired"),
    ("hold", &[Expired], "unpaid", 91, "expired", "expired"),
    ("active", &[Unknown], "refunded", 12, "revoked", "expired"),
    ("renewed", &[Unknown], "older refunded", 40, "active", ""),
    ("refunded", &[Unknown], "reversed", 17, "active", "resumed"),
    ("bought", &[Unknown], "bought refunded", 5, "revoked", ""),
];

fn rows() -> impl Iterator<Item = &'static Row> {
    [BEGINNINGS, PAYMENTS, CHANGES, ENDS].into_iter().flatten()
}

#[test]
fn every_arrow_leads_to_its_state_with_its_events() {
    let mut wrong = Vec::new();
    for (old, kinds, name, at, state, expected) in rows() {
        let decision = decided(&reach(old), kinds, name, *at);
        let found = (decision.purchase.state().as_str(), events(&decision));
        if found != (*state, (*expected).to_owned()) {
            wrong.push(format!(
                "{old} | {kinds:?} | {name} | {state} | {expected}\n    but {found:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn after_an_arrow_nothing_that_was_signed_repeats_it() {
    for (old, kinds, name, at, ..) in rows() {
        let row = format!("{old} | {kinds:?} | {name}");
        let first = decided(&reach(old), kinds, name, *at);
        let state = first.purchase.state();
        let again = decided(&first.purchase, kinds, name, *at);
        assert_eq!(
            (again.purchase.state(), events(&again)),
            (state, String::new()),
            "{row}"
        );
        let next = day(at + 1);
        let later = show(
            &first.purchase,
            &[],
            &signed_again(shown(name, day(*at)), next),
            next,
        );
        assert_eq!(
            (later.purchase.state(), events(&later)),
            (state, String::new()),
            "{row}, later"
        );
        for (kinds, earlier, day) in history(old) {
            let late = decided(&first.purchase, kinds, earlier, *day);
            let found = (late.purchase.state(), events(&late));
            assert_eq!(found, (state, String::new()), "{row}, then {earlier}");
        }
    }
}

#[test]
fn neither_order_nor_repetition_of_facts_matters() {
    for (old, kinds, name, at, ..) in rows() {
        let known = reach(old);
        let earlier = history(old).iter();
        let earlier = earlier.map(|(_, name, at)| shown(name, day(*at)));
        let all: Vec<PurchaseFacts> = earlier.chain([shown(name, day(*at))]).collect();
        let mut turned: Vec<PurchaseFacts> = all.iter().rev().cloned().collect();
        turned.extend(all.iter().cloned());
        let time = day(*at).plus_millis(-60_000);
        let reported: Vec<_> = kinds
            .iter()
            .map(|kind| super::report(*kind, time))
            .collect();
        for known in [&known, &Purchase::default()] {
            let straight = settle(known, &reported, &together(&all));
            let found = settle(known, &reported, &together(&turned));
            assert_eq!(
                found.purchase, straight.purchase,
                "{old} | {kinds:?} | {name}"
            );
            assert_eq!(
                events(&found),
                events(&straight),
                "{old} | {kinds:?} | {name}"
            );
        }
        let alone = decided(&known, kinds, name, *at);
        let found = settle(&known, &reported, &together(&turned));
        assert_eq!(events(&found), events(&alone), "{old} | {kinds:?} | {name}");
    }
}
