//! A store that lags behind its notifications: which reports stand, which wait, when the purchase is rechecked, and
//! which snapshot decides.

mod ends;
mod resuming;

use super::verification::{MINUTE, bought, day, kinds, monthly, off, read, report};
use crate::decide::Decision;
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Offer, Snapshot};

const HOUR: i64 = 60 * MINUTE;

pub fn finished(ends_at: Timestamp, at: Timestamp) -> Snapshot {
    Snapshot {
        ends_at: Some(ends_at),
        end_reason: Some(EndReason::Customer),
        ..off(at)
    }
}

fn renewed(at: Timestamp) -> Snapshot {
    Snapshot {
        renews_at: Some("2026-03-10T00:00:00Z".parse().unwrap()),
        ..monthly(at)
    }
}

pub fn grace(at: Timestamp) -> Snapshot {
    Snapshot {
        grace_ends_at: Some(day(37)),
        ..monthly(at)
    }
}

fn deferred(at: Timestamp) -> Snapshot {
    Snapshot {
        deferred_at: Some(day(31)),
        deferred_sku: Some("silver".to_owned()),
        ..monthly(at)
    }
}

/// Returns the minutes of the checks after a notification of `at`, and the decision of the last check. `shows` returns
/// the snapshots.
fn checks(
    first: &Decision,
    at: Timestamp,
    until: i64,
    shows: impl Fn(Timestamp) -> Snapshot,
) -> (Vec<i64>, Decision) {
    let mut waits = Vec::new();
    let mut last = first.clone();
    while let Some(wake) = last.wake.filter(|wake| wake.millis_since(at) <= until) {
        waits.push(wake.millis_since(at) / MINUTE);
        last = read(&last.purchase, &[], shows(wake));
    }
    (waits, last)
}

#[test]
fn a_reported_payment_grace_or_auto_renewal_stands() {
    let in_grace = read(
        &bought(),
        &[report(NotificationKind::GraceBegan, day(31))],
        grace(day(31)),
    )
    .purchase;
    let is_off = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    type Shows = fn(Timestamp) -> Snapshot;
    let cases: [(&Purchase, NotificationKind, Shows, TransitionKind, State); 6] = [
        (
            &in_grace,
            NotificationKind::Renewed,
            grace,
            TransitionKind::Recovered,
            State::Active,
        ),
        (
            &in_grace,
            NotificationKind::OutOfGrace,
            grace,
            TransitionKind::Recovered,
            State::Active,
        ),
        (
            &bought(),
            NotificationKind::Renewed,
            monthly,
            TransitionKind::Renewed,
            State::Active,
        ),
        (
            &bought(),
            NotificationKind::GraceBegan,
            monthly,
            TransitionKind::GraceBegan,
            State::Grace,
        ),
        (
            &bought(),
            NotificationKind::AutoRenewalOff,
            monthly,
            TransitionKind::Cancelled,
            State::Off,
        ),
        (
            &is_off,
            NotificationKind::AutoRenewalOn,
            off,
            TransitionKind::Resumed,
            State::Active,
        ),
    ];
    for (known, kind, stale, transition, state) in cases {
        let at = day(if kind == NotificationKind::AutoRenewalOn {
            10
        } else {
            33
        });
        let first = read(
            known,
            &[report(kind, at)],
            stale(at.plus_millis(2 * MINUTE)),
        );
        assert_eq!(
            (kinds(&first), first.purchase.state()),
            (vec![transition], state),
            "{kind:?}"
        );
        assert!(first.purchase.is_unverified(), "{kind:?}");
        let (waits, last) = checks(&first, at, 2 * HOUR, stale);
        assert_eq!(waits, [10, 60], "{kind:?}");
        assert_eq!(
            (last.purchase.state(), last.wake),
            (state, Some(at.plus_millis(2 * HOUR + 5 * MINUTE))),
            "{kind:?}"
        );
    }
}

