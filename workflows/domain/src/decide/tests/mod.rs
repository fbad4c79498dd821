//! Every kind of notification in every state, and notifications that arrive in the same window.

mod again;
mod arrows;
mod cancelling;
mod changes_in_grace;
mod conversions;
mod edges;
mod ends;
mod ends_and_switches;
mod first_sights;
mod lag;
pub mod lives;
mod order;
mod properties;
mod seeds;
mod successor;
mod verification;

use super::{Decision, SettlingContext, decide};
use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::verification::{Parked, Verification};
use crate::{CollapseKey, PlatformId};
use std::collections::BTreeSet;

/// The history behind each column of the table.
const HISTORIES: [(&str, &[NotificationKind]); 9] = [
    ("unknown", &[]),
    ("active", &[NotificationKind::SubscriptionPurchased]),
    (
        "off",
        &[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::AutoRenewalOff,
        ],
    ),
    (
        "grace",
        &[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::GraceBegan,
        ],
    ),
    (
        "expired",
        &[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Expired,
        ],
    ),
    (
        "cancelled",
        &[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::SubscriptionCancelled,
        ],
    ),
    (
        "replaced",
        &[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Replaced,
        ],
    ),
    ("bought", &[NotificationKind::ConsumablePurchased]),
    (
        "revoked",
        &[
            NotificationKind::ConsumablePurchased,
            NotificationKind::ConsumableCancelled,
        ],
    ),
];

/// The state after one further notification. `cancelled` is a purchase that a cancellation ended, `bought` an active
/// one-time purchase.
const TABLE: &str = "
kind                   unknown  active   off      grace    expired  cancelled replaced bought   revoked
subscription_purchased active   active   off      grace    active   active    replaced active   revoked
consumable_purchased   active   active   active   active   active   active    replaced active   revoked
entitlement_purchased  active   active   active   active   active   active    replaced active   revoked
trial_converted        active   active   active   active   active   active    replaced active   revoked
renewed                active   active   active   active   active   active    replaced active   revoked
plan_changed           active   active   off      grace    active   active    replaced active   revoked
plan_change_scheduled  active   active   off      grace    expired  expired   replaced active   revoked
auto_renewal_on        active   active   active   grace    expired  active    replaced active   revoked
auto_renewal_off       off      off      off      grace    expired  expired   replaced active   revoked
scheduled_to_end       off      off      off      grace    expired  expired   replaced active   revoked
grace_began            grace    grace    grace    grace    expired  expired   replaced active   revoked
grace_ended            active   active   off      active   active   active    replaced active   revoked
subscription_cancelled expired  expired  expired  expired  expired  expired   replaced active   revoked
consumable_cancelled   revoked  revoked  revoked  revoked  revoked  revoked   replaced revoked  revoked
entitlement_cancelled  revoked  revoked  revoked  revoked  revoked  revoked   replaced revoked  revoked
replaced               replaced replaced replaced replaced replaced replaced  replaced replaced replaced
expired                expired  expired  expired  expired  expired  expired   replaced active   revoked
adopted                unknown  active   off      grace    expired  expired   replaced active   revoked
claimed                unknown  active   off      grace    expired  expired   replaced active   revoked
unknown                unknown  active   off      grace    expired  expired   replaced active   revoked
";

/// Returns a notification `seconds` after the earliest store time.
pub fn notification(kind: NotificationKind, seconds: i64) -> Notification {
    let platform = PlatformId::new(uuid::Uuid::nil());
    Notification {
        message_id: format!("{kind:?}-{seconds}"),
        collapse_key: CollapseKey::of(platform, "receipt"),
        receipt_id: "receipt".to_owned(),
        kind,
        store_type: format!("{kind:?}"),
        store_time: at(seconds),
        app_user_id: Some("customer".to_owned()),
        related_receipt_id: None,
        is_test: false,
        voided: None,
        refunded: None,
    }
}

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

/// Settles notifications in one window, by a store that cannot be queried.
pub fn settle(purchase: &Purchase, notifications: &[Notification]) -> Decision {
    settle_with(
        purchase,
        notifications,
        &Verification::Unverifiable,
        at(1_000),
    )
}

/// Settles notifications in one window, with sequence numbers from 1.
pub fn settle_with(
    known: &Purchase,
    reported: &[Notification],
    verification: &Verification,
    now: Timestamp,
) -> Decision {
    let numbered: Vec<_> = (1..).zip(reported.iter().cloned()).collect();
    decide(
        known,
        &numbered,
        SettlingContext {
            policy: crate::StorePolicy::default(),
            verification,
            is_replaced: false,
            now,
        },
    )
}

/// Returns the purchase after these notifications, ten seconds apart, each settled on its own.
pub fn after(reports: &[NotificationKind]) -> Purchase {
    let reported = (1..)
        .zip(reports)
        .map(|(n, report)| notification(*report, n * 10));
    reported.fold(Purchase::default(), |known, report| {
        settle(&known, &[report]).purchase
    })
}

/// Returns all kinds, from the first column of the table.
pub fn all_kinds() -> Vec<NotificationKind> {
    TABLE
        .trim()
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .map(kind)
        .collect()
}

fn kind(report: &str) -> NotificationKind {
    serde_json::from_value(report.into()).unwrap()
}

