//! The request, every status, and bodies: documented, strange and broken.

use super::request::request;
use super::response::answer;
use super::term::term;
use super::{Amazon, Settings};
use crate::http::Reply;
use crate::stores::{
    Answer, CheckStep, Mint, Replied, Retry, Simulated, StoreProtocol as _, Subject,
};
use domain::verification::{EndReason, Offer, Product, Term};
use domain::{Environment, Parked, PlatformId, Snapshot, Timestamp, Verification};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::time::Duration;
use storage::AttemptClass;

const SECRET: &str = "2:made/up+secret=of!ours:with-odd_signs~==";
const USER: &str = "customer/with+odd!signs=";
const RECEIPT: &str = "receipt/7=:1:11+Sheet2!A1+";

const DEMO: u128 = 1;
const OWN: u128 = 2;

fn receipt(environment: Environment) -> Subject {
    let secret = SecretString::from(SECRET);
    Subject {
        platform: platform(OWN),
        environment,
        app_user_id: USER.to_owned(),
        receipt_id: RECEIPT.to_owned(),
        secret,
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

/// The snapshot of a body about the receipt.
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
        change(|receipt| receipt.app_user_id = "..".to_owned()),
        wrong_customer
    );
    assert_eq!(
        change(|receipt| receipt.app_user_id = String::new()),
        wrong_customer
    );
    assert_eq!(
        change(|receipt| receipt.receipt_id = ".".to_owned()),
        unknown
    );
    assert_eq!(
        change(|receipt| receipt.secret = SecretString::from("")),
        Some(Answer::Refused)
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
    assert_eq!(replied(496, &body), Answer::Refused);
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

/// Answers of the shapes that Amazon documents, with invented values.
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

#[test]
fn what_the_app_did_not_deliver_is_refunded() {
    let read = |result: Value, date: Value| {
        let bought = 1_398_000_123_456_i64;
        let shown = read(json!({
            "productId": "com.example.coins", "productType": "CONSUMABLE", "purchaseDate": bought,
            "fulfillmentResult": result, "fulfillmentDate": date,
        }));
        shown.undelivered_at.map(|at| at.micros() / 1000 - bought)
    };
    for result in [
        "NOT_ELIGIBLE",
        "UNAVAILABLE",
        "EXISTING_PURCHASE",
        "not eligible",
    ] {
        assert_eq!(
            read(json!(result), json!(1_398_000_124_456_i64)),
            Some(1000),
            "{result}"
        );
        assert_eq!(read(json!(result), Value::Null), Some(0), "{result}");
    }
    for result in [json!("FULFILLED"), json!("ANOTHER"), Value::Null, json!(3)] {
        assert_eq!(read(result, json!(1_398_000_124_456_i64)), None);
    }
}

#[test]
fn numbers_and_yes_and_no_may_stand_in_quotes() {
    let plain = json!({
        "purchaseDate": 1_611_792_000_000_i64, "renewalDate": 1_619_568_000_000_i64, "cancelReason": 4,
        "autoRenewing": true, "testTransaction": true, "term": "1 Week",
    });
    let quoted = json!({
        "purchaseDate": "1611792000000", "renewalDate": " 1619568000000.0 ", "cancelReason": "4",
        "autoRenewing": "True", "testTransaction": "1", "term": " 1 week ",
    });
    assert_eq!(read(plain.clone()), read(quoted));
    assert_eq!(read(plain).end_reason, Some(EndReason::Replaced));
    assert_eq!(
        read(json!({ "purchaseDate": 1.5e12 })).purchased_at,
        Some(Timestamp::from_millis(1_500_000_000_000))
    );
    assert_eq!(
        read(json!({ "productId": 7 })).product_id.as_deref(),
        Some("7")
    );
}

#[test]
fn a_field_that_cannot_be_read_takes_no_other_with_it() {
    let good =
        json!({ "productId": "a", "purchaseDate": 1_611_792_000_000_i64, "autoRenewing": true });
    let names = [
        "productType",
        "termSku",
        "term",
        "renewalDate",
        "cancelDate",
        "cancelReason",
        "freeTrialEndDate",
        "gracePeriodEndDate",
        "deferredDate",
        "deferredSku",
        "promotions",
        "countryCode",
        "betaProduct",
        "testTransaction",
        "somethingNew",
    ];
    for name in names {
        let long = json!("9".repeat(300));
        for odd in [
            json!(null),
            json!([]),
            json!({}),
            json!([{ "a": [null] }]),
            json!(""),
            json!("null"),
            json!("??"),
            json!("gold\0month"),
            json!("gold\u{1}"),
            long,
        ] {
            let mut fields = good.clone();
            fields[name] = odd.clone();
            let mut found = read(fields);
            if name.ends_with("Sku") && odd == "??" {
                (found.term_sku, found.deferred_sku) = (None, None);
            }
            assert_eq!(found, read(good.clone()), "{name}: {odd}");
        }
    }
    let zero =
        json!({ "cancelDate": 0, "renewalDate": -1, "gracePeriodEndDate": "0", "cancelReason": 0 });
    let zero = read(zero);
    assert_eq!(
        (zero.ends_at, zero.renews_at, zero.grace_ends_at),
        (None, None, None)
    );
    assert_eq!(zero.end_reason, Some(EndReason::Pending));
}

#[test]
fn a_value_that_no_parser_takes_takes_no_other_with_it() {
    let good = read(
        json!({ "productId": "a", "purchaseDate": 1_611_792_000_000_i64, "autoRenewing": true }),
    );
    for odd in [
        r#""termSku": "gold\ud800month""#,
        r#""itemName": "\udc00\ud800""#,
        r#""renewalDate": 1e999"#,
    ] {
        let known = r#""productId": "a", "purchaseDate": 1611792000000, "autoRenewing": true"#;
        let body = format!(r#"{{"receiptId": "{RECEIPT}", {known}, {odd}}}"#);
        let Answer::Verification(Verification::Verified(found)) = replied(200, &body) else {
            panic!("{odd}")
        };
        let expected = Snapshot {
            term_sku: found.term_sku.clone(),
            ..good.clone()
        };
        assert_eq!(*found, expected, "{odd}");
    }
}

#[test]
fn new_reasons_and_products_become_unknown() {
    let reason = |number: i64| read(json!({ "cancelReason": number })).end_reason;
    let expected = [
        EndReason::Pending,
        EndReason::Customer,
        EndReason::Store,
        EndReason::Internal,
        EndReason::Replaced,
    ];
    assert_eq!([0, 1, 2, 3, 4].map(reason), expected.map(Some));
    assert_eq!(reason(9), Some(EndReason::Other(9)));
    let product = |text: &str| read(json!({ "productType": text })).product;
    assert_eq!(product("subscription"), Product::Subscription);
    assert_eq!(product("RENTAL"), Product::Unknown);
}

#[test]
fn an_introductory_price_counts_while_it_runs() {
    let runs = |kind: &str, status: &str| {
        read(json!({ "promotions": [{ "promotionType": kind, "promotionStatus": status }] }))
            .in_intro_offer
    };
    assert!(runs("Introductory Price - All Customers", "InProgress"));
    assert!(runs("INTRODUCTORY PRICE - all customers", "in progress"));
    assert!(!runs("Introductory Price - All Customers", "Queued"));
    assert!(!runs("Introductory Price - All Customers", "Completed"));
    assert!(!runs("Promotional Price - Lapsed Customers", "InProgress"));
    assert!(!runs("Retention Offer", "InProgress"));
}

#[test]
fn every_promotion_in_progress_is_an_offer() {
    let offer = |promotions: Value| read(json!({ "promotions": promotions })).offer;
    let one =
        |kind: &str, status: &str| json!({ "promotionType": kind, "promotionStatus": status });
    for (kind, expected) in [
        ("Introductory Price - All Customers", Offer::Introductory),
        ("introductory price - all customers", Offer::Introductory),
        (
            "Promotional Price - Lapsed Customers",
            Offer::LapsedCustomer,
        ),
        (
            "PROMOTIONAL PRICE - LAPSED CUSTOMERS",
            Offer::LapsedCustomer,
        ),
        ("Retention Offer", Offer::Retention),
        ("Birthday Offer", Offer::Other),
        ("", Offer::Other),
    ] {
        assert_eq!(
            offer(json!([one(kind, "InProgress")])),
            Some(expected),
            "{kind}"
        );
        assert_eq!(
            offer(one(kind, "in progress")),
            Some(expected),
            "{kind} without a list"
        );
        for status in ["Queued", "Completed", ""] {
            assert_eq!(offer(json!([one(kind, status)])), None, "{kind} {status}");
            let is_queued = read(json!({ "promotions": [one(kind, status)] })).has_queued_offer;
            assert_eq!(is_queued, status == "Queued", "{kind} {status}");
        }
    }
    let two = json!([
        one("Retention Offer", "InProgress"),
        one("Introductory Price - All Customers", "InProgress")
    ]);
    assert_eq!(offer(two), Some(Offer::Introductory));
    for nothing in [json!(null), json!([]), json!("none"), json!([null, 7])] {
        assert_eq!(offer(nothing), None);
    }
}

#[test]
fn terms_are_parsed_in_every_spelling() {
    let iso = |text: &str| term(text).map(Term::iso);
    let cases = [
        ("1 Week", "P1W"),
        ("2 Months", "P2M"),
        ("7 Days", "P7D"),
        ("12 Months", "P12M"),
        ("1 Year", "P1Y"),
        ("3months", "P3M"),
        ("Weekly", "P1W"),
        ("BiWeekly", "P2W"),
        ("Monthly", "P1M"),
        ("Bi-Monthly", "P2M"),
        ("Quarterly", "P3M"),
        ("SemiAnnually", "P6M"),
        ("ANNUALLY", "P1Y"),
        ("P1M", "P1M"),
        ("p14d", "P14D"),
    ];
    for (text, expected) in cases {
        assert_eq!(iso(text).as_deref(), Some(expected), "{text}");
    }
    for text in [
        "",
        "0 Months",
        "70000 Days",
        "Month",
        "1",
        "P",
        "PT1H",
        "P1M2W",
        "1 Fortnight",
        "-1 Week",
        "½ Year",
    ] {
        assert_eq!(iso(text), None, "{text}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("1 Month")),
        Just(json!(RECEIPT)),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        let name = prop_oneof![
            Just("receiptId"),
            Just("productId"),
            Just("productType"),
            Just("purchaseDate"),
            Just("term"),
            Just("renewalDate"),
            Just("cancelDate"),
            Just("cancelReason"),
            Just("autoRenewing"),
            Just("promotions"),
            Just("promotionType"),
            Just("promotionStatus"),
            Just("countryCode"),
            Just("betaProduct"),
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..8).prop_map(|pairs| Value::from_iter(
                pairs
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value))
            )),
        ]
    })
}

