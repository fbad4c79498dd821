//! Cancellations that are reported together with a switch of auto-renewal.

use super::lag::refunded;
use super::verification::{MINUTE, bought, day, kinds, off, read, report};
use crate::decide::Waits;
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Snapshot};

const HOUR: i64 = 60 * MINUTE;

/// Returns the snapshot of a refund with its reason.
fn refunded_at(ends_at: Timestamp, at: Timestamp) -> Snapshot {
    Snapshot {
        ends_at: Some(ends_at),
        ..refunded(at, Some(EndReason::Customer))
    }
}

#[test]
fn an_off_and_a_cancellation_in_one_window_are_one_cancellation() {
    let at = day(10);
    let now = at.plus_millis(2 * MINUTE);
    let reports = [
        report(NotificationKind::AutoRenewalOff, at),
        report(
            NotificationKind::SubscriptionCancelled,
            at.plus_millis(MINUTE),
        ),
    ];
    let cancelled = |at| Snapshot {
        end_reason: Some(EndReason::Customer),
        ..off(at)
    };
    let first = read(&bought(), &reports, cancelled(now));
    assert_eq!(
        (kinds(&first), first.purchase.state()),
        (vec![TransitionKind::Cancelled], State::Off)
    );
    assert_eq!(
        (
            first.outcomes.len(),
            first.waits,
            first.purchase.is_unverified()
        ),
        (2, None, false)
    );
    assert_eq!(first.purchase.canceled_at(), Some(at));
    assert_eq!(
        first.wake,
        Some(at.plus_millis(11 * MINUTE)),
        "a refund may still follow"
    );
    let refund = refunded_at(day(10), first.wake.unwrap());
    assert_eq!(
        kinds(&read(&first.purchase, &[], refund)),
        [TransitionKind::Expired]
    );
    let begun = report(
        NotificationKind::SubscriptionPurchased,
        at.plus_millis(-HOUR),
    );
    let new = |shown: Snapshot| Snapshot {
        purchased_at: Some(begun.store_time),
        ..shown
    };
    let window = [[begun.clone()].as_slice(), &reports].concat();
    let month = Some("2026-02-19T23:00:00Z".parse().unwrap());
    let at_once = read(
        &Purchase::default(),
        &window,
        new(Snapshot {
            ends_at: month,
            ..cancelled(now)
        }),
    );
    assert_eq!(
        (kinds(&at_once), at_once.waits),
        (
            vec![TransitionKind::Purchased, TransitionKind::Cancelled],
            None
        )
    );

    let split = read(&bought(), &reports[..1], off(at.plus_millis(MINUTE / 2))).purchase;
    let later = read(&split, &reports[1..], cancelled(now));
    assert_eq!(
        (
            kinds(&later),
            later.outcomes.len(),
            later.purchase.is_unverified()
        ),
        (vec![], 1, false)
    );

    let other_end = Snapshot {
        ends_at: Some(day(20)),
        ..cancelled(now)
    };
    for shown in [off(now), other_end] {
        let doubtful = read(&bought(), &reports, shown);
        assert_eq!(
            (kinds(&doubtful), doubtful.waits),
            (vec![TransitionKind::Cancelled], Some(Waits::Confirmation))
        );
    }
}