#[test]
fn every_kind_from_every_state_leads_to_the_table_s_state() {
    let mut lines = TABLE
        .trim()
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let head = lines.next().unwrap();
    let mut seen = BTreeSet::new();
    for line in lines {
        for (column, expected) in head.iter().zip(&line).skip(1) {
            let history = HISTORIES.iter().find(|(name, _)| name == column).unwrap().1;
            let decision = settle(&after(history), &[notification(kind(line[0]), 100)]);
            let state = decision.purchase.state();
            assert_eq!(
                state.as_str(),
                *expected,
                "`{}` of a purchase that is `{column}`",
                line[0]
            );
            seen.insert((kind(line[0]), *column));
        }
    }
    assert_eq!(
        seen.len(),
        (NotificationKind::Unknown as usize + 1) * HISTORIES.len(),
        "an arrow is missing in the table"
    );
}

#[test]
fn the_names_of_states_parse_back_to_them() {
    for state in State::ALL {
        assert_eq!(state.as_str().parse(), Ok(*state));
    }
}

#[test]
fn unknown_kinds_change_nothing_and_have_their_own_outcome() {
    let mut strange = notification(NotificationKind::Unknown, 10);
    strange.is_test = true;
    let decision = settle(&Purchase::default(), &[strange.clone()]);
    assert_eq!(decision.purchase, Purchase::default());
    assert_eq!(decision.transitions, []);
    assert_eq!(decision.outcomes, [(1, Outcome::Unknown)]);

    let mixed = settle(
        &Purchase::default(),
        &[strange, notification(NotificationKind::Renewed, 10)],
    );
    assert_eq!(
        mixed.outcomes,
        [(1, Outcome::Unknown), (2, Outcome::Settled)]
    );
}

#[test]
fn a_claim_reports_nothing_of_the_store_and_waits_for_nothing() {
    let active = after(&[NotificationKind::SubscriptionPurchased]);
    let claim = notification(NotificationKind::Claimed, 900);
    let alone = settle(&active, std::slice::from_ref(&claim));
    assert_eq!(
        (&alone.purchase, &alone.transitions, &alone.outcomes),
        (&active, &vec![], &vec![(1, Outcome::Settled)])
    );
    let renewal = notification(NotificationKind::Renewed, 800);
    let renewed = settle(&active, std::slice::from_ref(&renewal));
    let later = settle(&alone.purchase, std::slice::from_ref(&renewal));
    assert_eq!(
        (&later.purchase, &later.transitions),
        (&renewed.purchase, &renewed.transitions),
        "no report is late"
    );
    let parked = settle_with(
        &active,
        &[renewal, claim],
        &Verification::Parked(Parked::UnknownReceipt),
        at(1_000),
    );
    assert_eq!(parked.outcomes, [(2, Outcome::Settled)]);
}

#[test]
fn a_settling_without_notifications_changes_nothing() {
    let active = after(&[NotificationKind::SubscriptionPurchased]);
    let decision = settle(&active, &[]);
    assert_eq!(
        (&decision.purchase, decision.transitions, decision.outcomes),
        (&active, vec![], vec![])
    );
}

#[test]
fn a_late_report_does_not_undo_a_newer_one() {
    let expired = after(&[
        NotificationKind::SubscriptionPurchased,
        NotificationKind::Renewed,
        NotificationKind::Expired,
    ]);
    let late = settle(&expired, &[notification(NotificationKind::OutOfGrace, 15)]);
    assert_eq!(late.purchase.state(), State::Expired);
    let newer = settle(
        &late.purchase,
        &[notification(NotificationKind::Renewed, 40)],
    );
    assert_eq!(newer.purchase.state(), State::Active);
}

#[test]
fn an_off_and_an_on_that_arrive_swapped_leave_it_on() {
    let active = after(&[NotificationKind::SubscriptionPurchased]);
    let on = settle(
        &active,
        &[notification(NotificationKind::AutoRenewalOn, 60)],
    )
    .purchase;
    let off = settle(&on, &[notification(NotificationKind::AutoRenewalOff, 50)]).purchase;
    assert_eq!(off.state(), State::Active);
    assert_eq!(off.canceled_at(), None);
}

#[test]
fn a_window_of_opposite_reports_ends_in_the_newest() {
    let window = [
        notification(NotificationKind::AutoRenewalOn, 30),
        notification(NotificationKind::Expired, 50),
        notification(NotificationKind::AutoRenewalOff, 40),
    ];
    let decision = settle(&after(&[NotificationKind::SubscriptionPurchased]), &window);
    assert_eq!(decision.purchase.state(), State::Expired);
    assert_eq!(
        decision.outcomes,
        [
            (1, Outcome::Settled),
            (2, Outcome::Settled),
            (3, Outcome::Settled)
        ]
    );
}

#[test]
fn without_the_store_what_was_taken_back_stays_so() {
    for (bought, taken_back) in [
        (
            NotificationKind::ConsumablePurchased,
            NotificationKind::ConsumableCancelled,
        ),
        (
            NotificationKind::EntitlementPurchased,
            NotificationKind::EntitlementCancelled,
        ),
    ] {
        let known = after(&[bought, taken_back]);
        let again = settle(&known, &[notification(bought, 100)]);
        assert_eq!(
            (again.transitions, again.purchase.state()),
            (vec![], State::Revoked)
        );
        assert_eq!(
            again.purchase.revoked_at(),
            Some(at(20)),
            "and it is known when"
        );
    }
}
