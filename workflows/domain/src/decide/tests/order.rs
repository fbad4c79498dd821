//! The events of one settling have a fixed order, whether reports or only the difference cause them.

use super::settle_with;
use super::verification::{bought, day, kinds, monthly, off, read, report};
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{Snapshot, Verification};

fn march(day: &str) -> Timestamp {
    format!("2026-03-{day}T00:00:00Z").parse().unwrap()
}

/// Returns the snapshot of a month of trial that began on day 0.
fn trial(at: Timestamp) -> Snapshot {
    Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly(at)
    }
}

fn paid() -> Snapshot {
    Snapshot {
        renews_at: Some(march("10")),
        ..monthly(day(31).plus_millis(120_000))
    }
}

/// Returns the snapshot of a paid subscription that is still switched off.
fn paid_and_off() -> Snapshot {
    Snapshot {
        renews_at: None,
        auto_renewing: Some(false),
        ends_at: Some(march("10")),
        ..paid()
    }
}

#[test]
fn a_conversion_while_off_follows_a_resume_unless_still_off() {
    let beginning = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let reports = [report(NotificationKind::TrialConverted, day(31))];
    let seen = read(&Purchase::default(), &beginning, trial(day(0))).purchase;
    let seen_off = Snapshot {
        trial_ends_at: Some(day(31)),
        ..off(day(5))
    };
    let seen = read(
        &seen,
        &[report(NotificationKind::AutoRenewalOff, day(5))],
        seen_off,
    )
    .purchase;
    assert_eq!(seen.state(), State::TrialOff);
    let unseen = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(5))],
        off(day(5)),
    )
    .purchase;
    for known in [&seen, &unseen] {
        assert_eq!(
            kinds(&read(known, &reports, paid())),
            [
                TransitionKind::Resumed,
                TransitionKind::TrialConverted,
                TransitionKind::Renewed
            ]
        );
        let still = read(known, &reports, paid_and_off());
        assert_eq!(
            (kinds(&still), still.purchase.state()),
            (
                vec![TransitionKind::TrialConverted, TransitionKind::Renewed],
                State::Off
            )
        );
    }
    assert_eq!(
        kinds(&read(&seen, &[], paid())),
        [
            TransitionKind::Resumed,
            TransitionKind::TrialConverted,
            TransitionKind::Renewed
        ]
    );
    assert_eq!(
        kinds(&read(&seen, &[], paid_and_off())),
        [TransitionKind::TrialConverted, TransitionKind::Renewed]
    );
    assert_eq!(
        kinds(&read(&unseen, &[], paid())),
        [TransitionKind::Resumed, TransitionKind::Renewed]
    );
    assert_eq!(
        kinds(&read(
            &unseen,
            &[report(NotificationKind::Renewed, day(31))],
            paid()
        )),
        [TransitionKind::Resumed, TransitionKind::Renewed]
    );
}

#[test]
fn a_plan_change_into_a_trial_begins_it_and_announces_its_end() {
    let change = report(NotificationKind::PlanChanged, day(0));
    let also_bought = report(NotificationKind::SubscriptionPurchased, day(0));
    for reports in [vec![change.clone()], vec![also_bought, change.clone()]] {
        let began = read(&Purchase::default(), &reports, trial(day(0)));
        assert_eq!(
            (kinds(&began), began.purchase.state()),
            (
                vec![TransitionKind::TrialStarted, TransitionKind::PlanChanged],
                State::Trial
            )
        );
        let reported = read(
            &began.purchase,
            &[report(NotificationKind::TrialConverted, day(31))],
            paid(),
        );
        assert_eq!(
            kinds(&reported),
            [TransitionKind::TrialConverted, TransitionKind::Renewed]
        );
        assert_eq!(reported.purchase.billing_cycles(), Some(1));
        assert_eq!(
            kinds(&read(&began.purchase, &[], paid())),
            [TransitionKind::TrialConverted, TransitionKind::Renewed]
        );
    }
    // The trial is shown later than the change.
    let known = read(
        &Purchase::default(),
        std::slice::from_ref(&change),
        monthly(day(0)),
    );
    assert_eq!(kinds(&known), [TransitionKind::PlanChanged]);
    let shown = read(&known.purchase, &[], trial(day(1)));
    assert_eq!(
        (kinds(&shown), shown.purchase.state()),
        (vec![TransitionKind::TrialStarted], State::Trial)
    );
    // The change is reported after the trial was seen.
    let adopted = read(
        &Purchase::default(),
        &[report(
            NotificationKind::Adopted,
            day(0).plus_millis(-60_000),
        )],
        trial(day(0)),
    );
    let reported = read(
        &adopted.purchase,
        std::slice::from_ref(&change),
        trial(day(1)),
    );
    assert_eq!(
        kinds(&reported),
        [TransitionKind::TrialStarted, TransitionKind::PlanChanged]
    );
    // An announced purchase already began the trial.
    let bought = read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        trial(day(0)),
    );
    assert_eq!(
        kinds(&bought),
        [TransitionKind::TrialStarted, TransitionKind::Purchased]
    );
    let reported = read(
        &bought.purchase,
        &[report(NotificationKind::PlanChanged, day(1))],
        trial(day(1)),
    );
    assert_eq!(kinds(&reported), [TransitionKind::PlanChanged]);
    // Without an answer of the store, a trial is not known.
    assert_eq!(
        kinds(&settle_with(
            &Purchase::default(),
            &[change],
            &Verification::Unverifiable,
            day(0)
        )),
        [TransitionKind::PlanChanged]
    );
}

#[test]
fn a_change_of_plan_without_a_trial_begins_none() {
    let change = read(
        &Purchase::default(),
        &[report(NotificationKind::PlanChanged, day(0))],
        monthly(day(0)),
    );
    assert_eq!(
        (kinds(&change), change.purchase.state()),
        (vec![TransitionKind::PlanChanged], State::Active)
    );
}
