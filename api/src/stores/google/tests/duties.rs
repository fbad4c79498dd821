//! The duties that notifications cause.

use super::super::mapping;
use super::super::{ACKNOWLEDGE, PushTarget};
use super::messages::{TOKEN, data, happened, push};
use super::{ACCOUNT, AUDIENCE, QUEUE, now, own_settings, platform_with};
use crate::stores::push::Push;
use domain::notification::SAMPLE_PREFIX;
use domain::time::{DAY, MINUTE};
use domain::{CollapseKey, DutyId};
use serde_json::{Value, json};
use storage::{DutyKind, FirstAttempt, NewDuty, Platform};

/// A platform whose purchases settle acknowledges.
fn acknowledging() -> Platform {
    let mut settings = own_settings();
    settings[ACKNOWLEDGE] = json!("settle");
    platform_with(Some(settings))
}

/// Returns the duty that a notification with this member causes.
fn duty(platform: &Platform, member: &str, content: Value) -> Option<NewDuty> {
    let target = PushTarget {
        audience: AUDIENCE,
        account: ACCOUNT,
        subscription: QUEUE,
    };
    let body = push(&data(member, content));
    match mapping::outcome(platform, &target, &body, now()) {
        Some(Push::Accepted(row, _)) => row.duty,
        Some(Push::Declined(..)) | None => panic!("it is not accepted"),
    }
}

fn subscription(platform: &Platform, number: i64, token: &str) -> Option<NewDuty> {
    let content = json!({ "version": "1.0", "notificationType": number, "purchaseToken": token });
    duty(platform, "subscriptionNotification", content)
}

#[test]
fn a_purchase_is_acknowledged_at_once_if_settle_does_it() {
    let platform = acknowledging();
    let duty = subscription(&platform, 4, TOKEN).expect("a duty");
    let key = CollapseKey::of(platform.id, TOKEN);
    assert_eq!(
        (duty.id, duty.kind, duty.collapse_key),
        (
            DutyId::acknowledgement(key),
            DutyKind::Acknowledge,
            Some(key)
        )
    );
    assert_eq!(duty.attempt, FirstAttempt::AtOnce);
    let age = now().since(happened());
    assert_eq!(duty.within, DAY * 3 - age, "from the event");
    assert_eq!(
        duty.warn_after,
        DAY * 2 + MINUTE * 30 - age,
        "as an answer shows it"
    );
    assert_eq!(
        subscription(&platform_with(Some(own_settings())), 4, TOKEN),
        None
    );
}

#[test]
fn any_notification_may_be_the_first_of_its_purchase() {
    let platform = acknowledging();
    for number in [2, 13] {
        let duty = subscription(&platform, number, TOKEN).expect("a duty");
        assert_eq!(duty.attempt, FirstAttempt::Soon, "{number}");
    }
    let content = json!({ "notificationType": 1, "purchaseToken": TOKEN, "sku": "coins" });
    let bought = duty(&platform, "oneTimeProductNotification", content).expect("a duty");
    assert_eq!(bought.attempt, FirstAttempt::AtOnce);
    let sample = subscription(&platform, 4, &format!("{SAMPLE_PREFIX}1"));
    assert_eq!(sample, None, "no store knows a sample");
    let content = json!({ "purchaseToken": TOKEN, "orderId": "GPA.1", "refundType": 1 });
    assert_eq!(duty(&platform, "voidedPurchaseNotification", content), None);
}

#[test]
fn a_refund_review_has_to_be_answered_within_a_day_by_a_person() {
    let platform = platform_with(Some(own_settings()));
    let review = |token: &str| {
        let content = json!({ "pendingRefundToken": token, "orderId": "GPA.1", "refundReason": 7 });
        duty(&platform, "pendingRefundReviewNotification", content).expect("a duty")
    };
    let first = review("token-1");
    assert_eq!(first.id, DutyId::answer(platform.id, "token-1"));
    assert_eq!(first.order_id.as_deref(), Some("GPA.1"));
    assert_eq!(
        (first.kind, first.attempt),
        (DutyKind::RefundReview, FirstAttempt::Never)
    );
    assert_eq!(first.within, DAY - now().since(happened()));
    assert_ne!(
        first.id,
        review("token-2").id,
        "another question about the order"
    );
}
