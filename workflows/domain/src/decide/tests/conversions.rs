//! The conversion of an unseen trial: one payment is one renewal, regardless of the windows in which its reports
//! arrive.

use super::settle_with;
use super::verification::{MINUTE, day, kinds, monthly, read, report};
use crate::decide::Decision;
use crate::notification::NotificationKind;
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{Snapshot, Verification};

fn march(day: &str) -> Timestamp {
    format!("2026-03-{day}T00:00:00Z").parse().unwrap()
}

/// Returns the snapshot of the first term after a month of trial, `minutes` after its payment.
fn converted(minutes: i64) -> Snapshot {
    Snapshot {
        renews_at: Some(march("10")),
        ..monthly(day(31).plus_millis(minutes * MINUTE))
    }
}

fn cycles(decision: &Decision) -> Vec<(TransitionKind, Option<u64>)> {
    decision
        .transitions
        .iter()
        .map(|transition| (transition.kind, transition.cycle))
        .collect()
}

/// Settles the next payment by report and snapshot, by snapshot alone, and by report alone; each must announce one
/// renewal.
fn goes_on(known: &Purchase, from: u64) {
    let next = Snapshot {
        renews_at: Some("2026-04-10T00:00:00Z".parse().unwrap()),
        ..monthly(march("10"))
    };
    let renewed = vec![(TransitionKind::Renewed, Some(from + 1))];
    let report = [report(NotificationKind::Renewed, march("10"))];
    assert_eq!(cycles(&read(known, &report, next.clone())), renewed);
    assert_eq!(cycles(&read(known, &[], next.clone())), renewed);
    let alone = settle_with(
        known,
        &report,
        &Verification::Unreachable { since: march("10") },
        march("10"),
    );
    assert_eq!(cycles(&alone), renewed);
    assert_eq!(cycles(&read(&alone.purchase, &[], next)), []);
}

#[test]
fn a_conversion_after_its_renewal_is_no_second_payment() {
    let renewed = read(
        &Purchase::default(),
        &[report(NotificationKind::Renewed, day(31))],
        converted(2),
    );
    let number = renewed.purchase.billing_cycles();
    assert_eq!(cycles(&renewed), [(TransitionKind::Renewed, number)]);
    for minutes in [3, 10, 60, 600] {
        let at = day(31).plus_millis(minutes * MINUTE);
        let later = read(
            &renewed.purchase,
            &[report(NotificationKind::TrialConverted, at)],
            converted(minutes + 2),
        );
        assert_eq!(
            cycles(&later),
            [(TransitionKind::TrialConverted, number)],
            "{minutes} min"
        );
        assert_eq!(later.purchase.billing_cycles(), number);
        goes_on(&later.purchase, number.unwrap());
    }
}

#[test]
fn a_renewal_after_its_conversion_announces_nothing() {
    let first = read(
        &Purchase::default(),
        &[report(NotificationKind::TrialConverted, day(31))],
        converted(2),
    );
    assert_eq!(
        cycles(&first),
        [
            (TransitionKind::TrialConverted, Some(1)),
            (TransitionKind::Renewed, Some(1))
        ]
    );
    let later = read(
        &first.purchase,
        &[report(
            NotificationKind::Renewed,
            day(31).plus_millis(10 * MINUTE),
        )],
        converted(12),
    );
    assert_eq!(cycles(&later), []);
    goes_on(&later.purchase, 1);
}

#[test]
fn without_a_store_the_reports_of_one_payment_are_one() {
    let alone = |known: &Purchase, kind, minutes| {
        let at = day(31).plus_millis(minutes * MINUTE);
        settle_with(known, &[report(kind, at)], &Verification::Unverifiable, at)
    };
    for minutes in [3, 10, 600] {
        let renewed = alone(&Purchase::default(), NotificationKind::Renewed, 0);
        let later = alone(&renewed.purchase, NotificationKind::TrialConverted, minutes);
        assert_eq!(
            (kinds(&renewed), kinds(&later)),
            (
                vec![TransitionKind::Renewed],
                vec![TransitionKind::TrialConverted]
            )
        );
        let next = settle_with(
            &later.purchase,
            &[report(NotificationKind::Renewed, march("10"))],
            &Verification::Unverifiable,
            march("10"),
        );
        assert_eq!(kinds(&next), [TransitionKind::Renewed]);
        let first = alone(&Purchase::default(), NotificationKind::TrialConverted, 0);
        let later = alone(&first.purchase, NotificationKind::Renewed, minutes);
        assert_eq!(
            (kinds(&first), kinds(&later)),
            (
                vec![TransitionKind::TrialConverted, TransitionKind::Renewed],
                vec![]
            )
        );
    }
}

#[test]
fn a_conversion_from_grace_is_one_recovery() {
    let grace = Snapshot {
        grace_ends_at: Some(day(36)),
        ..monthly(day(31))
    };
    let failed = read(
        &Purchase::default(),
        &[report(NotificationKind::GraceBegan, day(31))],
        grace,
    );
    let number = failed.purchase.billing_cycles().unwrap();
    let paid = read(
        &failed.purchase,
        &[report(NotificationKind::TrialConverted, day(33))],
        Snapshot {
            at: day(33),
            ..converted(0)
        },
    );
    assert_eq!(
        kinds(&paid),
        [TransitionKind::TrialConverted, TransitionKind::Recovered]
    );
    let at = day(33).plus_millis(10 * MINUTE);
    for kind in [NotificationKind::Renewed, NotificationKind::OutOfGrace] {
        let later = read(
            &paid.purchase,
            &[report(kind, at)],
            Snapshot { at, ..converted(0) },
        );
        assert_eq!(cycles(&later), [], "{kind:?}");
        goes_on(&later.purchase, paid.purchase.billing_cycles().unwrap());
    }
    assert!(paid.purchase.billing_cycles().unwrap() - number <= 1);
}

#[test]
fn a_conversion_after_adopting_is_announced_with_its_payment() {
    let adopted = read(
        &Purchase::default(),
        &[report(NotificationKind::Adopted, day(9))],
        monthly(day(9)),
    );
    assert_eq!(cycles(&adopted), []);
    let paid = read(
        &adopted.purchase,
        &[report(NotificationKind::TrialConverted, day(31))],
        converted(2),
    );
    assert_eq!(
        kinds(&paid),
        [TransitionKind::TrialConverted, TransitionKind::Renewed]
    );
    let numbers: Vec<_> = paid
        .transitions
        .iter()
        .map(|transition| transition.cycle)
        .collect();
    assert_eq!(numbers, [paid.purchase.billing_cycles(); 2]);
    goes_on(&paid.purchase, paid.purchase.billing_cycles().unwrap());
}
