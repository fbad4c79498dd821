//! Every arrow of the life of a purchase: from a state, by reports and an answer, to a state, with the events in order.

use super::states::{decided, history, reach, shown};
use super::{events, monthly, settle, show, verified};
use crate::event::tests::day;
use crate::notification::NotificationKind::{
    self, AutoRenewalOff, AutoRenewalOn, EntitlementCancelled, EntitlementPurchased, Expired,
    GraceBegan, Renewed, SubscriptionCancelled, SubscriptionPurchased, Unknown,
};
use crate::purchase::Purchase;
use crate::user::announce_continuation;
use crate::verification::Verification;

/// A row: the state before, the reports of the window, what is shown on which day, the state after, the events.
type Row = (
    &'static str,
    &'static [NotificationKind],
    &'static str,
    i64,
    &'static str,
    &'static str,
);

const ROWS: &[Row] = &[
    (
        "none",
        &[SubscriptionPurchased],
        "trial",
        1,
        "trial",
        "journey.trial.started purchased",
    ),
    (
        "none",
        &[SubscriptionPurchased],
        "paid",
        1,
        "active",
        "purchased",
    ),
    (
        "none",
        &[SubscriptionPurchased],
        "pending",
        1,
        "pending",
        "",
    ),
    (
        "none",
        &[SubscriptionPurchased, AutoRenewalOff],
        "off",
        10,
        "off",
        "purchased cancelled",
    ),
    (
        "none",
        &[SubscriptionPurchased],
        "off",
        10,
        "off",
        "purchased",
    ),
    (
        "none",
        &[SubscriptionPurchased, Expired],
        "expired",
        31,
        "expired",
        "purchased expired",
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
    ("none", &[], "expired", 91, "expired", ""),
    ("none", &[Unknown], "hold", 34, "account_hold", ""),
    (
        "pending",
        &[SubscriptionPurchased],
        "paid",
        2,
        "active",
        "purchased",
    ),
    (
        "pending",
        &[],
        "trial",
        2,
        "trial",
        "journey.trial.started purchased",
    ),
    ("pending", &[Unknown], "fell through", 3, "expired", ""),
    ("pending", &[], "pending", 2, "pending", ""),
    ("fell through", &[Expired], "fell through", 4, "expired", ""),
    ("active", &[SubscriptionPurchased], "paid", 2, "active", ""),
    (
        "seen",
        &[SubscriptionPurchased],
        "paid",
        2,
        "active",
        "purchased",
    ),
    (
        "trial",
        &[Renewed],
        "converted",
        8,
        "active",
        "journey.trial.converted renewed",
    ),
    (
        "trial",
        &[],
        "converted",
        8,
        "active",
        "journey.trial.converted renewed",
    ),
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
    ("active", &[], "deferred date", 10, "active", ""),
    (
        "grace",
        &[Renewed],
        "renewed",
        33,
        "active",
        "renewal_in_grace_period",
    ),
    (
        "grace",
        &[],
        "renewed",
        33,
        "active",
        "renewal_in_grace_period",
    ),
    (
        "trial grace",
        &[Renewed],
        "converted",
        9,
        "active",
        "journey.trial.converted renewal_in_grace_period",
    ),
    ("hold", &[Renewed], "recovered", 40, "active", "renewed"),
    ("hold", &[], "recovered", 40, "active", "renewed"),
    (
        "trial hold",
        &[Renewed],
        "converted",
        20,
        "active",
        "journey.trial.converted renewed",
    ),
    ("paused", &[Renewed], "recovered", 40, "active", "resumed"),
    ("paused", &[], "recovered", 40, "active", "resumed"),
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
    (
        "active",
        &[AutoRenewalOff, AutoRenewalOn],
        "paid",
        12,
        "active",
        "cancelled resumed",
    ),
    (
        "grace",
        &[AutoRenewalOff],
        "unpaid",
        33,
        "expired",
        "expired",
    ),
    (
        "hold",
        &[AutoRenewalOff],
        "unpaid",
        94,
        "expired",
        "expired",
    ),
    (
        "hold",
        &[AutoRenewalOff, Expired],
        "unpaid",
        94,
        "expired",
        "expired",
    ),
    (
        "trial hold",
        &[AutoRenewalOff, Expired],
        "trial unpaid",
        94,
        "expired",
        "journey.trial.did_not_convert expired",
    ),
    ("unpaid", &[Expired], "unpaid", 95, "expired", ""),
    ("off", &[AutoRenewalOn], "paid", 12, "active", "resumed"),
    ("off", &[], "paid", 12, "active", "resumed"),
    (
        "trial off",
        &[AutoRenewalOn],
        "trial",
        4,
        "trial",
        "resumed",
    ),
    ("off", &[], "renewed", 31, "active", "resumed renewed"),
    (
        "active",
        &[GraceBegan],
        "grace",
        31,
        "grace",
        "in_grace_period",
    ),
    (
        "trial",
        &[GraceBegan],
        "trial grace",
        8,
        "grace",
        "in_grace_period",
    ),
    ("active", &[GraceBegan], "hold", 34, "account_hold", ""),
    ("active", &[Unknown], "hold", 34, "account_hold", ""),
    ("grace", &[Unknown], "hold", 34, "account_hold", ""),
    ("paused", &[Unknown], "hold", 40, "account_hold", ""),
    ("hold", &[Unknown], "hold", 41, "account_hold", ""),
    ("active", &[Unknown], "paid", 12, "active", ""),
    ("active", &[Unknown], "paused", 31, "paused", "paused"),
    ("paused", &[Unknown], "paused", 32, "paused", ""),
    ("paused", &[Expired], "expired", 50, "expired", "expired"),
    (
        "active",
        &[Unknown],
        "other parts",
        12,
        "active",
        "sku_change",
    ),
    (
        "active",
        &[Unknown],
        "planned",
        12,
        "active",
        "pending_sku_change",
    ),
    ("planned", &[Unknown], "planned", 13, "active", ""),
    (
        "planned",
        &[Renewed],
        "changed",
        31,
        "active",
        "renewed sku_change",
    ),
    ("planned", &[Unknown], "paid", 14, "active", ""),
    (
        "active",
        &[AutoRenewalOff],
        "instalments",
        12,
        "off",
        "cancelled",
    ),
    (
        "instalments",
        &[Renewed],
        "instalments renewed",
        31,
        "off",
        "renewed",
    ),
    ("instalments", &[AutoRenewalOff], "off", 29, "off", ""),
    (
        "instalments",
        &[Expired],
        "expired",
        31,
        "expired",
        "expired",
    ),
    (
        "active",
        &[SubscriptionCancelled],
        "cut",
        15,
        "revoked",
        "expired",
    ),
    (
        "hold",
        &[SubscriptionCancelled],
        "cut",
        40,
        "revoked",
        "expired",
    ),
    (
        "paused",
        &[SubscriptionCancelled],
        "cut",
        40,
        "revoked",
        "expired",
    ),
    (
        "trial",
        &[SubscriptionCancelled],
        "trial cut",
        5,
        "revoked",
        "journey.trial.did_not_convert expired",
    ),
    ("revoked", &[Expired], "cut", 16, "revoked", ""),
    ("off", &[Expired], "expired", 31, "expired", "expired"),
    ("grace", &[Expired], "unpaid", 33, "expired", "expired"),
    ("active", &[Expired], "expired", 31, "expired", "expired"),
    (
        "trial off",
        &[Expired],
        "trial expired",
        8,
        "expired",
        "journey.trial.did_not_convert expired",
    ),
    ("active", &[Expired], "replaced", 15, "replaced", ""),
    ("replaced", &[Expired], "replaced", 16, "replaced", ""),
    ("active", &[Unknown], "voided", 12, "revoked", "expired"),
    ("voided", &[SubscriptionCancelled], "cut", 15, "revoked", ""),
    ("renewed", &[Unknown], "older voided", 32, "active", ""),
    (
        "active",
        &[Renewed, Unknown],
        "renewed voided",
        32,
        "revoked",
        "renewed expired",
    ),
    (
        "active",
        &[Unknown],
        "renewed voided",
        32,
        "revoked",
        "expired",
    ),
    (
        "expired",
        &[AutoRenewalOn],
        "deferred date",
        32,
        "active",
        "resumed",
    ),
    ("expired", &[Renewed], "renewed", 33, "active", "renewed"),
    (
        "none",
        &[EntitlementPurchased],
        "bought",
        1,
        "active",
        "purchased",
    ),
    (
        "none",
        &[EntitlementPurchased],
        "bought pending",
        1,
        "pending",
        "",
    ),
    (
        "bought pending",
        &[EntitlementPurchased],
        "bought",
        2,
        "active",
        "purchased",
    ),
    (
        "bought pending",
        &[EntitlementCancelled],
        "never bought",
        2,
        "expired",
        "",
    ),
    (
        "bought",
        &[EntitlementCancelled],
        "taken back",
        5,
        "revoked",
        "",
    ),
    ("bought", &[Unknown], "partly returned", 5, "active", ""),
    ("bought", &[Unknown], "all returned", 5, "revoked", ""),
];

#[test]
fn every_arrow_leads_to_its_state_with_its_events() {
    let mut wrong = Vec::new();
    for (old, kinds, name, at, state, expected) in ROWS {
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
fn after_an_arrow_neither_reports_nor_answers_repeat_it() {
    for (old, kinds, name, at, ..) in ROWS {
        let first = decided(&reach(old), kinds, name, *at);
        let again = decided(&first.purchase, kinds, name, *at);
        assert_eq!(events(&again), "", "{old} | {kinds:?} | {name}");
        let later = decided(&first.purchase, &[], name, at + 1);
        assert_eq!(
            events(&later),
            "",
            "{old} | {kinds:?} | {name}, a day later"
        );
        assert_eq!(
            later.purchase.state(),
            first.purchase.state(),
            "{old} | {name}"
        );
        // An answer that was requested before it arrives late.
        for (kinds, earlier, day) in history(old) {
            let late = decided(&first.purchase, kinds, earlier, *day);
            assert_eq!(events(&late), "", "{old} | {name}, then {earlier}");
            assert_eq!(
                late.purchase.state(),
                first.purchase.state(),
                "{old} | {name}"
            );
        }
    }
}

#[test]
fn a_purchase_that_continues_another_one_begins_nothing() {
    for (former, next, at, expected) in [
        ("active", "other parts", 12, "sku_change"),
        ("replaced", "other parts", 16, "sku_change"),
        ("hold", "other parts", 40, "sku_change"),
        ("trial", "other parts", 5, "sku_change"),
        ("active", "planned", 12, "pending_sku_change"),
        ("off", "planned", 12, "resumed pending_sku_change"),
        ("off", "paid", 12, "resumed"),
        ("expired", "paid", 40, "purchased"),
        ("fell through", "paid", 12, "purchased"),
        ("active", "trial", 12, "renewed"),
    ] {
        let mut begun = shown(next, day(at));
        begun.purchased_at = Some(day(at).plus_millis(-120_000));
        let state = begun.state.as_mut().expect("a state");
        state.continues = Some("former".to_owned());
        let bought = super::report(SubscriptionPurchased, day(at).plus_millis(-60_000));
        let decision = settle(&Purchase::default(), &[bought], &verified(begun));
        let decision = announce_continuation(decision, &reach(former));
        assert_eq!(events(&decision), expected, "{former}, then {next}");
        let is_trial = decision.purchase.is_in_trial_period();
        assert_ne!(is_trial, Some(true), "{former}, then {next}");
    }
}

#[test]
fn nothing_is_believed_without_an_answer() {
    let known = reach("active");
    let expired = [super::report(Expired, day(31))];
    for verification in [
        Verification::Unverifiable,
        Verification::Unreachable { since: day(1) },
    ] {
        let decision = settle(&known, &expired, &verification);
        assert_eq!(decision.purchase, known);
        assert!(decision.outcomes.is_empty() && decision.wake.is_some());
    }
    for verification in [
        Verification::Gone,
        Verification::Parked(crate::verification::Parked::UnknownReceipt),
    ] {
        let decision = settle(&known, &expired, &verification);
        assert_eq!(
            (decision.purchase.state(), decision.outcomes.len()),
            (known.state(), 1)
        );
        let unknown = settle(&Purchase::default(), &expired, &verification);
        assert!(unknown.purchase.stage.is_unknown() && unknown.transitions.is_empty());
    }
    let seen = show(&known, &[Expired], &monthly(1, day(31)));
    assert_eq!(
        (seen.purchase.state(), events(&seen)),
        (known.state(), String::new())
    );
}
