//! Bodies of pushes: what is stored, and the response.

use super::super::mapping::{self, FOREIGN_PACKAGE, FOREIGN_SUBSCRIPTION, TOO_LARGE, UNREADABLE};
use super::super::{PushTarget, envelope};
use super::{PACKAGE, QUEUE, at, now, platform};
use crate::stores::inbox::Alarm;
use crate::stores::push::{Declined, Push};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::{CollapseKey, Notification, NotificationKind, Outcome, Timestamp, VoidedPayment};
use serde_json::{Value, json};
use storage::{Handling, NewNotification};

pub const TOKEN: &str = "opaque-token-up-to-150-characters";
/// Default time of the notifications in this file, in milliseconds since 1970.
const HAPPENED_MS: i64 = 1_780_315_190_123;

pub fn happened() -> Timestamp {
    Timestamp::from_millis(HAPPENED_MS)
}

/// The body of a push with this data, in Pub/Sub's format.
fn push_bytes(message_id: &str, data: &[u8]) -> Vec<u8> {
    let published = "2026-06-01T11:59:58.123Z";
    let message = json!({
        "attributes": {},
        "data": STANDARD.encode(data),
        "messageId": message_id, "message_id": message_id,
        "publishTime": published, "publish_time": published,
    });
    let body = json!({ "message": message, "subscription": QUEUE });
    body.to_string().into_bytes()
}

pub fn push(data: &Value) -> Vec<u8> {
    push_bytes("136969346945", data.to_string().as_bytes())
}

/// A notification about the app with this member.
pub fn data(member: &str, content: Value) -> Value {
    json!({
        "version": "1.0", "packageName": PACKAGE, "eventTimeMillis": HAPPENED_MS.to_string(),
        member: content,
    })
}

fn subscription(number: i64) -> Value {
    let content = json!({ "version": "1.0", "notificationType": number, "purchaseToken": TOKEN });
    data("subscriptionNotification", content)
}

fn outcome(body: &[u8]) -> Option<Push> {
    let target = PushTarget {
        audience: super::AUDIENCE,
        account: super::ACCOUNT,
        subscription: QUEUE,
    };
    mapping::outcome(&platform(), &target, body, now())
}

fn accepted(body: &[u8]) -> (NewNotification, Option<Alarm>) {
    match outcome(body) {
        Some(Push::Accepted(row, alarm)) => (*row, alarm),
        Some(Push::Declined(_, why)) => panic!("declined: {}", why.reason),
        None => panic!("without the wrapper"),
    }
}

fn declined(body: &[u8]) -> (NewNotification, Declined) {
    match outcome(body) {
        Some(Push::Declined(row, why)) => (*row, why),
        Some(Push::Accepted(row, _)) => panic!("accepted: {}", row.store_type),
        None => panic!("without the wrapper"),
    }
}

/// The row for a notification about the app.
fn row(data: &Value) -> NewNotification {
    accepted(&push(data)).0
}

fn notification(row: &NewNotification) -> Notification {
    serde_json::from_str(&row.body).expect("a notification")
}

fn of_outcome(outcome: Outcome, reason: &str) -> Handling {
    Handling::Final(outcome, reason.to_owned())
}

#[test]
fn a_notification_is_mapped_to_its_purchase() {
    let row = row(&subscription(4));
    let expected = Notification {
        message_id: "136969346945".to_owned(),
        collapse_key: CollapseKey::of(platform().id, TOKEN),
        receipt_id: TOKEN.to_owned(),
        kind: NotificationKind::SubscriptionPurchased,
        store_type: "SUBSCRIPTION_PURCHASED".to_owned(),
        store_time: happened(),
        app_user_id: None,
        related_receipt_id: None,
        is_test: false,
        voided: None,
        refunded: None,
    };
    assert_eq!(notification(&row), expected);
    assert_eq!(row, NewNotification::of(platform().id, expected));
    assert_eq!(row.handling, Handling::Open);
}

