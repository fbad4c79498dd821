//! The fields of a record from reports alone, and the limit of its size.

mod fields;
mod grace;

use super::reports::ReportTimes;
use super::{Purchase, State};
use crate::decide::tests::{after, at, notification, settle};
use crate::notification::{Notification, NotificationKind};
use proptest::prelude::*;

#[test]
fn nothing_reported_is_nothing_known() {
    let nothing: Purchase = serde_json::from_str("{}").unwrap();
    assert_eq!(nothing, Purchase::default());
    assert_eq!(nothing.state(), State::Unknown);
    assert_eq!(nothing.state().is_active(), None);
    assert_eq!(nothing.is_auto_renewable(), None);
    assert_eq!(nothing.is_in_trial_period(), None);
    assert_eq!(nothing.billing_cycles(), None);
}

#[test]
fn cycles_are_counted_only_when_the_beginning_was_seen() {
    assert_eq!(
        after(&[NotificationKind::Renewed, NotificationKind::Renewed]).billing_cycles(),
        None
    );
    assert_eq!(
        after(&[NotificationKind::SubscriptionPurchased]).billing_cycles(),
        Some(1)
    );
    assert_eq!(
        after(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::TrialConverted
        ])
        .billing_cycles(),
        Some(1)
    );
    assert_eq!(
        after(&[
            NotificationKind::Renewed,
            NotificationKind::Renewed,
            NotificationKind::SubscriptionPurchased
        ])
        .billing_cycles(),
        Some(3)
    );
    assert_eq!(
        after(&[NotificationKind::PlanChanged, NotificationKind::Renewed]).billing_cycles(),
        Some(2)
    );
    assert_eq!(
        after(&[NotificationKind::ConsumablePurchased]).billing_cycles(),
        None
    );
}

#[test]
fn auto_renewal_is_what_was_reported_last_or_unknown() {
    let last = |reports: &[NotificationKind]| after(reports).is_auto_renewable();
    assert_eq!(last(&[NotificationKind::SubscriptionPurchased]), None);
    assert_eq!(last(&[NotificationKind::GraceBegan]), None);
    assert_eq!(
        last(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Renewed
        ]),
        Some(true)
    );
    assert_eq!(
        last(&[
            NotificationKind::AutoRenewalOff,
            NotificationKind::AutoRenewalOn
        ]),
        Some(true)
    );
    assert_eq!(
        last(&[
            NotificationKind::AutoRenewalOn,
            NotificationKind::ScheduledToEnd
        ]),
        Some(false)
    );
    assert_eq!(
        last(&[
            NotificationKind::AutoRenewalOn,
            NotificationKind::GraceBegan,
            NotificationKind::AutoRenewalOff
        ]),
        Some(false)
    );
    assert_eq!(
        last(&[NotificationKind::Renewed, NotificationKind::Expired]),
        Some(false)
    );
    assert_eq!(
        last(&[NotificationKind::Renewed, NotificationKind::Replaced]),
        Some(false)
    );
    assert_eq!(last(&[NotificationKind::EntitlementPurchased]), Some(false));
}

#[test]
fn a_cancellation_begins_with_its_first_report_since_renewal() {
    let since = |reports: &[NotificationKind]| after(reports).canceled_at();
    assert_eq!(
        since(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::AutoRenewalOff,
            NotificationKind::SubscriptionCancelled
        ]),
        Some(at(20))
    );
    assert_eq!(
        since(&[
            NotificationKind::AutoRenewalOff,
            NotificationKind::AutoRenewalOn
        ]),
        None
    );
    assert_eq!(
        since(&[
            NotificationKind::AutoRenewalOff,
            NotificationKind::AutoRenewalOn,
            NotificationKind::AutoRenewalOff
        ]),
        Some(at(30))
    );
    assert_eq!(
        since(&[NotificationKind::AutoRenewalOff, NotificationKind::Renewed]),
        None
    );
    assert_eq!(
        since(&[NotificationKind::AutoRenewalOff, NotificationKind::Expired]),
        Some(at(10))
    );
    assert_eq!(
        since(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::Expired
        ]),
        None
    );
}

#[test]
fn a_reminder_dates_a_cancellation_only_until_its_own_report() {
    let reminded = after(&[
        NotificationKind::SubscriptionPurchased,
        NotificationKind::ScheduledToEnd,
        NotificationKind::ScheduledToEnd,
    ]);
    assert_eq!(
        (reminded.state(), reminded.canceled_at()),
        (State::Off, Some(at(20)))
    );
    let reported_late = settle(
        &reminded,
        &[notification(NotificationKind::AutoRenewalOff, 15)],
    )
    .purchase;
    assert_eq!(reported_late.canceled_at(), Some(at(15)));
}

