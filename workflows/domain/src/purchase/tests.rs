//! What is read from a record, field by field, and that the record stays small.

use super::told::Told;
use super::{Purchase, State};
use crate::decide::tests::{after, at, settle, told};
use crate::notification::{Kind, Notification};
use proptest::prelude::*;

#[test]
fn nothing_told_is_nothing_known() {
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
    assert_eq!(after(&[Kind::Renewed, Kind::Renewed]).billing_cycles(), None);
    assert_eq!(after(&[Kind::SubscriptionPurchased]).billing_cycles(), Some(1));
    assert_eq!(after(&[Kind::SubscriptionPurchased, Kind::TrialConverted]).billing_cycles(), Some(1));
    assert_eq!(after(&[Kind::Renewed, Kind::Renewed, Kind::SubscriptionPurchased]).billing_cycles(), Some(3));
    assert_eq!(after(&[Kind::PlanChanged, Kind::Renewed]).billing_cycles(), Some(2));
    assert_eq!(after(&[Kind::ConsumablePurchased]).billing_cycles(), None);
}

#[test]
fn auto_renewal_is_what_was_said_last_and_else_unknown() {
    let last = |words: &[Kind]| after(words).is_auto_renewable();
    assert_eq!(last(&[Kind::SubscriptionPurchased]), None);
    assert_eq!(last(&[Kind::GraceBegan]), None);
    assert_eq!(last(&[Kind::SubscriptionPurchased, Kind::Renewed]), Some(true));
    assert_eq!(last(&[Kind::AutoRenewalOff, Kind::AutoRenewalOn]), Some(true));
    assert_eq!(last(&[Kind::AutoRenewalOn, Kind::ScheduledToEnd]), Some(false));
    assert_eq!(last(&[Kind::AutoRenewalOn, Kind::GraceBegan, Kind::AutoRenewalOff]), Some(false));
    assert_eq!(last(&[Kind::Renewed, Kind::Expired]), Some(false));
    assert_eq!(last(&[Kind::Renewed, Kind::Replaced]), Some(false));
    assert_eq!(last(&[Kind::EntitlementPurchased]), Some(false));
}

#[test]
fn the_present_cancellation_began_with_the_earlier_word_since_it_last_renewed() {
    let since = |words: &[Kind]| after(words).canceled_at();
    assert_eq!(since(&[Kind::SubscriptionPurchased, Kind::AutoRenewalOff, Kind::SubscriptionCancelled]), Some(at(20)));
    assert_eq!(since(&[Kind::AutoRenewalOff, Kind::AutoRenewalOn]), None);
    assert_eq!(since(&[Kind::AutoRenewalOff, Kind::AutoRenewalOn, Kind::AutoRenewalOff]), Some(at(30)));
    assert_eq!(since(&[Kind::AutoRenewalOff, Kind::Renewed]), None);
    assert_eq!(since(&[Kind::AutoRenewalOff, Kind::Expired]), Some(at(10)));
    assert_eq!(since(&[Kind::SubscriptionPurchased, Kind::Expired]), None);
}

#[test]
fn a_reminder_tells_of_a_cancellation_only_until_its_own_word_is_known() {
    let reminded = after(&[Kind::SubscriptionPurchased, Kind::ScheduledToEnd, Kind::ScheduledToEnd]);
    assert_eq!((reminded.state(), reminded.canceled_at()), (State::Off, Some(at(20))));
    let told_late = settle(&reminded, &[told(Kind::AutoRenewalOff, 15)]).purchase;
    assert_eq!(told_late.canceled_at(), Some(at(15)));
}

#[test]
fn payment_issues_end_with_a_recovery_and_outlive_an_expiry() {
    let began = |words: &[Kind]| after(words).payment_issues_began_at();
    assert_eq!(began(&[Kind::SubscriptionPurchased, Kind::GraceBegan]), Some(at(20)));
    assert_eq!(began(&[Kind::SubscriptionPurchased, Kind::GraceBegan, Kind::Expired]), Some(at(20)));
    assert_eq!(began(&[Kind::GraceBegan, Kind::GraceEnded]), None);
    assert_eq!(began(&[Kind::GraceBegan, Kind::Renewed]), None);
    assert_eq!(began(&[Kind::GraceBegan, Kind::GraceEnded, Kind::GraceBegan]), Some(at(30)));
}

#[test]
fn a_trial_is_known_to_be_over_only_from_a_conversion_or_a_renewal() {
    let purchased = after(&[Kind::SubscriptionPurchased]);
    assert_eq!((purchased.is_in_trial_period(), purchased.is_free_trial_conversion()), (None, None));
    let converted = after(&[Kind::SubscriptionPurchased, Kind::TrialConverted]);
    assert_eq!((converted.is_in_trial_period(), converted.is_free_trial_conversion()), (Some(false), Some(true)));
    let renewed = after(&[Kind::SubscriptionPurchased, Kind::Renewed]);
    assert_eq!((renewed.is_in_trial_period(), renewed.is_free_trial_conversion()), (Some(false), None));
    let bought = after(&[Kind::ConsumablePurchased]);
    assert_eq!((bought.is_in_trial_period(), bought.is_free_trial_conversion()), (Some(false), Some(false)));
}

#[test]
fn a_one_time_purchase_is_revoked_and_cancelled_at_the_same_time() {
    let revoked = after(&[Kind::EntitlementPurchased, Kind::EntitlementCancelled]);
    assert_eq!(revoked.not_before(), Some(at(10)));
    assert_eq!(revoked.revoked_at(), Some(at(20)));
    assert_eq!(revoked.canceled_at(), Some(at(20)));
    assert_eq!(after(&[Kind::SubscriptionPurchased, Kind::SubscriptionCancelled]).revoked_at(), None);
}

#[test]
fn a_plan_change_names_the_old_receipt_and_the_record_no_customer() {
    let old = Notification { related_receipt_id: Some("old receipt".to_owned()), ..told(Kind::PlanChanged, 20) };
    let purchase = settle(&Purchase::default(), &[old]).purchase;
    assert_eq!(purchase.original_receipt_id(), Some("old receipt"));
    assert!(!serde_json::to_string(&purchase).unwrap().contains("customer"));
}

#[test]
fn ten_thousand_notifications_are_kept_in_little_room() {
    let words = [Kind::Renewed, Kind::AutoRenewalOff, Kind::AutoRenewalOn, Kind::GraceBegan];
    let many: Vec<_> = (0..10_000).zip(words.iter().cycle()).map(|(n, word)| told(*word, n)).collect();
    let known = settle(&Purchase::default(), &many).purchase;
    assert!(serde_json::to_string(&known).unwrap().len() < 4_096);
    let began = settle(&known, &[told(Kind::SubscriptionPurchased, -1)]).purchase;
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
        let take = |times: &[i64]| times.iter().fold(Told::default(), |mut told, time| { told.at(at(*time)); told });
        let (sorted, shuffled) = times;
        let told = take(&sorted);
        prop_assert_eq!(&told, &take(&shuffled));
        prop_assert_eq!(told.count(), u64::try_from(sorted.len()).unwrap());
        prop_assert_eq!(told.first(), sorted.first().map(|time| at(*time)));
        prop_assert_eq!(told.last(), sorted.last().map(|time| at(*time)));
    }
}