#[test]
fn each_type_has_googles_name_and_its_kind() {
    use NotificationKind::{
        AutoRenewalOff, AutoRenewalOn, Expired, GraceBegan, Renewed, SubscriptionCancelled,
        SubscriptionPurchased, Unknown,
    };
    let types = [
        (1, "SUBSCRIPTION_RECOVERED", Renewed),
        (2, "SUBSCRIPTION_RENEWED", Renewed),
        (3, "SUBSCRIPTION_CANCELED", AutoRenewalOff),
        (4, "SUBSCRIPTION_PURCHASED", SubscriptionPurchased),
        (5, "SUBSCRIPTION_ON_HOLD", Unknown),
        (6, "SUBSCRIPTION_IN_GRACE_PERIOD", GraceBegan),
        (7, "SUBSCRIPTION_RESTARTED", AutoRenewalOn),
        (8, "SUBSCRIPTION_PRICE_CHANGE_CONFIRMED", Unknown),
        (9, "SUBSCRIPTION_DEFERRED", Unknown),
        (10, "SUBSCRIPTION_PAUSED", Unknown),
        (11, "SUBSCRIPTION_PAUSE_SCHEDULE_CHANGED", Unknown),
        (12, "SUBSCRIPTION_REVOKED", SubscriptionCancelled),
        (13, "SUBSCRIPTION_EXPIRED", Expired),
        (14, "SUBSCRIPTION_NOTIFICATION_14", Unknown),
        (15, "SUBSCRIPTION_NOTIFICATION_15", Unknown),
        (16, "SUBSCRIPTION_NOTIFICATION_16", Unknown),
        (17, "SUBSCRIPTION_ITEMS_CHANGED", Unknown),
        (18, "SUBSCRIPTION_CANCELLATION_SCHEDULED", AutoRenewalOff),
        (19, "SUBSCRIPTION_PRICE_CHANGE_UPDATED", Unknown),
        (20, "SUBSCRIPTION_PENDING_PURCHASE_CANCELED", Unknown),
        (21, "SUBSCRIPTION_NOTIFICATION_21", Unknown),
        (22, "SUBSCRIPTION_PRICE_STEP_UP_CONSENT_UPDATED", Unknown),
        (-1, "SUBSCRIPTION_NOTIFICATION_-1", Unknown),
    ];
    for (number, name, kind) in types {
        let row = row(&subscription(number));
        assert_eq!(
            (row.store_type.as_str(), notification(&row).kind),
            (name, kind)
        );
        assert_eq!(row.handling, Handling::Open, "{name}");
    }
}

#[test]
fn one_time_purchases_are_named_by_their_type() {
    use NotificationKind::{EntitlementCancelled, EntitlementPurchased, Unknown};
    for (number, name, kind) in [
        (1, "ONE_TIME_PRODUCT_PURCHASED", EntitlementPurchased),
        (2, "ONE_TIME_PRODUCT_CANCELED", EntitlementCancelled),
        (3, "ONE_TIME_PRODUCT_NOTIFICATION_3", Unknown),
    ] {
        let content = json!({
            "version": "1.0", "notificationType": number, "purchaseToken": TOKEN, "sku": "coins",
        });
        let row = row(&data("oneTimeProductNotification", content));
        assert_eq!(
            (row.store_type.as_str(), notification(&row).kind),
            (name, kind)
        );
        assert_eq!(row.receipt_id, TOKEN);
    }
}

#[test]
fn either_spelling_alone_is_enough() {
    let encoded = STANDARD.encode(subscription(2).to_string());
    let camel = json!({ "data": encoded, "messageId": "7", "publishTime": "2026-06-01T11:00:00Z" });
    let snake =
        json!({ "data": encoded, "message_id": "7", "publish_time": "2026-06-01T11:00:00Z" });
    for message in [camel, snake] {
        let body = json!({ "message": message, "subscription": QUEUE, "deliveryAttempt": 3 });
        let body = body.to_string();
        let parsed = envelope::parse(body.as_bytes()).expect("a message");
        assert_eq!(parsed.published_at, Some(at("2026-06-01T11:00:00Z")));
        let (row, alarm) = accepted(body.as_bytes());
        assert_eq!((row.message_id.as_str(), alarm), ("7", None));
    }
}

