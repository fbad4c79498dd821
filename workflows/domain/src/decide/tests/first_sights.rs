//! A purchase that is first seen without a report about it, and the beginning that is reported later.

use super::lag::refunded;
use super::verification::{MINUTE, day, kinds, monthly, off, read, report};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Snapshot};

const HOUR: i64 = 60 * MINUTE;

fn refund(ends_at: Timestamp, at: Timestamp) -> Snapshot {
    Snapshot {
        ends_at: Some(ends_at),
        ..refunded(at, Some(EndReason::Customer))
    }
}

/// Returns ways in which a monthly subscription is first seen without a report about it.
fn first_sights() -> [(&'static str, Vec<Notification>); 4] {
    let at = day(0).plus_millis(15 * MINUTE);
    [
        ("unknown kind", vec![report(NotificationKind::Unknown, at)]),
        (
            "another product",
            vec![report(NotificationKind::ConsumablePurchased, at)],
        ),
        ("a device", vec![report(NotificationKind::Adopted, at)]),
        ("a check", vec![]),
    ]
}

#[test]
fn a_silent_first_sight_leaves_the_beginning_to_be_announced() {
    let trial = |at| Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly(at)
    };
    let begun = [report(NotificationKind::SubscriptionPurchased, day(0))];
    for (name, reports) in first_sights() {
        for late in [HOUR, 6 * 24 * HOUR] {
            let (first_at, at) = (day(0).plus_millis(16 * MINUTE), day(0).plus_millis(late));
            let first = read(&Purchase::default(), &reports, monthly(first_at));
            assert_eq!(kinds(&first), [], "{name}");
            let second = read(&first.purchase, &begun, monthly(at));
            assert_eq!(kinds(&second), [TransitionKind::Purchased], "{name}");
            assert_eq!(
                (second.transitions[0].at, second.transitions[0].cycle),
                (Some(day(0)), Some(1)),
                "{name}"
            );
            let again = read(&second.purchase, &begun, monthly(at.plus_millis(HOUR)));
            assert_eq!(kinds(&again), [], "once: {name}");

            let first = read(&Purchase::default(), &reports, trial(first_at));
            let second = read(&first.purchase, &begun, trial(at));
            assert_eq!(
                kinds(&second),
                [TransitionKind::TrialStarted, TransitionKind::Purchased],
                "{name}"
            );
            assert_eq!(second.purchase.state(), State::Trial, "{name}");
        }
    }
}

#[test]
fn what_was_announced_meanwhile_bounds_the_late_beginning() {
    let begun = [report(NotificationKind::SubscriptionPurchased, day(0))];
    for (name, reports) in first_sights() {
        let first = read(
            &Purchase::default(),
            &reports,
            monthly(day(0).plus_millis(16 * MINUTE)),
        )
        .purchase;
        let old = read(&first, &begun, monthly(day(8)));
        assert_eq!(kinds(&old), [], "older than a week: {name}");
        let is_off = read(
            &first,
            &[report(NotificationKind::AutoRenewalOff, day(1))],
            off(day(1)),
        );
        assert_eq!(kinds(&is_off), [TransitionKind::Cancelled], "{name}");
        let late = read(&is_off.purchase, &begun, off(day(2)));
        assert_eq!(
            (kinds(&late), late.purchase.state()),
            (vec![TransitionKind::Purchased], State::Off),
            "{name}"
        );
        let over = read(
            &first,
            &[report(NotificationKind::SubscriptionCancelled, day(1))],
            refund(day(1), day(1).plus_millis(20 * MINUTE)),
        );
        assert_eq!(kinds(&over), [TransitionKind::Expired], "{name}");
        let late = read(&over.purchase, &begun, refund(day(1), day(2)));
        assert_eq!(
            (kinds(&late), late.purchase.state()),
            (vec![], State::Expired),
            "{name}"
        );
    }
}

#[test]
fn a_beginning_seen_after_its_end_is_announced_with_that_end() {
    let begun = [report(NotificationKind::SubscriptionPurchased, day(0))];
    for (name, reports) in first_sights() {
        let over = |at| refund(day(0).plus_millis(5 * MINUTE), at);
        let first = read(
            &Purchase::default(),
            &reports,
            over(day(0).plus_millis(16 * MINUTE)),
        );
        assert_eq!(kinds(&first), [], "{name}");
        let late = read(&first.purchase, &begun, over(day(1)));
        assert_eq!(
            kinds(&late),
            [TransitionKind::Purchased, TransitionKind::Expired],
            "{name}"
        );
        assert_eq!(late.purchase.state(), State::Expired, "{name}");
    }
}

#[test]
fn a_first_report_of_another_change_stays_the_first() {
    let begun = [report(NotificationKind::SubscriptionPurchased, day(0))];
    for kind in [
        NotificationKind::AutoRenewalOn,
        NotificationKind::ScheduledToEnd,
        NotificationKind::Renewed,
    ] {
        let shown = |at| {
            if kind == NotificationKind::ScheduledToEnd {
                off(at)
            } else {
                monthly(at)
            }
        };
        let first = read(&Purchase::default(), &[report(kind, day(1))], shown(day(1))).purchase;
        assert_eq!(kinds(&read(&first, &begun, shown(day(2)))), [], "{kind:?}");
    }
}
