//! Repairs: what they request, and the notifications that follow from replies.

use super::{ORDER, TOKEN, answered, at, error, google, merged, order, subject};
use crate::stores::{
    Answer, RepairOutcome, RepairPage, RepairStep, RepairTask, Replied, StoreProtocol, Stores,
};
use domain::period::{PeriodRefund, RefundExtent, RefundedPayment};
use domain::text::decimal;
use domain::time::{DAY, HOUR};
use domain::{CollapseKey, Notification, NotificationKind, PlatformId, Timestamp, VoidedPayment};
use serde_json::{Value, json};
use std::sync::Arc;
use storage::{RecordedOrder, RepairKind};

fn step(task: &RepairTask, replies: &[Replied]) -> RepairStep {
    google().repair(&subject(""), task, replies)
}

/// Returns the path and query of the next request.
fn requested(task: &RepairTask, replies: &[Replied]) -> String {
    match step(task, replies) {
        RepairStep::Send(request, bucket) => {
            assert_eq!(bucket.name, "orders");
            let query = request.url.query().unwrap_or_default();
            format!("{}?{query}", request.url.path())
        }
        RepairStep::Done(outcome) => panic!("{outcome:?}"),
    }
}

fn outcome(task: &RepairTask, replies: &[Replied]) -> RepairOutcome {
    match step(task, replies) {
        RepairStep::Done(outcome) => outcome,
        RepairStep::Send(request, _) => panic!("another request: {request:?}"),
    }
}

fn found(task: &RepairTask, replies: &[Replied]) -> RepairPage {
    match outcome(task, replies) {
        RepairOutcome::Found(page) => page,
        other => panic!("{other:?}"),
    }
}

fn voids(page: Option<&str>) -> RepairTask {
    RepairTask::Voids {
        since: at().minus(DAY),
        began_at: at().minus(HOUR),
        page: page.map(str::to_owned),
    }
}

fn platform() -> PlatformId {
    subject("").platform
}

fn recorded(id: &str, is_refunded: bool) -> RecordedOrder {
    RecordedOrder {
        store_transaction: id.to_owned(),
        collapse_key: CollapseKey::of(platform(), TOKEN),
        receipt_id: TOKEN.to_owned(),
        number: 1,
        occurred_at: at(),
        is_refunded,
    }
}

/// Returns a time in milliseconds since 1970.
fn ms(time: &str) -> i64 {
    let time: Timestamp = time.parse().unwrap();
    time.micros() / 1000
}

/// Returns the message ids of what the state of an order means for the ledger.
fn messages(members: Value, is_refunded: bool) -> Vec<String> {
    let task = RepairTask::Orders(vec![recorded(ORDER, is_refunded)]);
    let body = json!({ "orders": [order(ORDER, members)] });
    let found = found(&task, &[answered(200, body)]).notifications;
    found
        .into_iter()
        .map(|one| one.notification.message_id)
        .collect()
}

#[test]
fn google_offers_both_repairs_and_other_stores_none() {
    let stores = Stores::new(vec![Arc::new(google())]);
    let offered = [
        ("google", RepairKind::Voids),
        ("google", RepairKind::Orders),
    ];
    assert_eq!(stores.repairs(), offered);
    assert!(Stores::default().repairs().is_empty());
}

#[test]
fn a_pass_over_voids_requests_the_same_time_for_each_page() {
    let rest = "type=1&includeQuantityBasedPartialRefund=true&maxResults=50";
    let since = at().minus(DAY).micros() / 1000;
    let path =
        "/androidpublisher/v3/applications/com.example.app/purchases/voidedpurchases".to_owned();
    assert_eq!(
        requested(&voids(None), &[]),
        format!("{path}?startTime={since}&{rest}")
    );
    assert_eq!(
        requested(&voids(Some("next")), &[]),
        format!("{path}?startTime={since}&{rest}&token=next")
    );
}

