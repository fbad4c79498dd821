//! A lagging store causes the same events after an end, and after an unseen trial, as one that agrees at once.

use super::lag::{finished, grace};
use super::settle_with;
use super::verification::{MINUTE, day, kinds, monthly, off, read, report};
use crate::decide::Waits;
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::transition::TransitionKind;
use crate::verification::{Snapshot, Verification};

const HOUR: i64 = 60 * MINUTE;

/// Returns a subscription that was switched off half an hour before its end, and expired.
fn expired(has_trial: bool) -> Purchase {
    let trial_ends_at = has_trial.then_some(day(31));
    let begun = Snapshot {
        trial_ends_at,
        ..monthly(day(0))
    };
    let begun = read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        begun,
    )
    .purchase;
    let switched_at = day(31).plus_millis(-HOUR / 2);
    let is_off = Snapshot {
        trial_ends_at,
        ..off(switched_at)
    };
    let is_off = read(
        &begun,
        &[report(NotificationKind::AutoRenewalOff, switched_at)],
        is_off,
    )
    .purchase;
    read(
        &is_off,
        &[report(NotificationKind::Expired, day(31))],
        finished(day(31), day(31).plus_millis(MINUTE)),
    )
    .purchase
}

#[test]
fn a_switch_before_the_newest_payment_is_of_the_former_life() {
    let at = day(31).plus_millis(10 * MINUTE);
    let now = at.plus_millis(2 * MINUTE);
    let paid = |at| Snapshot {
        renews_at: Some(day(62)),
        ..monthly(at)
    };
    for has_trial in [true, false] {
        let known = expired(has_trial);
        for kind in [
            NotificationKind::Renewed,
            NotificationKind::OutOfGrace,
            NotificationKind::TrialConverted,
            NotificationKind::SubscriptionPurchased,
        ] {
            let events: &[TransitionKind] = match kind {
                NotificationKind::SubscriptionPurchased => &[TransitionKind::Purchased],
                NotificationKind::TrialConverted => {
                    &[TransitionKind::TrialConverted, TransitionKind::Renewed]
                }
                _ if has_trial => &[TransitionKind::TrialConverted, TransitionKind::Renewed],
                _ => &[TransitionKind::Renewed],
            };
            let reports = [report(kind, at)];
            let agreed = read(&known, &reports, paid(now));
            let first = read(&known, &reports, finished(day(31), now));
            let second = read(&first.purchase, &[], paid(now.plus_millis(45 * MINUTE)));
            for (name, found) in [
                ("agreed", kinds(&agreed)),
                ("lagged", [kinds(&first), kinds(&second)].concat()),
            ] {
                assert_eq!(found, events, "{name}: {kind:?}, trial {has_trial}");
            }
            for last in [&agreed, &second] {
                assert_eq!(
                    last.purchase.state(),
                    State::Active,
                    "{kind:?}, trial {has_trial}"
                );
                assert_eq!(
                    last.purchase.canceled_at(),
                    None,
                    "{kind:?}, trial {has_trial}"
                );
            }
            let later = read(&agreed.purchase, &[], paid(now.plus_millis(3 * HOUR)));
            assert_eq!(
                kinds(&later),
                [],
                "nothing is resumed that was not off: {kind:?}"
            );
        }
    }
}

#[test]
fn a_grace_period_after_the_end_waits_for_the_store() {
    let at = day(31).plus_millis(10 * MINUTE);
    let now = at.plus_millis(2 * MINUTE);
    let reports = [report(NotificationKind::GraceBegan, at)];
    for has_trial in [true, false] {
        let known = expired(has_trial);
        let agreed = read(&known, &reports, grace(now));
        assert_eq!(
            (kinds(&agreed), agreed.purchase.state()),
            (vec![TransitionKind::GraceBegan], State::Grace)
        );
        let first = read(&known, &reports, finished(day(31), now));
        assert_eq!(
            (kinds(&first), first.waits),
            (vec![], Some(Waits::Confirmation))
        );
        assert_eq!(
            first.wake,
            Some(at.plus_millis(10 * MINUTE)),
            "it is looked at again"
        );
        let shown = read(
            &first.purchase,
            &reports,
            grace(now.plus_millis(45 * MINUTE)),
        );
        assert_eq!(
            (kinds(&shown), shown.purchase.state()),
            (vec![TransitionKind::GraceBegan], State::Grace)
        );
        assert_eq!((shown.outcomes.len(), shown.waits), (1, None));
        let never = read(
            &first.purchase,
            &reports,
            finished(day(31), at.plus_millis(2 * HOUR)),
        );
        assert_eq!(
            (kinds(&never), never.purchase.state(), never.outcomes.len()),
            (vec![], State::Expired, 1)
        );
    }
}

#[test]
fn a_grace_period_after_the_end_follows_the_stores_answer() {
    let at = day(31).plus_millis(10 * MINUTE);
    let unreachable = Verification::Unreachable {
        since: at.plus_millis(-48 * HOUR),
    };
    for has_trial in [true, false] {
        let reports = [report(NotificationKind::GraceBegan, at)];
        let alone = settle_with(
            &expired(has_trial),
            &reports,
            &unreachable,
            at.plus_millis(24 * HOUR),
        );
        assert_eq!(
            (kinds(&alone), alone.purchase.state()),
            (vec![], State::Expired),
            "one word against another"
        );
        let shown = read(&alone.purchase, &[], grace(at.plus_millis(27 * HOUR)));
        assert_eq!(
            (kinds(&shown), shown.purchase.state()),
            (vec![TransitionKind::GraceBegan], State::Grace)
        );
        assert_eq!(shown.transitions[0].at, Some(at));
        let again = read(&shown.purchase, &[], grace(at.plus_millis(28 * HOUR)));
        assert_eq!(
            (kinds(&again), again.purchase.state()),
            (vec![], State::Grace)
        );
    }
}

#[test]
fn a_recovery_that_a_trial_hides_is_announced_as_one() {
    let trial = |at| Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly(at)
    };
    let begun = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let known = read(&Purchase::default(), &begun, trial(day(0))).purchase;
    let reports = [report(NotificationKind::OutOfGrace, day(25))];
    let now = day(25).plus_millis(2 * MINUTE);
    let first = read(&known, &reports, trial(now));
    let all = [
        TransitionKind::GraceBegan,
        TransitionKind::TrialConverted,
        TransitionKind::Recovered,
    ];
    assert_eq!(
        (kinds(&first), first.purchase.state()),
        (all.to_vec(), State::Active)
    );
    let second = read(
        &first.purchase,
        &[],
        Snapshot {
            renews_at: Some(day(56)),
            ..monthly(now.plus_millis(HOUR))
        },
    );
    assert_eq!(
        (kinds(&second), second.purchase.state()),
        (vec![], State::Active)
    );
}
