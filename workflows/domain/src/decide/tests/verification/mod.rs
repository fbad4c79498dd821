//! Stores that do not answer, do not accept the purchase, or lag; and when they are queried again.

mod inferred;
mod unverified;

use super::{notification, settle_with};
use crate::decide::{Decision, SettlingContext, Waits, decide};
use crate::notification::{Notification, NotificationKind, Outcome};
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Parked, Product, Snapshot, Term, Unit, Verification};

pub const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

pub fn day(days: i64) -> Timestamp {
    let first: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap();
    first.plus_millis(days * DAY)
}

pub fn report(kind: NotificationKind, at: Timestamp) -> Notification {
    Notification {
        store_time: at,
        ..notification(kind, 0)
    }
}

/// Returns the snapshot of a monthly subscription that began on day 0.
pub fn monthly(at: Timestamp) -> Snapshot {
    Snapshot {
        at,
        product: Product::Subscription,
        term_sku: Some("gold".to_owned()),
        term: Some(Term {
            count: 1,
            unit: Unit::Month,
        }),
        purchased_at: Some(day(0)),
        renews_at: Some(day(31)),
        auto_renewing: Some(true),
        ..Snapshot::default()
    }
}

pub fn read(known: &Purchase, reports: &[Notification], snapshot: Snapshot) -> Decision {
    let at = snapshot.at;
    settle_with(
        known,
        reports,
        &Verification::Verified(Box::new(snapshot)),
        at,
    )
}

pub fn bought() -> Purchase {
    read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        monthly(day(0)),
    )
    .purchase
}

pub fn kinds(decision: &Decision) -> Vec<TransitionKind> {
    decision
        .transitions
        .iter()
        .map(|transition| transition.kind)
        .collect()
}

#[test]
fn a_refused_purchase_is_checked_by_its_schedule_then_abandoned() {
    let schedules: [(Parked, &[i64]); 2] = [
        (
            Parked::UnknownReceipt,
            &[MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY],
        ),
        (Parked::WrongCustomer, &[HOUR, DAY]),
    ];
    for (why, schedule) in schedules {
        let mut known = bought();
        let reports = [
            report(NotificationKind::Renewed, day(31)),
            report(NotificationKind::Unknown, day(31)),
        ];
        let mut now = day(31);
        for wait in schedule {
            let parked = settle_with(&known, &reports, &Verification::Parked(why), now);
            assert_eq!(
                (parked.outcomes, parked.waits),
                (vec![], Some(Waits::Parked(why)))
            );
            assert_eq!(parked.wake, Some(day(31).plus_millis(*wait)));
            assert_eq!(
                (parked.transitions, parked.purchase.state()),
                (vec![], State::Active)
            );
            known = parked.purchase;
            now = parked.wake.unwrap();
        }
        let last = settle_with(&known, &reports, &Verification::Parked(why), now);
        assert_eq!(
            (last.outcomes, last.waits),
            (vec![(1, Outcome::Abandoned), (2, Outcome::Unknown)], None)
        );
        assert_eq!(
            (last.purchase, last.wake),
            (bought(), Some(now.plus_millis(7 * DAY)))
        );
    }
}

#[test]
fn a_never_known_purchase_is_believed_if_its_platform_does() {
    let reports = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let believable = Verification::Parked(Parked::Believable);
    let (mut known, mut now) = (Purchase::default(), day(0));
    for wait in [MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY] {
        let parked = settle_with(&known, &reports, &believable, now);
        assert_eq!(
            (parked.outcomes, parked.waits),
            (vec![], Some(Waits::Parked(Parked::Believable)))
        );
        assert_eq!(
            (parked.wake, parked.purchase.is_believed()),
            (Some(day(0).plus_millis(wait)), false)
        );
        (known, now) = (parked.purchase, parked.wake.unwrap());
    }
    let last = settle_with(&known, &reports, &believable, now);
    assert_eq!(
        (kinds(&last), &last.outcomes, last.waits),
        (
            vec![TransitionKind::Purchased],
            &vec![(1, Outcome::Settled)],
            None
        )
    );
    assert!(last.purchase.is_believed() && last.purchase.is_unverified());
    assert_eq!(
        last.wake,
        Some(now.plus_millis(7 * DAY)),
        "the store may know it later"
    );

    let renewed = [report(NotificationKind::Renewed, day(31))];
    let next = settle_with(&last.purchase, &renewed, &believable, day(31));
    assert_eq!(
        (kinds(&next), next.waits),
        (vec![TransitionKind::Renewed], None),
        "queried once, and not for a day"
    );
    let checked = settle_with(&next.purchase, &[], &believable, day(38));
    assert_eq!(
        (kinds(&checked), checked.purchase.state()),
        (vec![], State::Active)
    );

    let foreign = settle_with(
        &last.purchase,
        &renewed,
        &Verification::Parked(Parked::WrongCustomer),
        day(31),
    );
    assert_eq!(
        (foreign.outcomes.len(), foreign.waits),
        (0, Some(Waits::Parked(Parked::WrongCustomer)))
    );
    let abandoned = settle_with(
        &last.purchase,
        &renewed,
        &Verification::Parked(Parked::UnknownReceipt),
        day(31),
    );
    assert_eq!(
        abandoned.waits,
        Some(Waits::Parked(Parked::UnknownReceipt)),
        "the setting was taken back"
    );
    let verified = read(&last.purchase, &[], monthly(day(2))).purchase;
    assert!(!verified.is_believed() && !verified.is_unverified());
    let again = settle_with(&verified, &renewed, &believable, day(31));
    assert_eq!(
        again.waits,
        Some(Waits::Parked(Parked::Believable)),
        "it was known"
    );
}