/// G29, G33: a void of a whole order says which payment is void. Of a part, the query that follows shows how much.
#[test]
fn g29_a_void_becomes_the_notification_that_google_sends() {
    let entry = |members: Value| {
        let base = json!({
            "purchaseToken": TOKEN, "voidedTimeMillis": "1785000000123", "orderId": format!("{ORDER}..0"),
        });
        merged(base, members)
    };
    let body = json!({
        "voidedPurchases": [entry(json!({})), entry(json!({ "voidedQuantity": 2 })), entry(json!({ "orderId": null })), 7],
        "tokenPagination": { "nextPageToken": "next" },
    });
    let page = found(&voids(None), &[answered(200, body)]);
    assert_eq!((page.unreadable, page.next.as_deref()), (1, Some("next")));
    let voided_at = Timestamp::from_millis(1_785_000_000_123);
    let whole = Notification {
        message_id: format!("voided:{ORDER}..0:1785000000123"),
        collapse_key: CollapseKey::of(platform(), TOKEN),
        receipt_id: TOKEN.to_owned(),
        kind: NotificationKind::Unknown,
        store_type: "VOIDED_PURCHASE".to_owned(),
        store_time: voided_at,
        app_user_id: None,
        related_receipt_id: None,
        is_test: false,
        voided: Some(VoidedPayment {
            transaction_id: format!("{ORDER}..0"),
            at: voided_at,
            units: None,
        }),
        refunded: None,
    };
    assert_eq!(page.notifications[0], whole.into());
    assert_eq!(page.notifications[1].notification.voided, None);
    let without_order = &page.notifications[2].notification;
    assert_eq!(without_order.message_id, "voided:none:1785000000123");
    assert_eq!(without_order.voided, None);
}

#[test]
fn a_page_that_is_no_longer_there_restarts_the_pass() {
    let task = voids(Some("old"));
    let restarted = outcome(&task, &[error(400, "invalid")]);
    assert!(matches!(restarted, RepairOutcome::Restart), "{restarted:?}");
}

/// Refused credentials and outages end a part without a finding, so that its place stays.
#[test]
fn a_failure_finds_nothing_and_moves_nothing() {
    let orders = RepairTask::Orders(vec![recorded(ORDER, false)]);
    for task in [voids(None), orders] {
        let failed = |reply: Replied| match outcome(&task, &[reply]) {
            RepairOutcome::Failed(answer) => answer,
            other => panic!("{other:?}"),
        };
        for refused in [error(401, "authError"), error(403, "forbidden")] {
            let answer = failed(refused);
            assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
        }
        let Answer::Retry(throttled) = failed(answered(429, "")) else {
            panic!("it is throttled");
        };
        assert!(throttled.is_throttled);
        let Answer::Retry(outage) = failed(answered(503, "")) else {
            panic!("it is an outage");
        };
        assert!(!outage.is_strange);
    }
    let missing = outcome(&voids(None), &[error(404, "notFound")]);
    let RepairOutcome::Failed(Answer::Retry(missing)) = missing else {
        panic!("{missing:?}");
    };
    assert!(missing.is_strange, "repeating it may never help");
}

/// G31: only the order shows a refund without revocation.
#[test]
fn g31_a_refund_that_only_an_order_shows_is_found() {
    let task = RepairTask::Orders(vec![recorded(ORDER, false)]);
    let path = requested(&task, &[]);
    let expected = "/androidpublisher/v3/applications/com.example.app/orders:batchGet";
    assert_eq!(path, format!("{expected}?orderIds={ORDER}"));
    let refund = json!({ "state": "REFUNDED", "orderHistory": { "refundEvent": {
        "eventTime": "2026-09-05T10:00:00Z", "refundReason": "OTHER",
        "refundDetails": {
            "total": { "currencyCode": "EUR", "units": "4", "nanos": 990_000_000 },
            "tax": { "currencyCode": "EUR", "nanos": 800_000_000 },
        },
    } } });
    let body = json!({ "orders": [order(ORDER, refund.clone())] });
    let page = found(&task, &[answered(200, body)]);
    let [one] = page.notifications.as_slice() else {
        panic!("{page:?}");
    };
    let one = &one.notification;
    let event = ms("2026-09-05T10:00:00Z");
    assert_eq!(
        one.message_id,
        format!("refunded:{ORDER}:refunded:4.99:{event}")
    );
    assert_eq!(
        (one.store_type.as_str(), one.kind),
        ("ORDER_REFUNDED", NotificationKind::Unknown)
    );
    assert_eq!(one.store_time, "2026-09-05T10:00:00Z".parse().unwrap());
    assert_eq!((&*one.receipt_id, &one.voided), (TOKEN, &None));
    let refunded = RefundedPayment {
        transaction_id: ORDER.to_owned(),
        refund: PeriodRefund {
            at: one.store_time,
            extent: RefundExtent::Full,
        },
        tax: decimal("0.8"),
    };
    assert_eq!(one.refunded.as_ref(), Some(&refunded));
    assert!(messages(refund, true).is_empty(), "the ledger has it");
}

