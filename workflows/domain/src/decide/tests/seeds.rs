//! Lives in which a seed once revealed a bug, each as a test of its own.

use super::settle_with;
use super::verification::{bought, day, kinds, monthly, read, report};
use crate::notification::NotificationKind;
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Parked, Snapshot, Verification};

/// Seed 1875154959, `life-3-1`: IN_GRACE_PERIOD was lost, RENEWED arrived in time, and OUT_OF_GRACE_PERIOD about the
/// same payment six days late. Amazon sends RENEWED for both renewals and recoveries, so a RENEWED alone is a renewal.
#[test]
fn a_recovery_without_a_reported_grace_is_one_renewal() {
    let renews_at: Timestamp = "2026-03-10T00:00:00Z".parse().unwrap();
    let shown = |at| Snapshot {
        renews_at: Some(renews_at),
        ..monthly(at)
    };
    let renewed = read(
        &bought(),
        &[report(NotificationKind::Renewed, day(36))],
        shown(day(36)),
    );
    assert_eq!(
        (kinds(&renewed), renewed.purchase.billing_cycles()),
        (vec![TransitionKind::Renewed], Some(2))
    );
    let twice = read(
        &renewed.purchase,
        &[report(NotificationKind::Renewed, day(36))],
        shown(day(37)),
    );
    assert_eq!(kinds(&twice), []);
    let late = read(
        &twice.purchase,
        &[report(NotificationKind::OutOfGrace, day(36))],
        shown(day(42)),
    );
    assert_eq!(
        (kinds(&late), late.purchase.billing_cycles()),
        (vec![], Some(2))
    );
}

/// Seed 2040232537: the store knew the purchase only after an hour, when the trial had already been refunded. It no
/// longer showed the trial and did not show the end yet, so a first term seemed to be paid.
#[test]
fn a_trial_that_the_first_answer_lacks_is_no_payment() {
    let renews_at: Timestamp = "2026-01-24T00:00:00Z".parse().unwrap();
    let at = day(0).plus_millis(62 * 60_000);
    let purchased = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let unknown = Verification::Parked(Parked::UnknownReceipt);
    let parked = settle_with(
        &Purchase::default(),
        &purchased,
        &unknown,
        day(0).plus_millis(120_000),
    )
    .purchase;
    let fortnight = |at| Snapshot {
        renews_at: Some(renews_at),
        ..monthly(at)
    };
    let first = read(&parked, &purchased, fortnight(at));
    assert_eq!(
        kinds(&first),
        [TransitionKind::TrialStarted, TransitionKind::Purchased]
    );
    let over = Snapshot {
        renews_at: None,
        ends_at: Some(at),
        end_reason: Some(EndReason::Store),
        ..monthly(day(7))
    };
    let over = read(&first.purchase, &[], over);
    assert_eq!(
        kinds(&over),
        [TransitionKind::TrialDidNotConvert, TransitionKind::Expired]
    );

    // Such a date does not prove a trial if the store knew the purchase at once or only days later, if it is the end of
    // a term, or if a discount applies.
    let known = read(&Purchase::default(), &purchased, fortnight(at));
    let later = read(&parked, &purchased, fortnight(day(1)));
    let term = read(&parked, &purchased, monthly(at));
    let offer = read(
        &parked,
        &purchased,
        Snapshot {
            in_intro_offer: true,
            ..fortnight(at)
        },
    );
    for paid in [known, later, term, offer] {
        assert_eq!(kinds(&paid), [TransitionKind::Purchased]);
    }
}

/// Seed 1995147262: when the store first knew the purchase, auto-renewal had been switched off seconds before, and it
/// was still shown as on. SCHEDULED_TO_END was the only report of the switch.
#[test]
fn a_first_answer_that_lags_behind_a_switch_leaves_its_time() {
    let purchased = [report(NotificationKind::SubscriptionPurchased, day(0))];
    let unknown = Verification::Parked(Parked::UnknownReceipt);
    let parked = settle_with(
        &Purchase::default(),
        &purchased,
        &unknown,
        day(0).plus_millis(120_000),
    )
    .purchase;
    let after = |millis: i64| day(0).plus_millis(62 * 60_000 + millis);
    let first = read(&parked, &purchased, monthly(after(3_000)));
    assert_eq!(kinds(&first), [TransitionKind::Purchased]);
    let stale = read(
        &first.purchase,
        &[report(NotificationKind::ScheduledToEnd, after(0))],
        monthly(after(126_000)),
    );
    assert_eq!(kinds(&stale), [TransitionKind::Cancelled]);
    let shown = read(
        &stale.purchase,
        &[],
        Snapshot {
            auto_renewing: Some(false),
            ..monthly(after(600_000))
        },
    );
    assert_eq!(
        (kinds(&shown), shown.purchase.canceled_at()),
        (vec![], Some(after(0)))
    );
}