#[test]
fn the_first_check_after_two_hours_decides_and_is_watched() {
    let at = day(10);
    let first = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, at)],
        monthly(at),
    );
    let undone = read(&first.purchase, &[], monthly(at.plus_millis(2 * HOUR)));
    assert_eq!(
        (kinds(&undone), undone.purchase.state()),
        (vec![TransitionKind::Resumed], State::Active)
    );
    assert!(!undone.purchase.is_unverified());
    let (waits, last) = checks(&undone, at, 48 * HOUR, monthly);
    assert_eq!(waits, [125, 485, 845, 1205, 1565, 1925, 2285, 2645]);
    assert_eq!(
        last.wake.map(|wake| wake > at.plus_millis(6 * 24 * HOUR)),
        Some(true)
    );
}

#[test]
fn a_payment_beside_a_promotion_is_checked_after_the_lag() {
    let at = day(31);
    let early = at.plus_millis(5 * MINUTE);
    let sure = at.plus_millis(2 * HOUR + 5 * MINUTE);
    let paid = |shown: Snapshot| read(&bought(), &[report(NotificationKind::Renewed, at)], shown);
    let wake = |shown: Snapshot| paid(shown).wake.unwrap();
    let promoted = |at| Snapshot {
        offer: Some(Offer::Introductory),
        ..renewed(at)
    };
    let queued = |at| Snapshot {
        has_queued_offer: true,
        ..renewed(at)
    };
    assert!(wake(renewed(early)) > sure);
    assert_eq!([wake(promoted(early)), wake(queued(early))], [sure, sure]);
    let known = paid(promoted(early)).purchase;
    assert!(known.is_offer_unconfirmed(at));
    for shown in [promoted(sure), queued(sure), renewed(early)] {
        let later = read(&known, &[], shown);
        assert!(!later.purchase.is_offer_unconfirmed(at));
        assert!(later.wake.unwrap() > sure.plus_millis(HOUR));
    }
}

#[test]
fn a_payment_at_a_due_plan_change_is_of_the_new_plan() {
    let known = read(
        &bought(),
        &[report(NotificationKind::PlanChangeScheduled, day(2))],
        deferred(day(2)),
    )
    .purchase;
    let first = read(
        &known,
        &[report(NotificationKind::Renewed, day(31))],
        deferred(day(31).plus_millis(2 * MINUTE)),
    );
    assert_eq!(
        kinds(&first),
        [TransitionKind::Renewed, TransitionKind::PlanChanged]
    );
    assert_eq!(
        first.purchase.sku(crate::catalogue::ProductRef::Term),
        Some("silver")
    );
    let silver = |at| Snapshot {
        term_sku: Some("silver".to_owned()),
        ..renewed(at)
    };
    let second = read(&first.purchase, &[], silver(day(31).plus_millis(HOUR)));
    assert_eq!(
        (kinds(&second), second.purchase.billing_cycles()),
        (vec![], Some(2))
    );
}

#[test]
fn a_change_that_is_shown_by_half_waits_for_the_other_half() {
    let at = day(10);
    let half = Snapshot {
        auto_renewing: Some(false),
        ..monthly(at)
    };
    let first = read(&bought(), &[], half.clone());
    assert_eq!(
        (kinds(&first), first.wake),
        (vec![], Some(at.plus_millis(10 * MINUTE)))
    );
    let over = read(
        &first.purchase,
        &[],
        finished(day(10), at.plus_millis(10 * MINUTE)),
    );
    assert_eq!(kinds(&over), [TransitionKind::Expired]);
    let off = read(&first.purchase, &[], off(at.plus_millis(10 * MINUTE)));
    assert_eq!(kinds(&off), [TransitionKind::Cancelled]);
    let stays = read(
        &first.purchase,
        &[],
        Snapshot {
            at: at.plus_millis(2 * HOUR),
            ..half
        },
    );
    assert_eq!(kinds(&stays), [TransitionKind::Cancelled]);
}

#[test]
fn clocks_that_differ_do_not_keep_a_purchase_behind_for_ever() {
    let far: Notification = report(NotificationKind::AutoRenewalOff, day(300));
    let first = read(&bought(), &[far], monthly(day(10)));
    assert!(first.wake.is_some_and(|wake| wake <= day(17)));
}

