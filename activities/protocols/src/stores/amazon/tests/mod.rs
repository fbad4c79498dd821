//! The request, every status, and bodies: documented, strange and broken.

mod bodies;
mod simulated;

use super::request::request;
use super::response::REFUSED;
use super::response::answer;
use super::{Amazon, Settings};
use crate::http::Reply;
use crate::stores::{Answer, CheckStep, Replied, Retry, StoreProtocol as _, Subject};
use domain::{Environment, Parked, PlatformId, Snapshot, Timestamp, Verification};
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::Duration;
use storage::{AttemptClass, StorePart};

const SECRET: &str = "2:made/up+secret=of!ours:with-odd_signs~==";
const USER: &str = "customer/with+odd!signs=";
const RECEIPT: &str = "receipt/7=:1:11+Sheet2!A1+";

const OWN: u128 = 2;

fn receipt(environment: Environment) -> Subject {
    let secret = SecretString::from(SECRET);
    Subject {
        platform: platform(OWN),
        environment,
        app_user_id: Some(USER.to_owned()),
        receipt_id: RECEIPT.to_owned(),
        package_name: String::new(),
        known: None,
        reported_at: None,
        reported: Vec::new(),
        secret,
        own: StorePart::default(),
    }
}

fn platform(number: u128) -> PlatformId {
    PlatformId::new(uuid::Uuid::from_u128(number))
}

fn at() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

fn replied(status: u16, body: &str) -> Answer {
    answer(
        &Reply::Answer {
            status,
            retry_after: None,
            headers: Vec::new(),
            body: body.to_owned(),
        },
        RECEIPT,
        at(),
    )
}