proptest! {
    #[test]
    fn any_json_is_an_answer_and_never_a_panic(body in any_json(), status in 100_u16..1000) {
        let answered = replied(status, &body.to_string());
        let is_read = matches!(answered, Answer::Verification(Verification::Verified(_)));
        prop_assert!(!is_read || status == 200 && body.is_object());
        if status == 200 {
            prop_assert!(matches!(answered, Answer::Verification(Verification::Verified(_)) | Answer::Retry(_)));
        }
    }

    #[test]
    fn any_bytes_are_an_answer_and_never_a_panic(bytes in any::<Vec<u8>>(), status in any::<u16>()) {
        let _ = replied(status, &String::from_utf8_lossy(&bytes));
        let _ = term(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_ids_are_one_segment_each_and_come_back_as_they_were(user in ".{1,40}", id in ".{1,40}", secret in ".{1,40}") {
        let receipt = Subject {
            platform: platform(OWN),
            environment: Environment::Sandbox,
            app_user_id: user.clone(),
            receipt_id: id.clone(),
            secret: SecretString::from(secret.clone()),
        };
        let is_usable = [&user, &id, &secret].iter().all(|text| !matches!(text.as_str(), "." | ".."));
        match request(&Settings::default(), &receipt) {
            Ok(request) => {
                let segments: Vec<_> = request.url.path_segments().unwrap().map(str::to_owned).collect();
                let decoded = |at: usize| percent_decode_str(&segments[at]).decode_utf8().unwrap().into_owned();
                prop_assert_eq!(segments.len(), 10);
                prop_assert_eq!((decoded(5), decoded(7), decoded(9)), (secret, user, id));
                prop_assert_eq!(&segments[0], "sandbox");
                prop_assert_eq!((request.url.query(), request.url.fragment()), (None, None));
            }
            Err(_) => prop_assert!(!is_usable),
        }
    }
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

/// A purchase of a platform.
fn subject(number: u128, receipt_id: &str) -> Subject {
    Subject {
        platform: platform(number),
        receipt_id: receipt_id.to_owned(),
        ..receipt(Environment::Production)
    }
}

/// Amazon's verification beside a simulated store.
fn simulating() -> Amazon {
    let simulated = Simulated {
        platform: platform(DEMO),
        mint: Mint::new(b"own"),
        base: "http://127.0.0.1:1/".parse().unwrap(),
    };
    Amazon::new(Settings::default(), Some(simulated))
}

#[test]
fn a_simulated_store_serves_its_platform_and_minted_receipts() {
    let (with, without) = (simulating(), Amazon::new(Settings::default(), None));
    let minted = Mint::new(b"own").receipt_id("r");
    let is_simulated = |number, id: &str| {
        assert!(without.simulated(&subject(number, id)).is_none());
        with.simulated(&subject(number, id)).is_some()
    };
    assert!(is_simulated(DEMO, "r") && is_simulated(OWN, &minted) && !is_simulated(OWN, "r"));
    assert!(!is_simulated(OWN, &Mint::new(b"other").receipt_id("r")));
}

#[test]
fn a_sample_is_a_test_and_never_sent_to_the_store() {
    let store = simulating();
    let minted = subject(OWN, &Mint::new(b"own").receipt_id("r"));
    let request = store.request(&minted).unwrap();
    let prefix = format!(
        "http://127.0.0.1:1/sandbox/version/1.0/verifyReceiptId/developer/{}/",
        platform(OWN)
    );
    assert!(
        request.url.as_str().starts_with(&prefix),
        "without the secret: {}",
        request.url
    );
    let body = json!({ "receiptId": minted.receipt_id, "productId": "p" }).to_string();
    let reply = Reply::Answer {
        status: 200,
        retry_after: None,
        headers: Vec::new(),
        body,
    };
    match store.next(&minted, &[Replied { reply, at: at() }]) {
        CheckStep::Done(Answer::Verification(Verification::Verified(shown))) => {
            assert_eq!(shown.environment, Environment::Sandbox)
        }
        other => panic!("{other:?}"),
    }
    let unknown = Answer::Verification(Verification::Parked(Parked::UnknownReceipt));
    let unsimulated = Amazon::new(Settings::default(), None);
    for of in [minted, subject(OWN, &Mint::new(b"other").receipt_id("r"))] {
        assert_eq!(unsimulated.request(&of).err(), Some(unknown.clone()));
    }
}
