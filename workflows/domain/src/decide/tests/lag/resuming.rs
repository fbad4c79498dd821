//! Purchases that run again after an end.

use super::{HOUR, finished, grace, renewed};
use crate::decide::tests::settle_with;
use crate::decide::tests::verification::{MINUTE, bought, day, kinds, monthly, off, read, report};
use crate::notification::NotificationKind;
use crate::purchase::{Purchase, State};
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{Product, Snapshot, Verification};

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
fn a_purchase_that_is_no_longer_valid_runs_again_by_a_payment() {
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
