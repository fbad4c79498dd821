//! Bodies: every field of a response, and what cannot be parsed.

use super::{OWN, RECEIPT, platform, read, replied};
use crate::stores::amazon::Settings;
use crate::stores::amazon::request::request;
use crate::stores::amazon::term::term;
use crate::stores::{Answer, Subject};
use domain::verification::{EndReason, Offer, Product, Term};
use domain::{Environment, Snapshot, Timestamp, Verification};
use percent_encoding::percent_decode_str;
use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use storage::StorePart;

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
            app_user_id: Some(user.clone()),
            receipt_id: id.clone(),
            package_name: String::new(),
            known: None,
            reported_at: None,
            reported: Vec::new(),
            secret: SecretString::from(secret.clone()),
            own: StorePart::default(),
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