#[test]
fn an_order_whose_state_the_ledger_has_causes_nothing() {
    for state in ["PENDING", "PROCESSED", "PENDING_REFUND", "A_NEW_STATE"] {
        let found = messages(json!({ "state": state }), false);
        assert!(found.is_empty(), "{state}: {found:?}");
    }
    let canceled = messages(json!({ "state": "CANCELED" }), false);
    assert_eq!(canceled, [format!("refunded:{ORDER}:canceled:0")]);
}

#[test]
fn an_order_reports_how_much_of_it_was_returned() {
    let extent = |members: Value| {
        let task = RepairTask::Orders(vec![recorded(ORDER, false)]);
        let body = json!({ "orders": [order(ORDER, members)] });
        let mut found = found(&task, &[answered(200, body)]).notifications;
        let refunded = found.remove(0).notification.refunded;
        refunded.map(|one| one.refund.extent)
    };
    let partly = |details: Value| {
        let part = json!({
            "processTime": "2026-09-03T11:00:00Z", "state": "PROCESSED_SUCCESSFULLY", "refundDetails": details,
        });
        extent(
            json!({ "state": "PARTIALLY_REFUNDED", "orderHistory": { "partialRefundEvents": [part] } }),
        )
    };
    let known = partly(json!({ "total": { "currencyCode": "EUR", "units": "1" } }));
    assert_eq!(known, decimal("1").map(RefundExtent::Amount));
    assert_eq!(partly(json!({})), Some(RefundExtent::Unknown));
    let full = extent(json!({ "state": "REFUNDED" }));
    assert_eq!(full, Some(RefundExtent::Full));
    let canceled = extent(json!({ "state": "CANCELED" }));
    assert_eq!(canceled, None, "nothing was paid");
}

/// A part, then the rest: each state is another message, even if the ledger has the first one.
#[test]
fn each_further_refund_of_an_order_is_another_message() {
    let part = |units: &str, state: &str| {
        json!({
            "createTime": "2026-09-03T10:00:00Z", "processTime": "2026-09-03T11:00:00Z", "state": state,
            "refundDetails": { "total": { "currencyCode": "EUR", "units": units } },
        })
    };
    let history = |state: &str, parts: Value| json!({ "state": state, "orderHistory": { "partialRefundEvents": parts } });
    let done = "PROCESSED_SUCCESSFULLY";
    let first = history(
        "PARTIALLY_REFUNDED",
        json!([part("1", done), part("3", "PENDING")]),
    );
    let second = history(
        "PARTIALLY_REFUNDED",
        json!([part("1", done), part("2", done)]),
    );
    let rest = history("REFUNDED", json!([part("1", done), part("2", done)]));
    let event = ms("2026-09-03T11:00:00Z");
    for (members, expected) in [
        (first, "partially_refunded:1"),
        (second, "partially_refunded:3"),
        (rest, "refunded:3"),
    ] {
        assert_eq!(
            messages(members, true),
            [format!("refunded:{ORDER}:{expected}:{event}")]
        );
    }
}

#[test]
fn a_reversed_refund_that_is_repeated_is_another_message() {
    let refund = |time: &str| {
        json!({ "state": "REFUNDED", "orderHistory": { "refundEvent": {
            "eventTime": time,
            "refundDetails": { "total": { "currencyCode": "EUR", "units": "4" } },
        } } })
    };
    let (first, second) = ("2026-09-05T10:00:00Z", "2026-09-07T10:00:00Z");
    for time in [first, first, second] {
        let expected = format!("refunded:{ORDER}:refunded:4:{}", ms(time));
        assert_eq!(messages(refund(time), false), [expected]);
    }
    let canceled = json!({ "state": "CANCELED", "orderHistory": { "cancellationEvent": { "eventTime": first } } });
    let expected = format!("refunded:{ORDER}:canceled:0:{}", ms(first));
    assert_eq!(messages(canceled, false), [expected]);
}

#[test]
fn a_bad_order_leaves_the_others() {
    let task = RepairTask::Orders(vec![recorded("GPA.1", false), recorded("GPA.2", false)]);
    let refunded = json!({ "orders": [order("GPA.2", json!({ "state": "REFUNDED" }))] });
    let replies = [
        error(404, "notFound"),
        error(404, "notFound"),
        answered(200, refunded),
    ];
    assert!(requested(&task, &replies[..1]).ends_with("?orderIds=GPA.1"));
    let page = found(&task, &replies);
    assert_eq!(page.notifications.len(), 1);
    assert_eq!((page.unreadable, page.next), (0, None));
}
