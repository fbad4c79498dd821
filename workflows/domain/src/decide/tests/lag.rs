//! A store that shows later than it notifies: what stands, what waits, when it is checked again, and what decides.

use super::settle_with;
use super::verification::{MINUTE, bought, day, kinds, monthly, off, read, report};
use crate::decide::{Decision, SettlingContext, Waits, decide};
use crate::notification::{Notification, NotificationKind};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Offer, Product, Snapshot, Verification};

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

/// The minutes of the checks after a notification of `at`, and the decision of the last one, with the snapshots of
/// `shows`.
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
fn a_reported_end_or_scheduled_change_waits_for_the_store() {
    let at = day(10);
    type Shows = fn(Timestamp) -> Snapshot;
    let cases: [(NotificationKind, Shows, &[TransitionKind]); 3] = [
        (
            NotificationKind::SubscriptionCancelled,
            |at| finished(day(10), at),
            &[TransitionKind::Expired],
        ),
        (
            NotificationKind::Expired,
            |at| finished(day(10), at),
            &[TransitionKind::Expired],
        ),
        (
            NotificationKind::PlanChangeScheduled,
            deferred,
            &[TransitionKind::PlanChangeScheduled],
        ),
    ];
    for (kind, shows, events) in cases {
        let reports = [report(kind, at)];
        let first = read(&bought(), &reports, monthly(at));
        assert_eq!(
            (kinds(&first), first.outcomes.len(), first.waits),
            (vec![], 0, Some(Waits::Confirmation)),
            "{kind:?}"
        );
        assert_eq!(first.wake, Some(at.plus_millis(10 * MINUTE)), "{kind:?}");
        let later = at.plus_millis(10 * MINUTE);
        let shown = read(&first.purchase, &reports, shows(later));
        assert_eq!(
            (kinds(&shown), shown.outcomes.len(), shown.waits),
            (events.to_vec(), 1, None),
            "{kind:?}"
        );
        assert_eq!(shown.transitions[0].at, Some(at), "{kind:?}");
        let never = read(&first.purchase, &reports, monthly(at.plus_millis(2 * HOUR)));
        assert_eq!(
            (kinds(&never), never.outcomes.len(), never.waits),
            (vec![], 1, None),
            "{kind:?}"
        );
    }
}

#[test]
fn a_one_time_purchase_is_revoked_by_the_store_or_in_two_hours() {
    let coins = |at| Snapshot {
        product: Product::Consumable,
        term: None,
        renews_at: None,
        ..monthly(at)
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::ConsumablePurchased, day(0))],
        coins(day(0)),
    )
    .purchase;
    let reports = [report(NotificationKind::ConsumableCancelled, day(1))];
    let waiting = read(&known, &reports, coins(day(1)));
    assert_eq!(
        (waiting.purchase.state(), waiting.outcomes.len()),
        (State::Active, 0)
    );
    let taken = read(
        &waiting.purchase,
        &reports,
        coins(day(1).plus_millis(2 * HOUR)),
    );
    assert_eq!(
        (taken.purchase.state(), taken.purchase.revoked_at()),
        (State::Revoked, Some(day(1)))
    );
    let shown = Snapshot {
        ends_at: Some(day(1)),
        ..coins(day(1).plus_millis(10 * MINUTE))
    };
    assert_eq!(
        read(&waiting.purchase, &reports, shown)
            .purchase
            .revoked_at(),
        Some(day(1))
    );
}

#[test]
fn a_purchase_with_only_an_unconfirmed_end_stays_unknown() {
    let reports = [report(NotificationKind::Expired, day(31))];
    let first = read(&Purchase::default(), &reports, monthly(day(31)));
    assert_eq!(
        (first.purchase.state(), first.waits, first.outcomes.len()),
        (State::Unknown, Some(Waits::Confirmation), 0)
    );
    let over = read(
        &first.purchase,
        &reports,
        finished(day(31), day(31).plus_millis(10 * MINUTE)),
    );
    assert_eq!(
        (kinds(&over), over.purchase.state()),
        (vec![TransitionKind::Expired], State::Expired)
    );
}