/// Snapshots of a trial whose conversion no snapshot showed: first they still show the trial, later the payment.
struct Conversion {
    stale: fn(Timestamp) -> Snapshot,
    shows: fn(Timestamp) -> Snapshot,
    events: &'static [TransitionKind],
}

impl Conversion {
    /// Checks that a lagging store causes the same events as one that shows the payment at once.
    fn check(&self, state: &str, known: &Purchase) {
        let reports = [report(
            NotificationKind::TrialConverted,
            day(31).plus_millis(HOUR),
        )];
        let now = day(31).plus_millis(HOUR + 2 * MINUTE);
        let at_once = read(known, &reports, (self.shows)(now));
        assert_eq!(kinds(&at_once), self.events, "{state}");
        let cycles = at_once.purchase.billing_cycles();
        let first = read(known, &reports, (self.stale)(now));
        let second = read(
            &first.purchase,
            &[],
            (self.shows)(now.plus_millis(45 * MINUTE)),
        );
        assert_eq!(
            [kinds(&first), kinds(&second)].concat(),
            self.events,
            "{state}, behind: {:?}",
            kinds(&first)
        );
        assert_eq!(second.purchase.billing_cycles(), cycles, "{state}, behind");
        let paid = |one: &&crate::transition::Transition| {
            matches!(
                one.kind,
                TransitionKind::Renewed | TransitionKind::Recovered
            )
        };
        let number = |transitions: &[crate::transition::Transition]| {
            transitions.iter().find(paid).map(|one| one.cycle)
        };
        assert_eq!(
            number(&first.transitions),
            number(&at_once.transitions),
            "{state}"
        );
    }
}

#[test]
fn a_conversion_of_an_unseen_trial_is_one_payment() {
    let is_off = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    let over = read(
        &is_off,
        &[report(NotificationKind::Expired, day(31))],
        finished(day(31), day(31)),
    )
    .purchase;
    let scheduled = read(
        &bought(),
        &[report(NotificationKind::PlanChangeScheduled, day(2))],
        deferred(day(2)),
    )
    .purchase;
    let in_grace = read(
        &bought(),
        &[report(NotificationKind::GraceBegan, day(31))],
        grace(day(31)),
    )
    .purchase;
    let silver = |at| Snapshot {
        term_sku: Some("silver".to_owned()),
        ..renewed(at)
    };
    let cases: [(&str, &Purchase, Conversion); 5] = [
        (
            "active",
            &bought(),
            Conversion {
                stale: monthly,
                shows: renewed,
                events: &[TransitionKind::TrialConverted, TransitionKind::Renewed],
            },
        ),
        (
            "off",
            &is_off,
            Conversion {
                stale: |at| finished(day(31), at),
                shows: renewed,
                events: &[
                    TransitionKind::Resumed,
                    TransitionKind::TrialConverted,
                    TransitionKind::Renewed,
                ],
            },
        ),
        (
            "expired",
            &over,
            Conversion {
                stale: |at| finished(day(31), at),
                shows: renewed,
                events: &[TransitionKind::TrialConverted, TransitionKind::Renewed],
            },
        ),
        (
            "scheduled",
            &scheduled,
            Conversion {
                stale: deferred,
                shows: silver,
                events: &[
                    TransitionKind::TrialConverted,
                    TransitionKind::Renewed,
                    TransitionKind::PlanChanged,
                ],
            },
        ),
        (
            "grace",
            &in_grace,
            Conversion {
                stale: grace,
                shows: renewed,
                events: &[TransitionKind::TrialConverted, TransitionKind::Recovered],
            },
        ),
    ];
    for (state, known, conversion) in cases {
        conversion.check(state, known);
    }
}

/// Returns the snapshot of a refund before its reason is shown, for a subscription that would have renewed later.
pub fn refunded(at: Timestamp, reason: Option<EndReason>) -> Snapshot {
    Snapshot {
        renews_at: None,
        auto_renewing: Some(false),
        ends_at: Some(day(12)),
        end_reason: reason,
        ..monthly(at)
    }
}
