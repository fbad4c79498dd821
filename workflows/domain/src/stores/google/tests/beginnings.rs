//! The beginning of a new purchase that is cancelled at once: both are announced once, in whatever order and windows
//! they are reported.

use super::states::{reach, shown};
use super::{events, report, settle, verified};
use crate::event::tests::day;
use crate::notification::Notification;
use crate::notification::NotificationKind::{
    Adopted, AutoRenewalOff, AutoRenewalOn, Claimed, SubscriptionPurchased,
};
use crate::purchase::{Purchase, State};
use crate::time::{MINUTE, Timestamp};
use crate::transition::TransitionKind;
use crate::verification::Snapshot;

/// What is announced of a purchase by windows that follow each other, and its last state.
struct Announcements {
    all: Vec<(TransitionKind, Option<Timestamp>)>,
    state: State,
}

impl Announcements {
    /// Settles the windows a minute apart, from this time on, each with the answer of this name.
    fn of(windows: &[&[Notification]], name: &str, from: Timestamp) -> Self {
        Self::by(windows, from, |at| shown(name, at))
    }

    fn by(
        windows: &[&[Notification]],
        from: Timestamp,
        answer: impl Fn(Timestamp) -> Snapshot,
    ) -> Self {
        let mut known = Purchase::default();
        let mut all = Vec::new();
        let mut at = from;
        for window in windows {
            let decision = settle(&known, window, &verified(answer(at)));
            all.extend(decision.transitions.iter().map(|one| (one.kind, one.at)));
            known = decision.purchase;
            at = at.plus(MINUTE);
        }
        all.sort_unstable();
        Self {
            all,
            state: known.state(),
        }
    }
}

fn minutes(count: i64) -> Timestamp {
    day(0).plus_millis(count * 60_000)
}

#[test]
fn a_new_purchase_begins_and_is_cancelled_once_in_any_order() {
    let bought = report(SubscriptionPurchased, day(0));
    let cancelled = report(AutoRenewalOff, minutes(2));
    let all = [bought.clone(), cancelled.clone()];
    let (bought, cancelled) = (&all[..1], &all[1..]);
    let orders: [&[&[Notification]]; 10] = [
        &[&all],
        &[bought, cancelled],
        &[cancelled, bought],
        &[cancelled, bought, bought, cancelled],
        &[cancelled, &[], bought],
        &[cancelled, &all],
        &[&[], cancelled, bought],
        &[&[], bought, cancelled],
        // The beginning is never reported.
        &[cancelled],
        &[&[], cancelled, &[]],
    ];
    let expected = [
        (TransitionKind::Purchased, Some(day(0))),
        (TransitionKind::Cancelled, Some(minutes(2))),
    ];
    for windows in orders {
        let found = Announcements::of(windows, "off", minutes(5));
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found.all, expected, "{windows:?}");
        assert_eq!(found.state, State::Off);
    }
}

#[test]
fn a_new_trial_that_is_cancelled_first_begins_as_a_trial() {
    let cancelled = [report(AutoRenewalOff, minutes(2))];
    let bought = [report(SubscriptionPurchased, day(0))];
    let found = Announcements::of(&[&cancelled, &bought], "trial off", minutes(5));
    let mut expected = vec![
        (TransitionKind::TrialStarted, Some(day(0))),
        (TransitionKind::Purchased, Some(day(0))),
        (TransitionKind::Cancelled, Some(minutes(2))),
    ];
    expected.sort_unstable();
    assert_eq!(found.all, expected);
}

#[test]
fn a_new_purchase_that_is_switched_off_and_on_begins_once() {
    let bought = [report(SubscriptionPurchased, day(0))];
    let off = [report(AutoRenewalOff, minutes(2))];
    let on = [report(AutoRenewalOn, minutes(3))];
    for windows in [[&off, &on, &bought], [&on, &off, &bought]] {
        let windows = windows.map(|window| window.as_slice());
        let found = Announcements::of(&windows, "paid", minutes(5));
        let begun = (TransitionKind::Purchased, Some(day(0)));
        let count = found.all.iter().filter(|one| **one == begun).count();
        assert_eq!(count, 1, "{:?}", found.all);
    }
}

/// A tester's subscription of five minutes: it is over before the cancellation is settled.
#[test]
fn a_new_purchase_that_is_over_already_begins_once() {
    let cancelled = [report(AutoRenewalOff, minutes(2))];
    let bought = [report(SubscriptionPurchased, day(0))];
    let expired = |at: Timestamp| {
        let mut shown = shown("expired", at);
        shown.renews_at = Some(minutes(5));
        shown
    };
    let mut expected = vec![
        (TransitionKind::Purchased, Some(day(0))),
        (TransitionKind::Cancelled, Some(minutes(2))),
        (TransitionKind::Expired, Some(minutes(5))),
    ];
    expected.sort_unstable();
    for windows in [[&cancelled, &bought], [&bought, &cancelled]] {
        let windows = windows.map(|window| window.as_slice());
        let found = Announcements::by(&windows, minutes(6), expired);
        if windows[0] == bought {
            // The cancellation is reported behind the end.
            assert_eq!(found.all.len(), 2, "{:?}", found.all);
        } else {
            assert_eq!(found.all, expected);
        }
        assert_eq!(found.state, State::Expired);
    }
}

#[test]
fn a_purchase_that_is_not_new_is_cancelled_alone() {
    let cancelled = [report(AutoRenewalOff, day(7))];
    let bought = [report(SubscriptionPurchased, day(0))];
    let found = Announcements::of(&[&cancelled, &bought], "off", day(7).plus(MINUTE));
    assert_eq!(found.all, [(TransitionKind::Cancelled, Some(day(7)))]);
}

/// Another system announced what is imported.
#[test]
fn an_import_that_is_cancelled_begins_only_by_its_report() {
    let imported = [report(Adopted, day(1))];
    let claimed = [report(Claimed, day(1))];
    let cancelled = [report(AutoRenewalOff, day(2))];
    let bought = [report(SubscriptionPurchased, day(0))];
    let count = |windows: &[&[Notification]]| {
        let found = Announcements::of(windows, "off", day(2).plus(MINUTE));
        let kinds = found.all.iter().map(|(kind, _)| *kind);
        kinds
            .filter(|kind| *kind == TransitionKind::Purchased)
            .count()
    };
    assert_eq!(count(&[&imported, &cancelled]), 0);
    assert_eq!(count(&[&imported, &cancelled, &bought]), 1);
    assert_eq!(count(&[&claimed, &cancelled]), 1);
}

#[test]
fn a_pending_purchase_that_is_cancelled_never_begins() {
    let cancelled = report(AutoRenewalOff, minutes(2));
    for name in ["pending", "fell through"] {
        let decision = settle(
            &reach("none"),
            std::slice::from_ref(&cancelled),
            &verified(shown(name, minutes(5))),
        );
        assert_eq!(events(&decision), "", "{name}");
    }
}
