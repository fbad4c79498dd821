//! Switches of auto-renewal.

use super::march;
use crate::decide::tests::verification::{MINUTE, bought, day, kinds, monthly, off, read, report};
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::transition::TransitionKind;
use crate::verification::Snapshot;

#[test]
fn a_last_renewal_does_not_switch_auto_renewal_on() {
    let known = read(&bought(), &[], off(day(5))).purchase;
    let last = Snapshot {
        ends_at: Some(march("10")),
        ..off(day(31))
    };
    let renewed = read(&known, &[report(NotificationKind::Renewed, day(31))], last);
    assert_eq!(
        (kinds(&renewed), renewed.purchase.state()),
        (vec![TransitionKind::Renewed], State::Off)
    );
}

#[test]
fn off_at_first_sight_and_on_again_is_not_announced() {
    let bought = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let known = read(&Purchase::default(), &bought, off(day(0))).purchase;
    assert_eq!(kinds(&read(&known, &[], monthly(day(1)))), []);
    let reported = read(
        &known,
        &[report(
            NotificationKind::AutoRenewalOff,
            day(0).plus_millis(MINUTE),
        )],
        off(day(1)),
    );
    assert_eq!(kinds(&reported), [TransitionKind::Cancelled]);
}

#[test]
fn a_cancellation_undone_by_a_snapshot_does_not_date_the_next() {
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    let known = read(&known, &[], monthly(day(8))).purchase;
    let known = read(&known, &[], off(day(12))).purchase;
    assert_eq!(known.canceled_at(), Some(day(12)));
    assert_eq!(known.expires_at(), Some(day(31)));
}

#[test]
fn a_cancellation_shown_before_its_report_has_the_report_s_time() {
    let at = |minutes| day(3).plus_millis(minutes * MINUTE);
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(2))],
        off(day(2)),
    )
    .purchase;
    let held = read(
        &known,
        &[report(NotificationKind::AutoRenewalOn, at(0))],
        off(at(2)),
    )
    .purchase;
    let over = read(
        &held,
        &[report(NotificationKind::AutoRenewalOff, at(1))],
        off(at(20)),
    );
    assert_eq!(
        (held.canceled_at(), kinds(&over)),
        (None, vec![TransitionKind::Cancelled])
    );
    assert_eq!(over.purchase.canceled_at(), Some(at(1)));
}

#[test]
fn a_switch_that_snapshots_showed_and_undid_holds_nothing() {
    let at = |minutes| day(3).plus_millis(minutes * MINUTE);
    let known = read(
        &read(&bought(), &[], off(at(2))).purchase,
        &[],
        monthly(at(4)),
    )
    .purchase;
    let late = read(
        &known,
        &[report(NotificationKind::AutoRenewalOff, at(1))],
        monthly(at(6)),
    );
    assert_eq!(
        (kinds(&late), late.purchase.state()),
        (vec![], State::Active)
    );
}
