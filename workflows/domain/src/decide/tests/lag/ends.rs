//! Ends: whether the store shows them yet, and their reasons.

use super::{HOUR, deferred, finished, refunded};
use crate::decide::tests::verification::{MINUTE, bought, day, kinds, monthly, read, report};
use crate::decide::{SettlingContext, Waits, decide};
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Product, Snapshot, Verification};

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
            policy: crate::StorePolicy::default(),
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