#[test]
fn an_accepted_purchase_ends_the_schedule() {
    let parked = settle_with(
        &bought(),
        &[],
        &Verification::Parked(Parked::UnknownReceipt),
        day(1),
    )
    .purchase;
    let accepted = read(&parked, &[], monthly(day(2))).purchase;
    let again = settle_with(
        &accepted,
        &[],
        &Verification::Parked(Parked::UnknownReceipt),
        day(9),
    );
    assert_eq!(again.wake, Some(day(9).plus_millis(MINUTE)));
}

#[test]
fn a_running_subscription_is_checked_after_its_dates_and_weekly() {
    let wake = |snapshot: Snapshot| {
        let at = snapshot.at;
        read(&bought(), &[], snapshot)
            .wake
            .unwrap()
            .millis_since(at)
    };
    assert_eq!(wake(monthly(day(1))), 7 * DAY);
    assert_eq!(wake(monthly(day(30))), DAY + 10 * MINUTE);
    let after = |passed: i64| wake(monthly(day(31).plus_millis(passed)));
    assert_eq!(after(10 * MINUTE), 50 * MINUTE);
    assert_eq!(after(HOUR), HOUR + 5 * MINUTE);
    assert_eq!(after(2 * HOUR + 5 * MINUTE), 6 * HOUR);
    assert_eq!(after(9 * HOUR), 5 * HOUR + 5 * MINUTE);
    assert_eq!(after(47 * HOUR), 7 * DAY);
    let deferred = Snapshot {
        deferred_at: Some(day(5)),
        ..monthly(day(1))
    };
    assert_eq!(wake(deferred), 4 * DAY + 10 * MINUTE);
    let off = Snapshot {
        ends_at: Some(day(6)),
        renews_at: None,
        auto_renewing: Some(false),
        ..monthly(day(1))
    };
    assert_eq!(wake(off), 5 * DAY + 10 * MINUTE);
    let grace = Snapshot {
        grace_ends_at: Some(day(35)),
        ..monthly(day(34))
    };
    assert_eq!(wake(grace), DAY + 10 * MINUTE);
    let trial = Snapshot {
        trial_ends_at: Some(day(3)),
        renews_at: None,
        ..monthly(day(1))
    };
    assert_eq!(wake(trial), 2 * DAY + 10 * MINUTE);
}

#[test]
fn what_is_over_is_checked_only_for_a_pending_reason() {
    let over = |reason, at| Snapshot {
        ends_at: Some(day(20)),
        end_reason: Some(reason),
        auto_renewing: Some(false),
        renews_at: None,
        ..monthly(at)
    };
    assert_eq!(
        read(&bought(), &[], over(EndReason::Customer, day(20))).wake,
        None
    );
    let pending = |known: &Purchase, at| read(known, &[], over(EndReason::Pending, at));
    let first = pending(&bought(), day(20));
    assert_eq!(
        (kinds(&first), first.wake),
        (vec![], Some(day(20).plus_millis(10 * MINUTE))),
        "the reason is missing"
    );
    let expired = pending(&first.purchase, day(20).plus_millis(2 * HOUR));
    assert_eq!(kinds(&expired), [TransitionKind::Expired]);
    assert!(
        expired
            .wake
            .is_some_and(|wake| wake <= day(21).plus_millis(2 * HOUR))
    );
    assert_eq!(pending(&expired.purchase, day(27)).wake, Some(day(28)));
    assert_eq!(pending(&expired.purchase, day(28)).wake, None);
    assert_eq!(
        settle_with(&bought(), &[], &Verification::Gone, day(20)).wake,
        None
    );
    assert_eq!(
        settle_with(&bought(), &[], &Verification::Unverifiable, day(20)).wake,
        None
    );
    let context = SettlingContext {
        policy: crate::StorePolicy::default(),
        verification: &Verification::Verified(Box::new(monthly(day(2)))),
        is_replaced: true,
        now: day(2),
    };
    assert_eq!(decide(&bought(), &[], context).wake, None);
}

pub fn off(at: Timestamp) -> Snapshot {
    Snapshot {
        auto_renewing: Some(false),
        ends_at: Some(day(31)),
        renews_at: None,
        ..monthly(at)
    }
}

/// One purchase has one product, but Amazon's own samples report it as a consumable and as an entitlement in one
/// message.
#[test]
fn a_purchase_with_two_types_is_bought_once() {
    let reports = [
        report(NotificationKind::ConsumablePurchased, day(0)),
        report(NotificationKind::EntitlementPurchased, day(0)),
    ];
    let together = settle_with(
        &Purchase::default(),
        &reports,
        &Verification::Unverifiable,
        day(1),
    );
    assert_eq!(
        (kinds(&together), together.purchase.state()),
        (vec![TransitionKind::Purchased], State::Active)
    );
    for order in [[0, 1], [1, 0]] {
        let [first, second] = order.map(|index| &reports[index]);
        let begun = settle_with(
            &Purchase::default(),
            std::slice::from_ref(first),
            &Verification::Unverifiable,
            day(1),
        );
        let again = settle_with(
            &begun.purchase,
            std::slice::from_ref(second),
            &Verification::Unverifiable,
            day(1),
        );
        assert_eq!(
            (kinds(&begun), kinds(&again)),
            (vec![TransitionKind::Purchased], vec![])
        );
    }
    let owned = Snapshot {
        at: day(1),
        product: Product::Entitlement,
        purchased_at: Some(day(0)),
        ..Snapshot::default()
    };
    let shown = read(&Purchase::default(), &reports, owned);
    assert_eq!(
        (kinds(&shown), shown.wake),
        (vec![TransitionKind::Purchased], Some(day(8))),
        "an entitlement, checked weekly"
    );
}
