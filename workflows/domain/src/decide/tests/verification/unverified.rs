//! Decisions while the store cannot be reached, and their later corrections.

use super::{DAY, HOUR, MINUTE, bought, day, kinds, monthly, read, report};
use crate::decide::Waits;
use crate::decide::tests::settle_with;
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::transition::TransitionKind;
use crate::verification::{Snapshot, Verification};

#[test]
fn an_unreachable_store_settles_five_kinds_and_all_after_a_day() {
    let known = bought();
    let sure = [
        NotificationKind::Renewed,
        NotificationKind::AutoRenewalOff,
        NotificationKind::AutoRenewalOn,
        NotificationKind::GraceBegan,
        NotificationKind::TrialConverted,
    ];
    // A claim is not a report and never waits.
    for kind in super::super::all_kinds()
        .into_iter()
        .filter(|kind| *kind != NotificationKind::Claimed)
    {
        let settled = |now| {
            settle_with(
                &known,
                &[report(kind, day(31))],
                &Verification::Unreachable { since: day(31) },
                now,
            )
        };
        let decision = settled(day(32).plus_millis(-1));
        assert_eq!(
            decision.outcomes.len(),
            usize::from(sure.contains(&kind)),
            "{kind:?}"
        );
        assert_eq!(decision.waits.is_some(), !sure.contains(&kind), "{kind:?}");
        assert_eq!(
            decision.purchase.is_unverified(),
            sure.contains(&kind),
            "{kind:?}"
        );
        assert_eq!(settled(day(32)).outcomes.len(), 1, "{kind:?}");
    }
}

#[test]
fn nothing_is_settled_before_a_beginning_that_waits() {
    let reports = [
        report(NotificationKind::SubscriptionPurchased, day(0)),
        report(NotificationKind::AutoRenewalOff, day(1)),
    ];
    let waiting = settle_with(
        &Purchase::default(),
        &reports,
        &Verification::Unreachable { since: day(1) },
        day(1),
    );
    assert_eq!(
        (waiting.outcomes.len(), waiting.waits),
        (0, Some(Waits::Verification))
    );
    assert_eq!(waiting.purchase.state(), State::Unknown);
    let off = Snapshot {
        auto_renewing: Some(false),
        ends_at: Some(day(31)),
        renews_at: None,
        ..monthly(day(2))
    };
    assert_eq!(
        kinds(&read(&waiting.purchase, &reports, off)),
        [TransitionKind::Purchased, TransitionKind::Cancelled]
    );
}

#[test]
fn an_unreachable_store_is_queried_ever_more_rarely() {
    let wake = |passed: i64| {
        let now = day(1).plus_millis(passed);
        let wake = settle_with(
            &bought(),
            &[],
            &Verification::Unreachable { since: day(1) },
            now,
        )
        .wake
        .unwrap();
        wake.millis_since(now) / MINUTE
    };
    let waits = [0, HOUR - 1, HOUR, 6 * HOUR, DAY - 10 * MINUTE, DAY, 3 * DAY].map(wake);
    assert_eq!(waits, [5, 5, 15, 30, 10, 30, 30]);
}

#[test]
fn what_was_announced_unverified_is_repaired_in_silence() {
    let since = day(20);
    let cut = settle_with(
        &bought(),
        &[report(NotificationKind::SubscriptionCancelled, day(20))],
        &Verification::Unreachable { since },
        day(21),
    );
    assert_eq!(
        (kinds(&cut), cut.purchase.state()),
        (vec![TransitionKind::Expired], State::Expired)
    );
    let runs = read(&cut.purchase, &[], monthly(day(22)));
    assert_eq!(
        (kinds(&runs), runs.purchase.state()),
        (vec![], State::Active)
    );
    let finished = Snapshot {
        ends_at: Some(day(31)),
        auto_renewing: Some(false),
        renews_at: None,
        ..monthly(day(32))
    };
    let over = read(
        &runs.purchase,
        &[report(NotificationKind::Expired, day(31))],
        finished,
    );
    assert_eq!(
        (kinds(&over), over.purchase.state()),
        (vec![], State::Expired)
    );
}

#[test]
fn an_unverified_renewal_is_one_with_its_later_snapshot() {
    let announced = settle_with(
        &bought(),
        &[report(NotificationKind::Renewed, day(31))],
        &Verification::Unreachable { since: day(31) },
        day(31),
    );
    assert_eq!(kinds(&announced), [TransitionKind::Renewed]);
    assert_eq!(announced.purchase.billing_cycles(), Some(2));
    assert_eq!(
        announced.purchase.expires_at(),
        Some("2026-03-10T00:00:00Z".parse().unwrap())
    );
    let later = Snapshot {
        renews_at: Some("2026-04-10T00:00:00Z".parse().unwrap()),
        ..monthly(day(62))
    };
    let read = read(&announced.purchase, &[], later);
    assert_eq!(kinds(&read), [TransitionKind::Renewed]);
    assert_eq!(read.transitions[0].cycle, Some(3));
    assert!(!read.purchase.is_unverified());
}

#[test]
fn an_unverified_beginning_becomes_a_trial_when_one_is_shown() {
    let bought = report(NotificationKind::SubscriptionPurchased, day(0));
    let known = settle_with(
        &Purchase::default(),
        &[bought],
        &Verification::Unverifiable,
        day(0),
    )
    .purchase;
    let trial = Snapshot {
        trial_ends_at: Some(day(31)),
        ..monthly(day(1))
    };
    let shown = read(&known, &[], trial);
    assert_eq!(
        (kinds(&shown), shown.purchase.state()),
        (vec![TransitionKind::TrialStarted], State::Trial)
    );
    let paid = Snapshot {
        renews_at: Some("2026-03-10T00:00:00Z".parse().unwrap()),
        ..monthly(day(32))
    };
    assert_eq!(
        kinds(&read(&shown.purchase, &[], paid)),
        [TransitionKind::TrialConverted, TransitionKind::Renewed]
    );
}