#[test]
fn a_message_without_an_id_is_named_by_its_hash() {
    let message = json!({ "data": STANDARD.encode(subscription(2).to_string()) });
    let body = json!({ "message": message, "subscription": QUEUE }).to_string();
    let (row, _) = accepted(body.as_bytes());
    assert_eq!(row.message_id.len(), "sha256:".len() + 64);
    assert_eq!(accepted(body.as_bytes()).0, row);
}

#[test]
fn the_time_of_an_event_is_a_number_or_a_text() {
    let with = |time: Value| {
        let mut data = subscription(2);
        data["eventTimeMillis"] = time;
        let row = row(&data);
        (row.store_time, row.body.contains("stated_time"))
    };
    assert_eq!(with(json!(HAPPENED_MS)), (Some(happened()), false));
    assert_eq!(
        with(json!(HAPPENED_MS.to_string())),
        (Some(happened()), false)
    );
    // Otherwise the time of publishing is used, and an implausible stated time is stored with it.
    let published = Some(at("2026-06-01T11:59:58.123Z"));
    for time in [Value::Null, json!("soon"), json!(1.5), json!([])] {
        assert_eq!(with(time), (published, false));
    }
    let ahead = now().plus_millis(15 * 60 * 1000 + 1).micros() / 1000;
    for time in [json!(0), json!("-1"), json!(i64::MAX), json!(ahead)] {
        assert_eq!(with(time), (published, true));
    }
}

#[test]
fn a_voided_order_is_stored_beside_its_notification() {
    let content = json!({
        "purchaseToken": TOKEN, "orderId": "GPA.3345-0000-0000-00000..0", "productType": 1, "refundType": 1,
    });
    let row = row(&data("voidedPurchaseNotification", content));
    assert_eq!(row.store_type, "VOIDED_PURCHASE");
    assert_eq!(notification(&row).kind, NotificationKind::Unknown);
    let body: Value = serde_json::from_str(&row.body).expect("JSON");
    let expected = json!({
        "order_id": "GPA.3345-0000-0000-00000..0", "product_type": 1, "refund_type": 1,
    });
    assert_eq!(body["voided_order"], expected);
    let voided = VoidedPayment {
        transaction_id: "GPA.3345-0000-0000-00000..0".to_owned(),
        at: happened(),
        units: None,
    };
    assert_eq!(notification(&row).voided, Some(voided));
}

#[test]
fn a_void_has_the_id_of_its_order() {
    let order = |order: Value, refund_type: i64| {
        let content = json!({
            "purchaseToken": TOKEN, "orderId": order, "productType": 1, "refundType": refund_type,
        });
        row(&data("voidedPurchaseNotification", content)).order_id
    };
    assert_eq!(order(json!("GPA.1"), 1).as_deref(), Some("GPA.1"));
    assert_eq!(order(json!("GPA.1..0"), 2).as_deref(), Some("GPA.1..0"));
    assert_eq!(order(Value::Null, 1), None);
    assert_eq!(row(&subscription(2)).order_id, None);
}

#[test]
fn a_void_of_a_part_of_the_pieces_voids_no_payment() {
    let content = json!({
        "purchaseToken": TOKEN, "orderId": "GPA.1", "productType": 2, "refundType": 2,
    });
    let row = self::row(&data("voidedPurchaseNotification", content));
    assert_eq!(
        notification(&row).voided,
        None,
        "only a query shows how many"
    );
}

#[test]
fn a_refund_review_is_an_alarm_and_names_no_customer() {
    let content = json!({
        "version": "1.0", "pendingRefundToken": "refund-token", "orderId": "GPA.1", "refundReason": 7,
        "obfuscatedAccountId": "account-of-a-customer", "obfuscatedProfileId": "profile-of-a-customer",
    });
    let body = push(&data("pendingRefundReviewNotification", content));
    let (row, alarm) = accepted(&body);
    assert_eq!(alarm.map(|alarm| alarm.kind), Some("refund_review"));
    assert_eq!(row.collapse_key, None);
    let expected =
        json!({ "order_id": "GPA.1", "refund_token": "refund-token", "refund_reason": 7 });
    assert_eq!(row.body, expected.to_string());
    assert!(!format!("{row:?}").contains("customer"));
}