#[test]
fn payment_issues_end_with_a_recovery_and_outlive_an_expiry() {
    let began = |reports: &[NotificationKind]| after(reports).payment_issues_began_at();
    assert_eq!(
        began(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::GraceBegan
        ]),
        Some(at(20))
    );
    assert_eq!(
        began(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::GraceBegan,
            NotificationKind::Expired
        ]),
        Some(at(20))
    );
    assert_eq!(
        began(&[NotificationKind::GraceBegan, NotificationKind::OutOfGrace]),
        None
    );
    assert_eq!(
        began(&[NotificationKind::GraceBegan, NotificationKind::Renewed]),
        None
    );
    assert_eq!(
        began(&[
            NotificationKind::GraceBegan,
            NotificationKind::OutOfGrace,
            NotificationKind::GraceBegan
        ]),
        Some(at(30))
    );
}

#[test]
fn a_conversion_or_renewal_shows_that_a_trial_is_over() {
    let purchased = after(&[NotificationKind::SubscriptionPurchased]);
    assert_eq!(
        (
            purchased.is_in_trial_period(),
            purchased.is_free_trial_conversion()
        ),
        (None, None)
    );
    let converted = after(&[
        NotificationKind::SubscriptionPurchased,
        NotificationKind::TrialConverted,
    ]);
    assert_eq!(
        (
            converted.is_in_trial_period(),
            converted.is_free_trial_conversion()
        ),
        (Some(false), Some(true))
    );
    let renewed = after(&[
        NotificationKind::SubscriptionPurchased,
        NotificationKind::Renewed,
    ]);
    assert_eq!(
        (
            renewed.is_in_trial_period(),
            renewed.is_free_trial_conversion()
        ),
        (Some(false), None)
    );
    let bought = after(&[NotificationKind::ConsumablePurchased]);
    assert_eq!(
        (
            bought.is_in_trial_period(),
            bought.is_free_trial_conversion()
        ),
        (Some(false), Some(false))
    );
}

#[test]
fn a_one_time_purchase_is_revoked_and_cancelled_at_once() {
    let revoked = after(&[
        NotificationKind::EntitlementPurchased,
        NotificationKind::EntitlementCancelled,
    ]);
    assert_eq!(revoked.not_before(), Some(at(10)));
    assert_eq!(revoked.revoked_at(), Some(at(20)));
    assert_eq!(revoked.canceled_at(), Some(at(20)));
    assert_eq!(
        after(&[
            NotificationKind::SubscriptionPurchased,
            NotificationKind::SubscriptionCancelled
        ])
        .revoked_at(),
        None
    );
}

#[test]
fn a_plan_change_names_the_old_purchase_and_no_customer() {
    let old = Notification {
        related_receipt_id: Some("old receipt".to_owned()),
        ..notification(NotificationKind::PlanChanged, 20)
    };
    let purchase = settle(&Purchase::default(), &[old]).purchase;
    assert_eq!(purchase.original_receipt_id(), Some("old receipt"));
    assert!(
        !serde_json::to_string(&purchase)
            .unwrap()
            .contains("customer")
    );
}

#[test]
fn ten_thousand_notifications_fit_into_four_kilobytes() {
    let reports = [
        NotificationKind::Renewed,
        NotificationKind::AutoRenewalOff,
        NotificationKind::AutoRenewalOn,
        NotificationKind::GraceBegan,
    ];
    let many: Vec<_> = (0..10_000)
        .zip(reports.iter().cycle())
        .map(|(n, report)| notification(*report, n))
        .collect();
    let known = settle(&Purchase::default(), &many).purchase;
    assert!(serde_json::to_string(&known).unwrap().len() < 4_096);
    let began = settle(
        &known,
        &[notification(NotificationKind::SubscriptionPurchased, -1)],
    )
    .purchase;
    assert_eq!(began.billing_cycles(), Some(2_501));
}

proptest! {
    #[test]
    fn distinct_times_are_counted_once_in_any_order(
        times in proptest::collection::btree_set(0_i64..500, 0..200).prop_flat_map(|times| {
            let times: Vec<_> = times.into_iter().collect();
            (Just(times.clone()), Just(times).prop_shuffle())
        })
    ) {
        let take = |times: &[i64]| times.iter().fold(ReportTimes::default(), |mut reports, time| { reports.add(at(*time)); reports });
        let (sorted, shuffled) = times;
        let reported = take(&sorted);
        prop_assert_eq!(&reported, &take(&shuffled));
        prop_assert_eq!(reported.count(), u64::try_from(sorted.len()).unwrap());
        prop_assert_eq!(reported.first(), sorted.first().map(|time| at(*time)));
        prop_assert_eq!(reported.last(), sorted.last().map(|time| at(*time)));
    }
}