#[test]
fn what_runs_again_after_its_end_is_a_payment_or_a_resumption() {
    let over = read(
        &bought(),
        &[report(NotificationKind::Expired, day(31))],
        finished(day(31), day(31)),
    )
    .purchase;
    let at = day(35);
    for (kind, transition) in [
        (NotificationKind::Renewed, TransitionKind::Renewed),
        (NotificationKind::OutOfGrace, TransitionKind::Renewed),
        (NotificationKind::AutoRenewalOn, TransitionKind::Resumed),
        (
            NotificationKind::SubscriptionPurchased,
            TransitionKind::Purchased,
        ),
    ] {
        let reports = [report(kind, at)];
        let cycles = if kind == NotificationKind::AutoRenewalOn {
            1
        } else {
            2
        };
        let renews_at = Some(day(if cycles == 2 { 66 } else { 31 }));
        let back = |at| Snapshot {
            renews_at,
            ..monthly(at)
        };
        let at_once = read(&over, &reports, back(at.plus_millis(2 * MINUTE)));
        assert_eq!(
            (kinds(&at_once), at_once.purchase.state()),
            (vec![transition], State::Active),
            "{kind:?}"
        );
        let first = read(
            &over,
            &reports,
            finished(day(31), at.plus_millis(2 * MINUTE)),
        );
        assert_eq!(
            (kinds(&first), first.purchase.state()),
            (vec![transition], State::Active),
            "{kind:?}"
        );
        let second = read(&first.purchase, &[], back(at.plus_millis(HOUR)));
        assert_eq!(
            (kinds(&second), second.purchase.state()),
            (vec![], State::Active),
            "{kind:?}"
        );
        if cycles == 2 {
            assert_eq!(at_once.purchase.billing_cycles(), Some(2), "{kind:?}");
            assert_eq!(second.purchase.billing_cycles(), Some(2), "{kind:?}");
        }
        let never = read(
            &first.purchase,
            &[],
            finished(day(31), at.plus_millis(2 * HOUR + MINUTE)),
        );
        assert_eq!(
            (kinds(&never), never.purchase.state()),
            (vec![TransitionKind::Expired], State::Expired),
            "{kind:?}"
        );
    }
}

