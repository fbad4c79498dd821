//! An end that no notification reports has the store's date.

use super::settle_with;
use super::verification::{MINUTE, bought, day, monthly, off, read, report};
use crate::decide::Decision;
use crate::notification::NotificationKind;
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use crate::verification::{EndReason, Snapshot, Verification};

fn times(decision: &Decision) -> Vec<(TransitionKind, Option<Timestamp>)> {
    decision
        .transitions
        .iter()
        .map(|one| (one.kind, one.at))
        .collect()
}

fn over(ends_at: Timestamp, reason: EndReason, at: Timestamp) -> Snapshot {
    Snapshot {
        ends_at: Some(ends_at),
        end_reason: Some(reason),
        ..off(at)
    }
}

#[test]
fn an_unreported_refund_has_the_date_of_the_refund() {
    let found = read(&bought(), &[], over(day(3), EndReason::Customer, day(7)));
    assert_eq!(times(&found), [(TransitionKind::Expired, Some(day(3)))]);
    assert_eq!(found.purchase.expires_at(), Some(day(3)));
}

#[test]
fn an_unreported_end_of_a_trial_has_its_date() {
    let trial = Snapshot {
        trial_ends_at: Some(day(14)),
        renews_at: Some(day(14)),
        ..monthly(day(0))
    };
    let known = read(
        &Purchase::default(),
        &[report(NotificationKind::SubscriptionPurchased, day(0))],
        trial,
    )
    .purchase;
    let found = read(&known, &[], over(day(2), EndReason::Store, day(7)));
    let both = [TransitionKind::TrialDidNotConvert, TransitionKind::Expired]
        .map(|kind| (kind, Some(day(2))));
    assert_eq!(times(&found), both);
}

#[test]
fn an_unreported_end_of_grace_follows_the_grace_period() {
    let failed_at = day(31).plus_millis(MINUTE);
    let failed = Snapshot {
        grace_ends_at: Some(day(37)),
        ..monthly(failed_at)
    };
    let known = read(
        &bought(),
        &[report(NotificationKind::GraceBegan, failed_at)],
        failed,
    )
    .purchase;
    let found = read(&known, &[], over(day(37), EndReason::Store, day(38)));
    assert_eq!(times(&found), [(TransitionKind::Expired, Some(day(37)))]);
    let silent = Snapshot {
        grace_ends_at: Some(day(37)),
        ..monthly(day(37).plus_millis(125 * MINUTE))
    };
    assert_eq!(
        times(&read(&known, &[], silent)),
        [(TransitionKind::Expired, Some(day(37)))]
    );
    // The store may date the end by the failed payment.
    let early = read(&known, &[], over(day(31), EndReason::Store, day(38)));
    assert_eq!(times(&early), [(TransitionKind::Expired, Some(failed_at))]);
}

#[test]
fn unreported_renewals_precede_the_end_in_time() {
    let months = ["2026-03-10T00:00:00Z", "2026-04-10T00:00:00Z"].map(|date| date.parse().unwrap());
    let found = read(
        &bought(),
        &[],
        over(months[1], EndReason::Customer, day(100)),
    );
    let expected = [
        (TransitionKind::Renewed, Some(day(31))),
        (TransitionKind::Renewed, Some(months[0])),
        (TransitionKind::Expired, Some(months[1])),
    ];
    assert_eq!(times(&found), expected);
}

#[test]
fn an_invalid_purchase_is_over_by_the_time_of_that_answer() {
    let gone = settle_with(&bought(), &[], &Verification::Gone, day(5));
    assert_eq!(times(&gone), [(TransitionKind::Expired, Some(day(5)))]);
    let late = settle_with(&bought(), &[], &Verification::Gone, day(40));
    assert_eq!(times(&late), [(TransitionKind::Expired, Some(day(31)))]);
}

#[test]
fn a_renewal_that_the_store_shows_early_is_not_in_the_future() {
    let march: Timestamp = "2026-03-10T00:00:00Z".parse().unwrap();
    let at = day(31).plus_millis(-5 * 60 * MINUTE);
    let early = read(
        &bought(),
        &[],
        Snapshot {
            renews_at: Some(march),
            ..monthly(at)
        },
    );
    assert_eq!(times(&early), [(TransitionKind::Renewed, Some(at))]);
}

#[test]
fn a_switch_that_only_the_next_payment_shows_is_not_after_it() {
    let march: Timestamp = "2026-03-10T00:00:00Z".parse().unwrap();
    let known = read(
        &bought(),
        &[report(NotificationKind::AutoRenewalOff, day(3))],
        off(day(3)),
    )
    .purchase;
    let paid = read(
        &known,
        &[],
        Snapshot {
            renews_at: Some(march),
            ..monthly(day(33))
        },
    );
    let both = [TransitionKind::Resumed, TransitionKind::Renewed].map(|kind| (kind, Some(day(31))));
    assert_eq!(times(&paid), both);
}
