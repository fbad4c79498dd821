//! Subscriptions whose successor is unknown: their checks, and their announced end after a week.

use super::{at, notification};
use crate::decide::{Decision, SettlingContext, decide};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Product, Snapshot, Verification};

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;
const CHANGE: i64 = 10 * DAY;
const READ: i64 = CHANGE + 3 * HOUR;

fn shown(seconds: i64, reason: Option<EndReason>) -> Verification {
    let is_expired = reason.is_some();
    Verification::Verified(Box::new(Snapshot {
        at: at(seconds),
        product: Product::Subscription,
        term_sku: Some("gold".to_owned()),
        purchased_at: Some(at(0)),
        renews_at: (!is_expired).then(|| at(31 * DAY)),
        ends_at: is_expired.then(|| at(CHANGE)),
        auto_renewing: Some(!is_expired),
        end_reason: reason,
        ..Snapshot::default()
    }))
}

fn settle(
    known: &Purchase,
    reports: &[Notification],
    verification: &Verification,
    seconds: i64,
) -> Decision {
    let numbered: Vec<_> = (1..).zip(reports.iter().cloned()).collect();
    decide(
        known,
        &numbered,
        SettlingContext {
            policy: crate::StorePolicy::default(),
            verification,
            is_replaced: false,
            now: at(seconds),
        },
    )
}

fn check(known: &Purchase, seconds: i64) -> Decision {
    settle(
        known,
        &[],
        &shown(seconds, Some(EndReason::Replaced)),
        seconds,
    )
}

fn names(decision: &Decision) -> Vec<TransitionKind> {
    decision.transitions.iter().map(|one| one.kind).collect()
}

/// Returns the decision about a purchase that a change of plan ended.
fn replaced() -> Decision {
    let bought = settle(
        &Purchase::default(),
        &[notification(NotificationKind::SubscriptionPurchased, 0)],
        &shown(HOUR, None),
        HOUR,
    );
    check(&bought.purchase, READ)
}

#[test]
fn it_is_checked_daily_for_a_week_and_then_expires_once() {
    let mut last = replaced();
    let mut checks = Vec::new();
    while let Some(wake) = last.wake {
        assert!(last.transitions.is_empty(), "{:?}", last.transitions);
        checks.push(wake);
        last = check(&last.purchase, wake.micros() / 1_000_000);
    }
    assert_eq!(
        checks,
        (1..=7).map(|day| at(READ + day * DAY)).collect::<Vec<_>>()
    );
    assert_eq!(names(&last), [TransitionKind::Expired]);
    assert_eq!(
        last.transitions[0].at,
        Some(at(CHANGE)),
        "when it ended by the store"
    );
    assert_eq!(last.purchase.state(), State::Replaced);
    let again = settle(
        &last.purchase,
        &[
            notification(NotificationKind::Expired, READ + 8 * DAY),
            notification(NotificationKind::SubscriptionCancelled, CHANGE),
        ],
        &shown(READ + 9 * DAY, Some(EndReason::Replaced)),
        READ + 9 * DAY,
    );
    assert_eq!((names(&again), again.wake), (Vec::new(), None));
}

#[test]
fn a_link_or_the_old_purchase_s_notification_ends_the_search() {
    let known = replaced().purchase;
    assert_eq!(known.successor_missing_since(), Some(at(READ)));
    let verification = shown(READ + 8 * DAY, Some(EndReason::Replaced));
    let context = SettlingContext {
        policy: crate::StorePolicy::default(),
        verification: &verification,
        is_replaced: true,
        now: at(READ + 8 * DAY),
    };
    let linked = decide(&known, &[], context);
    assert_eq!((names(&linked), linked.wake), (Vec::new(), None));
    let early = shown(READ + DAY, Some(EndReason::Replaced));
    let named = settle(
        &known,
        &[notification(NotificationKind::Replaced, CHANGE)],
        &early,
        READ + DAY,
    );
    assert_eq!(
        (named.purchase.successor_missing_since(), named.wake),
        (None, None)
    );
}

#[test]
fn what_an_import_adopts_as_replaced_is_no_news() {
    let verification = shown(READ, Some(EndReason::Replaced));
    let adopted = settle(
        &Purchase::default(),
        &[notification(NotificationKind::Adopted, READ)],
        &verification,
        READ,
    );
    assert_eq!(
        (adopted.purchase.successor_missing_since(), adopted.wake),
        (None, None)
    );
}

#[test]
fn what_expired_before_its_reason_was_known_expires_once() {
    let bought = settle(
        &Purchase::default(),
        &[notification(NotificationKind::SubscriptionPurchased, 0)],
        &shown(HOUR, None),
        HOUR,
    );
    let pending = shown(READ, Some(EndReason::Pending));
    let finished = settle(
        &bought.purchase,
        &[notification(
            NotificationKind::SubscriptionCancelled,
            CHANGE,
        )],
        &pending,
        READ,
    );
    assert_eq!(names(&finished), [TransitionKind::Expired]);
    let explained = check(&finished.purchase, READ + DAY);
    assert!(explained.purchase.successor_missing_since().is_some());
    assert!(
        check(&explained.purchase, READ + 9 * DAY)
            .transitions
            .is_empty()
    );
}