#[test]
fn a_test_notification_is_recorded_and_belongs_to_no_purchase() {
    let content = json!({ "version": "1.0" });
    let (row, alarm) = accepted(&push(&data("testNotification", content)));
    assert_eq!((row.store_type.as_str(), alarm), ("TEST", None));
    let reason = "a test notification of the Play Console";
    assert_eq!(row.handling, of_outcome(Outcome::Unknown, reason));
}

#[test]
fn an_unknown_member_is_stored_and_its_purchase_read() {
    let known = row(&data("newNotification", json!({ "purchaseToken": TOKEN })));
    assert_eq!(known.store_type, "newNotification");
    assert_eq!(known.receipt_id, TOKEN);
    assert_eq!(known.handling, Handling::Open);
    for (member, content) in [
        ("newNotification", json!({ "number": 1 })),
        ("subscriptionNotification", json!({ "notificationType": 2 })),
        (
            "newNotification",
            json!({ "purchaseToken": "a".repeat(1001) }),
        ),
        ("newNotification", json!({ "purchaseToken": "a\u{0}b" })),
        (
            "newNotification",
            json!({ "purchaseToken": "é".repeat(501) }),
        ),
        ("newField", json!("text")),
    ] {
        let row = row(&data(member, content));
        let reason = "it names no purchase";
        assert_eq!(
            row.handling,
            of_outcome(Outcome::Unknown, reason),
            "{member}"
        );
        assert_eq!((row.collapse_key, row.body.as_str()), (None, "{}"));
    }
}

#[test]
fn data_that_is_no_notification_is_stored_as_refused() {
    // Like Google's page, whose example only sketches the types.
    let sketch = br#"{"version": string, "packageName": string, "eventTimeMillis": long}"#;
    let cases: [(&[u8], &str); 7] = [
        (sketch, "data is not a JSON object"),
        (b"[]", "data is not a JSON object"),
        (b"hello\0world", "data is not a JSON object"),
        (b"\xff\xfe", "data is not UTF-8"),
        (b"{}", "packageName is not a string of 1 to 255 characters"),
        (
            br#"{"packageName":""}"#,
            "packageName is not a string of 1 to 255 characters",
        ),
        (
            br#"{"packageName":1}"#,
            "packageName is not a string of 1 to 255 characters",
        ),
    ];
    for (data, reason) in cases {
        let (row, why) = declined(&push_bytes("1", data));
        assert_eq!(why, UNREADABLE);
        assert_eq!(row.handling, of_outcome(Outcome::Refused, reason));
        assert!(!row.body.contains('\0') && !row.body.is_empty());
    }
    let message = json!({ "messageId": "1", "attributes": {} });
    let with = |data: Value| {
        let mut message = message.clone();
        message["data"] = data;
        json!({ "message": message, "subscription": QUEUE }).to_string()
    };
    for data in [Value::Null, json!("no base64!"), json!(1)] {
        let (row, why) = declined(with(data).as_bytes());
        assert_eq!(why, UNREADABLE);
        let reason = "data is missing or not base64";
        assert_eq!(row.handling, of_outcome(Outcome::Refused, reason));
    }
}

#[test]
fn messages_of_other_apps_and_subscriptions_are_refused() {
    let mut foreign = subscription(2);
    foreign["packageName"] = json!("com.example.other");
    let (row, why) = declined(&push(&foreign));
    assert_eq!(why, FOREIGN_PACKAGE);
    let reason = "packageName is `com.example.other`, expected `com.example.app`";
    assert_eq!(row.handling, of_outcome(Outcome::Refused, reason));
    assert_eq!(
        (row.collapse_key, row.store_time, row.body.as_str()),
        (None, None, "{}")
    );
    assert_eq!(row.store_type, "SUBSCRIPTION_RENEWED");

    let body = String::from_utf8(push(&subscription(2))).expect("a text");
    for other in ["projects/example-project/subscriptions/other", ""] {
        let (row, why) = declined(body.replace(QUEUE, other).as_bytes());
        assert_eq!(why, FOREIGN_SUBSCRIPTION);
        assert_eq!(row.message_id, "136969346945");
        assert!(!row.body.contains(TOKEN));
    }
}

