//! Changes that a snapshot shows without a report, and reports that arrive afterwards.

use super::{DAY, HOUR, MINUTE, bought, day, kinds, monthly, off, read, report};
use crate::decide::tests::settle_with;
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{Snapshot, Verification};

#[test]
fn an_end_is_declared_by_a_snapshot_two_hours_after_it() {
    let off = |at| Snapshot {
        auto_renewing: Some(false),
        ..monthly(at)
    };
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(1))],
        off(day(1)),
    )
    .purchase;
    let end = day(31).plus_millis(2 * HOUR);
    assert_eq!(
        read(&known, &[], off(end.plus_millis(-1))).purchase.state(),
        State::Off
    );
    let over = read(&known, &[], off(end));
    assert_eq!(
        (kinds(&over), over.purchase.state()),
        (vec![TransitionKind::Expired], State::Expired)
    );
    assert_eq!(over.transitions[0].at, Some(day(31)));
    let grace = |at| Snapshot {
        grace_ends_at: Some(day(35)),
        ..monthly(at)
    };
    let known = read(&bought(), &[], grace(day(32))).purchase;
    let end = day(35).plus_millis(2 * HOUR);
    assert_eq!(
        read(&known, &[], grace(end.plus_millis(-1)))
            .purchase
            .state(),
        State::Grace
    );
    assert_eq!(
        kinds(&read(&known, &[], grace(end))),
        [TransitionKind::Expired]
    );
    assert_eq!(
        read(&bought(), &[], monthly(day(300))).purchase.state(),
        State::Active
    );
}

#[test]
fn the_dates_of_the_sandbox_are_no_grace() {
    let trap = Snapshot {
        auto_renewing: Some(false),
        trial_ends_at: Some(day(7)),
        renews_at: Some(day(7)),
        grace_ends_at: Some(day(7)),
        is_test: true,
        ..monthly(day(0))
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        trap.clone(),
    );
    assert_eq!(
        kinds(&known),
        [TransitionKind::TrialStarted, TransitionKind::Purchased]
    );
    assert_eq!(known.purchase.state(), State::TrialOff);
    assert_eq!(known.purchase.expires_at(), Some(day(7)));
    let over = read(&known.purchase, &[], Snapshot { at: day(8), ..trap });
    assert_eq!(
        kinds(&over),
        [TransitionKind::TrialDidNotConvert, TransitionKind::Expired]
    );
}

#[test]
fn missed_terms_are_announced_singly_and_thirty_six_at_most() {
    let missed = |months: i64| {
        let end =
            jiff::civil::date(2026, 1, 10).saturating_add(jiff::Span::new().months(months + 1));
        let end: Timestamp = format!("{end}T00:00:00Z").parse().unwrap();
        read(
            &bought(),
            &[],
            Snapshot {
                renews_at: Some(end),
                ..monthly(end.plus_millis(-DAY))
            },
        )
    };
    assert_eq!(kinds(&missed(5)), [TransitionKind::Renewed; 5]);
    assert_eq!(
        missed(5).transitions[4].at,
        Some("2026-06-10T00:00:00Z".parse().unwrap())
    );
    let many = missed(50);
    assert_eq!(kinds(&many), [TransitionKind::Renewed; 36]);
    assert_eq!(many.transitions[35].cycle, Some(51));
    assert_eq!(many.purchase.billing_cycles(), Some(51));
}

#[test]
fn shortened_test_terms_are_counted_by_reports_and_dates() {
    let short = |n: i64| Snapshot {
        renews_at: Some(day(0).plus_millis(n * 5 * MINUTE)),
        ..monthly(day(0).plus_millis(n * 5 * MINUTE - 2 * MINUTE))
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        short(1),
    )
    .purchase;
    let renewed = report(NotificationKind::Renewed, day(0).plus_millis(5 * MINUTE));
    let by_report = read(&known, &[renewed], short(2));
    assert_eq!(kinds(&by_report), [TransitionKind::Renewed]);
    assert_eq!(kinds(&read(&by_report.purchase, &[], short(2))), []);
    let by_date = read(&by_report.purchase, &[], short(3));
    assert_eq!(
        (kinds(&by_date), by_date.purchase.billing_cycles()),
        (vec![TransitionKind::Renewed], Some(3))
    );
    let late = report(NotificationKind::Renewed, day(0).plus_millis(10 * MINUTE));
    assert_eq!(kinds(&read(&by_date.purchase, &[late], short(3))), []);
}

#[test]
fn a_late_report_of_what_snapshots_showed_announces_nothing() {
    let known = read(&bought(), &[], off(day(4))).purchase;
    let known = read(&known, &[], monthly(day(6))).purchase;
    let late = read(
        &known,
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        monthly(day(7)),
    );
    assert_eq!(kinds(&late), []);
    let known = read(&late.purchase, &[], off(day(8))).purchase;
    assert_eq!(
        kinds(&read(
            &known,
            &[report(NotificationKind::AutoRenewalOn, day(5))],
            off(day(9))
        )),
        []
    );
}

#[test]
fn two_reports_of_one_act_are_one_and_later_ones_infer_another() {
    let minute = day(3).plus_millis(MINUTE);
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    assert_eq!(
        kinds(&read(
            &known,
            &[report(NotificationKind::AutoRenewalOff, minute)],
            off(day(4))
        )),
        []
    );
    let again = read(
        &known,
        &[report(NotificationKind::AutoRenewalOff, day(4))],
        off(day(4)),
    );
    assert_eq!(
        kinds(&again),
        [TransitionKind::Resumed, TransitionKind::Cancelled]
    );
    let known = read(
        &known,
        &[report(NotificationKind::AutoRenewalOn, day(5))],
        monthly(day(5)),
    )
    .purchase;
    let minute = day(5).plus_millis(MINUTE);
    assert_eq!(
        kinds(&read(
            &known,
            &[report(NotificationKind::AutoRenewalOn, minute)],
            monthly(day(6))
        )),
        []
    );
    let again = read(
        &known,
        &[report(NotificationKind::AutoRenewalOn, day(6))],
        monthly(day(6)),
    );
    assert_eq!(
        kinds(&again),
        [TransitionKind::Cancelled, TransitionKind::Resumed]
    );
}

#[test]
fn a_conversion_in_the_purchase_s_window_shows_a_trial() {
    let reports = [
        report(NotificationKind::SubscriptionPurchased, day(0)),
        report(NotificationKind::TrialConverted, day(7)),
    ];
    let reported = settle_with(
        &Purchase::default(),
        &reports,
        &Verification::Unverifiable,
        day(8),
    );
    assert_eq!(
        kinds(&reported),
        [
            TransitionKind::TrialStarted,
            TransitionKind::Purchased,
            TransitionKind::TrialConverted,
            TransitionKind::Renewed
        ]
    );
}

#[test]
fn one_settling_announces_thirty_six_renewals_at_most() {
    let end: Timestamp = "2032-01-10T00:00:00Z".parse().unwrap();
    let reports = [
        report(NotificationKind::Renewed, day(31)),
        report(NotificationKind::Renewed, day(59)),
        report(NotificationKind::Renewed, day(1500)),
    ];
    let many = read(
        &bought(),
        &reports,
        Snapshot {
            renews_at: Some(end),
            ..monthly(end.plus_millis(-DAY))
        },
    );
    assert_eq!(
        (many.transitions.len(), many.purchase.billing_cycles()),
        (36, Some(72))
    );
}