#[test]
fn a_receipt_that_is_no_longer_valid_runs_again_by_a_payment() {
    let gone = settle_with(&bought(), &[], &Verification::Gone, day(20)).purchase;
    let paid = settle_with(
        &gone,
        &[report(NotificationKind::Renewed, day(31))],
        &Verification::Gone,
        day(31),
    );
    assert_eq!(
        (kinds(&paid), paid.purchase.state()),
        (vec![TransitionKind::Renewed], State::Active)
    );
    let shown = read(&paid.purchase, &[], renewed(day(31).plus_millis(HOUR)));
    assert_eq!((kinds(&shown), shown.purchase.revoked_at()), (vec![], None));
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
    type Shows = fn(Timestamp) -> Snapshot;
    let silver: Shows = |at| Snapshot {
        term_sku: Some("silver".to_owned()),
        ..renewed(at)
    };
    let cases: [(&str, &Purchase, Shows, Shows, &[TransitionKind]); 5] = [
        (
            "active",
            &bought(),
            monthly,
            renewed,
            &[TransitionKind::TrialConverted, TransitionKind::Renewed],
        ),
        (
            "off",
            &is_off,
            |at| finished(day(31), at),
            renewed,
            &[
                TransitionKind::Resumed,
                TransitionKind::TrialConverted,
                TransitionKind::Renewed,
            ],
        ),
        (
            "expired",
            &over,
            |at| finished(day(31), at),
            renewed,
            &[TransitionKind::TrialConverted, TransitionKind::Renewed],
        ),
        (
            "scheduled",
            &scheduled,
            deferred,
            silver,
            &[
                TransitionKind::TrialConverted,
                TransitionKind::Renewed,
                TransitionKind::PlanChanged,
            ],
        ),
        (
            "grace",
            &in_grace,
            grace,
            renewed,
            &[TransitionKind::TrialConverted, TransitionKind::Recovered],
        ),
    ];
    let reports = [report(
        NotificationKind::TrialConverted,
        day(31).plus_millis(HOUR),
    )];
    for (state, known, stale, shows, events) in cases {
        let now = day(31).plus_millis(HOUR + 2 * MINUTE);
        let at_once = read(known, &reports, shows(now));
        assert_eq!(kinds(&at_once), events, "{state}");
        let cycles = at_once.purchase.billing_cycles();
        let first = read(known, &reports, stale(now));
        let second = read(&first.purchase, &[], shows(now.plus_millis(45 * MINUTE)));
        assert_eq!(
            [kinds(&first), kinds(&second)].concat(),
            events,
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
fn a_failed_payment_after_an_unreported_resume_is_grace() {
    let is_off = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    let reports = [report(
        NotificationKind::GraceBegan,
        day(31).plus_millis(HOUR),
    )];
    let now = day(31).plus_millis(HOUR + 2 * MINUTE);
    let at_once = read(&is_off, &reports, grace(now));
    assert_eq!(
        (kinds(&at_once), at_once.purchase.state()),
        (
            vec![TransitionKind::Resumed, TransitionKind::GraceBegan],
            State::Grace
        )
    );
    let first = read(&is_off, &reports, finished(day(31), now));
    let second = read(&first.purchase, &[], grace(now.plus_millis(45 * MINUTE)));
    assert_eq!(
        [kinds(&first), kinds(&second)].concat(),
        [TransitionKind::Resumed, TransitionKind::GraceBegan]
    );
    assert_eq!(second.purchase.state(), State::Grace);
    let over = read(
        &is_off,
        &[report(NotificationKind::Expired, day(31))],
        finished(day(31), day(31)),
    )
    .purchase;
    let late = read(&over, &reports, finished(day(31), now));
    assert_eq!(
        (kinds(&late), late.purchase.state()),
        (vec![], State::Expired)
    );
}

#[test]
fn a_late_notification_buys_nothing_a_second_time() {
    let coins = |at| Snapshot {
        product: Product::Consumable,
        term: None,
        renews_at: None,
        ..monthly(at)
    };
    let taken = |at| Snapshot {
        ends_at: Some(day(1)),
        ..coins(at)
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::ConsumablePurchased, day(0))],
        coins(day(0)),
    )
    .purchase;
    let known = read(
        &known,
        &[report(NotificationKind::ConsumableCancelled, day(1))],
        taken(day(1)),
    )
    .purchase;
    let again = [report(NotificationKind::ConsumablePurchased, day(2))];
    assert_eq!(kinds(&read(&known, &again, taken(day(2)))), []);
    let alone = settle_with(
        &known,
        &again,
        &Verification::Unreachable { since: day(2) },
        day(4),
    );
    assert_eq!(kinds(&alone), []);
}

#[test]
fn an_end_some_seconds_after_its_beginning_is_no_older_one() {
    let at = day(0).plus_millis(3_000);
    let over = read(
        &bought(),
        &[report(NotificationKind::Expired, at)],
        finished(at, day(0).plus_millis(2 * MINUTE)),
    );
    assert_eq!(
        (kinds(&over), over.waits, over.purchase.state()),
        (vec![TransitionKind::Expired], None, State::Expired)
    );
}

#[test]
fn an_unverified_purchase_after_the_end_is_one_payment() {
    let over = read(
        &bought(),
        &[report(NotificationKind::Expired, day(31))],
        finished(day(31), day(31)),
    )
    .purchase;
    let reports = [report(NotificationKind::SubscriptionPurchased, day(35))];
    let alone = settle_with(
        &over,
        &reports,
        &Verification::Unreachable { since: day(35) },
        day(37),
    );
    assert_eq!(kinds(&alone), [TransitionKind::Purchased]);
    let shown = read(
        &alone.purchase,
        &[],
        Snapshot {
            renews_at: Some(day(66)),
            ..monthly(day(38))
        },
    );
    assert_eq!(
        (kinds(&shown), shown.purchase.billing_cycles()),
        (vec![], Some(2))
    );
    assert_eq!(shown.purchase.revoked_at(), None);
}

#[test]
fn a_late_payment_from_before_the_end_begins_nothing_again() {
    let late = report(NotificationKind::Renewed, day(31).plus_millis(7_000));
    let renewing = read(&bought(), &[], renewed(day(31).plus_millis(10 * MINUTE)));
    assert_eq!(
        (kinds(&renewing), renewing.purchase.billing_cycles()),
        (vec![TransitionKind::Renewed], Some(2))
    );
    let end: Timestamp = "2026-03-10T00:00:00Z".parse().unwrap();
    let over = read(
        &renewing.purchase,
        &[],
        finished(end, end.plus_millis(10 * MINUTE)),
    );
    assert_eq!(
        (kinds(&over), over.purchase.billing_cycles()),
        (vec![TransitionKind::Expired], Some(2))
    );
    let at = end.plus_millis(HOUR);
    for verification in [
        Verification::Verified(Box::new(finished(end, at))),
        Verification::Unreachable {
            since: at.plus_millis(-48 * HOUR),
        },
        Verification::Unverifiable,
    ] {
        let after = settle_with(
            &over.purchase,
            std::slice::from_ref(&late),
            &verification,
            at,
        );
        assert_eq!(
            (kinds(&after), after.purchase.billing_cycles()),
            (vec![], Some(2)),
            "{verification:?}"
        );
        let again = read(&after.purchase, &[], finished(end, at.plus_millis(HOUR)));
        assert_eq!(
            (kinds(&again), again.purchase.billing_cycles()),
            (vec![], Some(2)),
            "{verification:?}"
        );
    }
}

/// A refund as the store shows it before its reason, of a subscription that would have renewed later.
pub fn refunded(at: Timestamp, reason: Option<EndReason>) -> Snapshot {
    Snapshot {
        renews_at: None,
        auto_renewing: Some(false),
        ends_at: Some(day(12)),
        end_reason: reason,
        ..monthly(at)
    }
}

#[test]
fn an_agreed_end_waits_ten_minutes_for_its_reason() {
    let ends = [
        NotificationKind::SubscriptionCancelled,
        NotificationKind::Expired,
    ];
    let missing = [None, Some(EndReason::Pending)];
    for (kind, reason) in ends
        .into_iter()
        .flat_map(|kind| missing.map(|reason| (kind, reason)))
    {
        let reports = [report(kind, day(12).plus_millis(3_000))];
        let first = read(
            &bought(),
            &reports,
            refunded(day(12).plus_millis(2 * MINUTE), reason),
        );
        assert_eq!(
            (kinds(&first), first.waits),
            (vec![], Some(Waits::Confirmation)),
            "{kind:?} {reason:?}"
        );
        let wake = first.wake.unwrap();
        assert!(
            wake <= day(12).plus_millis(12 * MINUTE),
            "{kind:?} {reason:?}: {wake}"
        );
        let over = read(&first.purchase, &reports, refunded(wake, reason));
        assert_eq!(
            (kinds(&over), over.waits),
            (vec![TransitionKind::Expired], None),
            "{kind:?} {reason:?}"
        );
        let later = read(
            &over.purchase,
            &[],
            refunded(day(12).plus_millis(HOUR), Some(EndReason::Customer)),
        );
        assert_eq!(
            (kinds(&later), later.purchase.state()),
            (vec![], State::Expired),
            "{kind:?} {reason:?}"
        );
        assert_eq!(
            later.purchase.revoked_at(),
            Some(day(12)),
            "{kind:?} {reason:?}"
        );
    }
}

#[test]
fn a_plan_change_whose_reason_was_pending_at_first_is_no_end() {
    let reports = [report(NotificationKind::SubscriptionCancelled, day(12))];
    let pending = Some(EndReason::Pending);
    let first = read(
        &bought(),
        &reports,
        refunded(day(12).plus_millis(2 * MINUTE), pending),
    );
    let replaced = refunded(day(12).plus_millis(9 * MINUTE), Some(EndReason::Replaced));
    let known = read(&first.purchase, &reports, replaced);
    assert_eq!([kinds(&first), kinds(&known)].concat(), []);
    assert_eq!(known.purchase.state(), State::Replaced);
}

#[test]
fn an_end_by_a_plan_change_shown_in_time_is_a_replacement() {
    let reports = [report(NotificationKind::SubscriptionCancelled, day(12))];
    let first = read(
        &bought(),
        &reports,
        refunded(day(12).plus_millis(2 * MINUTE), None),
    );
    let reason = Some(EndReason::Replaced);
    let known = read(
        &first.purchase,
        &reports,
        refunded(day(12).plus_millis(9 * MINUTE), reason),
    );
    assert_eq!(
        (kinds(&known), known.purchase.state()),
        (vec![], State::Replaced)
    );
    let linked = decide(
        &first.purchase,
        &[(1, reports[0].clone())],
        SettlingContext {
            verification: &Verification::Verified(Box::new(refunded(
                day(12).plus_millis(5 * MINUTE),
                None,
            ))),
            is_replaced: true,
            now: day(12).plus_millis(5 * MINUTE),
        },
    );
    assert_eq!(
        (kinds(&linked), linked.purchase.state()),
        (vec![], State::Replaced)
    );
}

#[test]
fn an_end_unreported_or_contradicted_waits_as_before() {
    let at = day(12).plus_millis(30 * MINUTE);
    let unreported = read(&bought(), &[], refunded(at, None));
    assert_eq!(
        (kinds(&unreported), unreported.wake),
        (vec![], Some(at.plus_millis(10 * MINUTE)))
    );
    let reports = [report(NotificationKind::SubscriptionCancelled, day(12))];
    for half in [
        Snapshot {
            auto_renewing: Some(true),
            ..refunded(at, None)
        },
        Snapshot {
            renews_at: Some(day(31)),
            ..refunded(at, None)
        },
        Snapshot {
            ends_at: Some(day(12).plus_millis(20 * MINUTE)),
            ..refunded(at, None)
        },
    ] {
        assert_eq!(kinds(&read(&bought(), &reports, half)), []);
    }
}