#[test]
fn a_body_that_is_too_large_leaves_its_size_and_hash() {
    let filled = |bytes: usize| {
        let mut body = push(&subscription(2));
        body.resize(bytes, b' ');
        body
    };
    accepted(&filled(64 * 1024));
    let large = filled(64 * 1024 + 1);
    let (row, why) = declined(&large);
    assert_eq!(why, TOO_LARGE);
    let hash = row.message_id.strip_prefix("sha256:").expect("a hash");
    assert_eq!(hash.len(), 64);
    let reason = format!("body of 65537 bytes, larger than 64 KiB, with SHA-256 {hash}");
    assert_eq!(row.handling, of_outcome(Outcome::Refused, &reason));
    assert_eq!(row.body, "{}");
    assert_eq!(declined(&large).0, row, "a repetition is the same");
}

#[test]
fn bare_data_is_without_the_wrapper() {
    let bare = subscription(2).to_string();
    for body in [
        bare.as_str(),
        "",
        "[]",
        "{}",
        "hello",
        r#"{"message":"text"}"#,
    ] {
        let found = outcome(body.as_bytes());
        assert!(found.is_none(), "{body}");
    }
}

#[test]
fn no_field_that_cannot_be_read_takes_the_others_with_it() {
    let text = format!(
        r#"{{"packageName":"{PACKAGE}","eventTimeMillis":{HAPPENED_MS},"emoji":"\ud83d","number":1e999,
            "subscriptionNotification":{{"notificationType":"13","purchaseToken":"{TOKEN}"}}}}"#
    );
    let (row, _) = accepted(&push_bytes("1", text.as_bytes()));
    assert_eq!(row.store_type, "SUBSCRIPTION_EXPIRED");
    assert_eq!(row.receipt_id, TOKEN);
}

/// The parts that make a notification a duplicate of another one.
fn fact(row: &NewNotification) -> (Option<CollapseKey>, &str, Option<Timestamp>, Option<&str>) {
    let order = row.order_id.as_deref();
    (row.collapse_key, &row.store_type, row.store_time, order)
}

#[test]
fn g10_two_purchased_two_days_apart_are_no_duplicates() {
    let pending = row(&subscription(4));
    let mut paid = subscription(4);
    paid["eventTimeMillis"] = json!(HAPPENED_MS + 1);
    let paid = row(&paid);
    assert_eq!(paid.collapse_key, pending.collapse_key);
    assert_ne!(fact(&paid), fact(&pending));
}

#[test]
fn g16_recovery_is_the_same_kind_by_either_type() {
    let [recovered, renewed] = [1, 2].map(|number| notification(&row(&subscription(number))).kind);
    assert_eq!(recovered, renewed);
}

#[test]
fn g29_a_voided_older_order_ends_nothing_by_itself() {
    let content =
        json!({ "purchaseToken": TOKEN, "orderId": "GPA.1..0", "productType": 1, "refundType": 1 });
    let row = row(&data("voidedPurchaseNotification", content));
    assert_eq!(notification(&row).kind, NotificationKind::Unknown);
    assert_eq!(row.handling, Handling::Open, "the purchase is read");
}

#[test]
fn g33_a_repeated_message_and_a_repeated_fact_are_known() {
    let content =
        json!({ "purchaseToken": TOKEN, "orderId": "GPA.1", "productType": 2, "refundType": 2 });
    let data = data("voidedPurchaseNotification", content).to_string();
    let first = accepted(&push_bytes("1", data.as_bytes())).0;
    assert_eq!(accepted(&push_bytes("1", data.as_bytes())).0, first);
    let again = accepted(&push_bytes("2", data.as_bytes())).0;
    assert_ne!(again.message_id, first.message_id);
    assert_eq!(fact(&again), fact(&first));
}