/// Returns the snapshot from a body about the receipt.
fn read(fields: Value) -> Snapshot {
    let mut body = json!({ "receiptId": RECEIPT });
    if let (Some(body), Value::Object(fields)) = (body.as_object_mut(), fields) {
        body.extend(fields);
    }
    match replied(200, &body.to_string()) {
        Answer::Verification(Verification::Verified(snapshot)) => *snapshot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_environment_is_the_platforms_and_ids_are_segments() {
    let production = request(&Settings::default(), &receipt(Environment::Production)).unwrap();
    assert_eq!(
        (production.method.name(), production.body.len()),
        ("GET", 0)
    );
    insta::assert_snapshot!(production.url, @"https://appstore-sdk.amazon.com/version/1.0/verifyReceiptId/developer/2%3Amade%2Fup%2Bsecret%3Dof%21ours%3Awith-odd_signs~%3D%3D/user/customer%2Fwith%2Bodd%21signs%3D/receiptId/receipt%2F7%3D%3A1%3A11%2BSheet2%21A1%2B");
    let settings = Settings {
        base: Some("http://127.0.0.1:9000/".parse().unwrap()),
        ..Settings::default()
    };
    let sandbox = request(&settings, &receipt(Environment::Sandbox)).unwrap();
    let path = production.url.path();
    assert_eq!(
        sandbox.url.as_str(),
        format!("http://127.0.0.1:9000/sandbox{path}")
    );
    assert_eq!(
        (production.is_operator_url, sandbox.is_operator_url),
        (false, true),
        "Amazon's address is guarded"
    );
}

#[test]
fn ids_that_no_path_can_hold_are_not_sent() {
    let change = |change: fn(&mut Subject)| {
        let mut receipt = receipt(Environment::Production);
        change(&mut receipt);
        request(&Settings::default(), &receipt).err()
    };
    let wrong_customer = Some(Answer::Verification(Verification::Parked(
        Parked::WrongCustomer,
    )));
    let unknown = Some(Answer::Verification(Verification::Parked(
        Parked::UnknownReceipt,
    )));
    assert_eq!(
        change(|receipt| receipt.app_user_id = Some("..".to_owned())),
        wrong_customer
    );
    assert_eq!(change(|receipt| receipt.app_user_id = None), wrong_customer);
    assert_eq!(
        change(|receipt| receipt.receipt_id = ".".to_owned()),
        unknown
    );
    assert_eq!(
        change(|receipt| receipt.secret = SecretString::from("")),
        Some(Answer::Refused(REFUSED))
    );
}

#[test]
fn a_request_shows_no_path() {
    let shown = format!(
        "{:?}",
        request(&Settings::default(), &receipt(Environment::Production))
    );
    assert_eq!(
        shown,
        r#"Ok(Request { method: Get, host: "appstore-sdk.amazon.com", .. })"#
    );
}

#[test]
fn every_status_has_its_meaning() {
    let body = json!({ "receiptId": RECEIPT, "message": SECRET }).to_string();
    let parked = |parked| Answer::Verification(Verification::Parked(parked));
    assert!(matches!(
        replied(200, &body),
        Answer::Verification(Verification::Verified(_))
    ));
    assert_eq!(replied(400, ""), parked(Parked::UnknownReceipt));
    assert_eq!(
        replied(410, "<html>"),
        Answer::Verification(Verification::Gone)
    );
    assert_eq!(replied(496, &body), Answer::Refused(REFUSED));
    assert_eq!(replied(497, &body), parked(Parked::WrongCustomer));
    for status in [500, 502, 503, 599] {
        assert_eq!(
            replied(status, &body),
            Answer::Retry(Retry::new("server_error", format!("HTTP {status}")))
        );
    }
    for status in [100, 201, 204, 301, 401, 403, 404, 408, 498, 499, 600, 999] {
        let Answer::Retry(retry) = replied(status, &body) else {
            panic!("{status}")
        };
        assert_eq!(
            (retry.class, retry.is_strange, retry.is_throttled),
            ("unexpected_status", true, false)
        );
        assert!(
            retry.why.contains(&status.to_string()) && !retry.why.contains(SECRET),
            "{}",
            retry.why
        );
    }
    let failure = Reply::Failure {
        class: AttemptClass::Timeout,
        message: "no response came in time".to_owned(),
    };
    let expected = Answer::Retry(Retry::new("timeout", "no response came in time"));
    assert_eq!(answer(&failure, RECEIPT, at()), expected);
}

#[test]
fn a_throttle_carries_the_stores_retry_after() {
    let throttle = |retry_after: Option<&str>| {
        let retry_after = retry_after.map(str::to_owned);
        match answer(
            &Reply::Answer {
                status: 429,
                retry_after,
                headers: Vec::new(),
                body: String::new(),
            },
            RECEIPT,
            at(),
        ) {
            Answer::Retry(retry) if retry.is_throttled && !retry.is_strange => retry.retry_after,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(throttle(Some(" 7 ")), Some(Duration::from_secs(7)));
    assert_eq!(throttle(None), None);
    for odd in [
        "",
        "-1",
        "soon",
        "Fri, 20 Nov 2026 12:00:00 GMT",
        "99999999999999999999999",
    ] {
        assert_eq!(throttle(Some(odd)), None, "{odd}");
    }
}

#[test]
fn a_body_about_no_receipt_is_retried() {
    let other = json!({ "receiptId": "id-of-another", "productId": "a" }).to_string();
    let error = json!({ "message": SECRET, "status": false }).to_string();
    let cut = json!({ "receiptId": RECEIPT, "productId": "a" }).to_string();
    let bodies = [
        "",
        "null",
        "[]",
        "\"ok\"",
        "200",
        "<html></html>",
        "{}",
        &other,
        &error,
        &cut[..cut.len() - 1],
    ];
    for body in bodies {
        let Answer::Retry(retry) = replied(200, body) else {
            panic!("{body}")
        };
        assert_eq!(
            (retry.class, retry.is_strange),
            ("unreadable", false),
            "{body}"
        );
        assert!(
            !retry.why.contains(SECRET) && !retry.why.contains("id-of-another"),
            "{}",
            retry.why
        );
    }
    let unnamed = json!({ "productId": "a" }).to_string();
    assert!(matches!(
        replied(200, &unnamed),
        Answer::Verification(Verification::Verified(_))
    ));
}

/// Responses as Amazon documents them, with invented values.
#[test]
fn documented_answers_are_read() {
    let subscription = read(json!({
        "autoRenewing": false, "betaProduct": false, "cancelDate": null, "cancelReason": null, "countryCode": "US",
        "deferredDate": null, "deferredSku": null, "freeTrialEndDate": 1_606_953_600_000_i64,
        "fulfillmentDate": null, "fulfillmentResult": null, "gracePeriodEndDate": 1_606_953_600_000_i64,
        "parentProductId": null, "productId": "com.example.gold", "productType": "SUBSCRIPTION",
        "promotions": null, "purchaseDate": 1_604_361_600_000_i64, "purchaseMetadataMap": null, "quantity": null,
        "renewalDate": 1_606_953_600_000_i64, "term": "1 Month", "termSku": "com.example.gold_term",
        "testTransaction": true,
    }));
    let paid = read(json!({
        "autoRenewing": true, "baseReceipts": [], "betaProduct": false, "cancelDate": null, "cancelReason": null,
        "countryCode": "de", "deferredDate": 1_619_568_000_000_i64, "deferredSku": "com.example.silver.month",
        "productId": "com.example.gold", "productType": "SUBSCRIPTION",
        "promotions": [{ "promotionType": "Introductory Price - All customers", "promotionStatus": "InProgress" }],
        "purchaseDate": 1_611_792_000_000_i64, "purchaseMetadataMap": { "QuickSubscribe": "true" },
        "quantity": 1, "renewalDate": 1_619_568_000_000_i64, "term": "3 Months",
        "termSku": "com.example.gold.quarter", "testTransaction": false,
    }));
    let consumable = read(json!({
        "betaProduct": false, "cancelDate": null, "parentProductId": null, "productId": "com.example.coins",
        "productType": "CONSUMABLE", "purchaseDate": 1_398_000_123_456_i64, "quantity": 1, "renewalDate": null,
        "term": null, "termSku": null, "testTransaction": true,
    }));
    let cancelled = read(json!({
        "betaProduct": true, "cancelDate": 1_401_000_654_000_i64, "cancelReason": 2, "productId": "com.example.map",
        "productType": "ENTITLED", "purchaseDate": 1_398_000_123_456_i64,
    }));
    insta::assert_json_snapshot!(json!({
        "sandbox trap": subscription, "paid": paid, "consumable": consumable, "cancelled": cancelled,
    }));
}

fn found() -> Replied {
    let body = json!({ "receiptId": RECEIPT, "productId": "gold" }).to_string();
    let reply = Reply::Answer {
        status: 200,
        retry_after: None,
        headers: Vec::new(),
        body,
    };
    Replied { reply, at: at() }
}

#[test]
fn a_check_is_one_request_within_the_rate() {
    let settings = Settings {
        per_second: 7,
        ..Settings::default()
    };
    let (store, subject) = (
        Amazon::new(settings, None),
        receipt(Environment::Production),
    );
    match store.next(&subject, &[]) {
        CheckStep::Send(request, bucket) => {
            assert_eq!((request.method.name(), bucket.per_second), ("GET", 7));
        }
        step @ CheckStep::Done(_) => panic!("{step:?}"),
    }
    let done = store.next(&subject, &[found()]);
    assert!(
        matches!(done, CheckStep::Done(Answer::Verification(_))),
        "{done:?}"
    );
    assert_eq!(
        (
            store.per_second(),
            Amazon::new(Settings::default(), None).per_second()
        ),
        (7, 10)
    );
}

#[test]
fn a_snapshot_has_the_environment_that_was_queried() {
    let store = Amazon::new(Settings::default(), None);
    for environment in [Environment::Production, Environment::Sandbox] {
        match store.next(&receipt(environment), &[found()]) {
            CheckStep::Done(Answer::Verification(Verification::Verified(snapshot))) => {
                assert_eq!(snapshot.environment, environment)
            }
            other => panic!("{other:?}"),
        }
    }
}
