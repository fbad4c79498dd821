//! Every class of error of the API.

use super::{TOKEN, answered, at, check, error, google, outcome, subject, subscription};
use crate::http::Reply;
use crate::stores::google::check::{CheckOutcome, KnownPurchase, NextStep};
use crate::stores::google::response::AccessProblem;
use crate::stores::google::shown::PurchaseKind;
use crate::stores::{Answer, CheckStep, Replied, Retry, StoreProtocol as _};
use domain::time::{DAY, MINUTE};
use domain::{Parked, Verification};
use serde_json::{Value, json};
use std::time::Duration;
use storage::AttemptClass;

const SUBSCRIPTION: KnownPurchase = KnownPurchase {
    kind: Some(PurchaseKind::Subscription),
    reported_at: None,
    is_confirmed: false,
    orders: Vec::new(),
    term: None,
    skips_term: false,
};

fn retry(replied: Replied) -> Retry {
    match outcome(&[replied]) {
        CheckOutcome::Retry(retry) => retry,
        other => panic!("{other:?}"),
    }
}

fn unreadable(body: &str) -> Retry {
    let retry = retry(answered(200, body));
    assert_eq!(retry.class, "unreadable", "{body}");
    retry
}

#[test]
fn a_missing_right_differs_from_a_refused_token() {
    for (replied, problem) in [
        (error(401, "authError"), AccessProblem::Credential),
        (answered(401, ""), AccessProblem::Credential),
        (error(401, "permissionDenied"), AccessProblem::Right),
        (error(403, "forbidden"), AccessProblem::Right),
        (
            error(403, "accessNotConfigured"),
            AccessProblem::ApiDisabled,
        ),
        (error(404, "applicationNotFound"), AccessProblem::App),
    ] {
        assert_eq!(outcome(&[replied]), CheckOutcome::Refused(problem));
        let sentence = problem.refusal().why;
        assert!(!sentence.contains("a text of the store"), "{sentence}");
    }
    let details = json!({ "error": {
        "code": 403, "status": "PERMISSION_DENIED", "details": [{ "@type": "any" }, { "reason": "SERVICE_DISABLED" }],
    } });
    let disabled = CheckOutcome::Refused(AccessProblem::ApiDisabled);
    assert_eq!(outcome(&[answered(403, details)]), disabled);
}

#[test]
fn a_right_that_is_missing_stops_the_platform_and_ends_nothing() {
    let step = google().next(&subject(TOKEN), &[error(403, "forbidden")]);
    assert!(
        matches!(step, CheckStep::Done(Answer::Refused(_))),
        "{step:?}"
    );
}

#[test]
fn a_403_and_a_429_can_mean_that_we_are_throttled() {
    for replied in [
        error(429, "any"),
        answered(429, ""),
        error(403, "rateLimitExceeded"),
        error(403, "quotaExceeded"),
        answered(
            403,
            json!({ "error": { "code": 403, "status": "RESOURCE_EXHAUSTED" } }),
        ),
    ] {
        let retry = retry(replied);
        assert_eq!(
            (retry.class, retry.is_throttled, retry.is_strange),
            ("throttled", true, false)
        );
    }
    let mut replied = answered(429, "");
    if let Reply::Answer { retry_after, .. } = &mut replied.reply {
        *retry_after = Some(" 17 ".to_owned());
    }
    assert_eq!(retry(replied).retry_after, Some(Duration::from_secs(17)));
}

/// G24: an outage during the end of a period does not end the purchase.
#[test]
fn g24_an_outage_ends_no_purchase() {
    for status in [500, 502, 503, 504, 599] {
        let retry = retry(answered(status, "<html>down</html>"));
        assert_eq!((retry.class, retry.is_strange), ("server_error", false));
        assert_eq!(retry.why, format!("HTTP {status}"));
    }
    let failure = Replied {
        reply: Reply::Failure {
            class: AttemptClass::Timeout,
            message: "no response came in time".to_owned(),
        },
        at: at(),
    };
    assert_eq!(retry(failure).class, "timeout");
    let of_the_order = [answered(200, subscription(json!({}))), answered(503, "")];
    assert!(matches!(outcome(&of_the_order), CheckOutcome::Retry(_)));
}

#[test]
fn an_answer_of_a_proxy_ends_nothing() {
    for status in [302, 400, 403, 404, 410, 418] {
        for body in ["<html>404</html>", "{}", "{\"error\": \"not_found\"}"] {
            let retry = retry(answered(status, body));
            assert_eq!((retry.class, retry.is_strange), ("unexpected_status", true));
        }
    }
    let other = json!({ "error": { "code": 500 } });
    assert!(
        retry(answered(404, other)).is_strange,
        "another status than that of the head"
    );
}

#[test]
fn no_retry_repeats_a_text_of_the_store() {
    for replied in [
        error(429, "any"),
        error(500, "any"),
        error(418, "any"),
        answered(200, "a text of the store"),
    ] {
        let retry = retry(replied);
        assert!(!retry.why.contains("a text of the store"), "{retry:?}");
    }
}

/// G25: tokens invented by a device, and one that no path can contain.
#[test]
fn g25_an_invented_token_costs_two_requests_and_is_unknown() {
    let invented = [error(400, "invalid"), error(404, "purchaseTokenNotFound")];
    assert!(matches!(
        check(&KnownPurchase::default(), &[]),
        NextStep::Send(_)
    ));
    assert!(matches!(
        check(&KnownPurchase::default(), &invented[..1]),
        NextStep::Send(_)
    ));
    assert_eq!(outcome(&invented), CheckOutcome::Unknown);
    let unknown = Answer::Verification(Verification::Parked(Parked::UnknownReceipt));
    let long = "x".repeat(1001);
    for token in ["", ".", "..", "a b", "ü", "sample.one.mac", &long] {
        let step = google().next(&subject(token), &[]);
        assert!(
            matches!(&step, CheckStep::Done(answer) if *answer == unknown),
            "{token}"
        );
    }
}

/// G27: a token that became invalid 61 days ago.
#[test]
fn g27_a_dead_token_ends_what_is_known_and_no_more() {
    let dead = [error(410, "purchaseTokenNoLongerValid")];
    assert_eq!(outcome(&dead), CheckOutcome::Gone);
    let step = google().next(&subject(TOKEN), &dead);
    let gone = Answer::Verification(Verification::Gone);
    assert!(
        matches!(&step, CheckStep::Done(answer) if *answer == gone),
        "{step:?}"
    );
}

#[test]
fn a_410_of_a_new_token_is_tried_again() {
    let dead = [error(410, "purchaseTokenNoLongerValid")];
    let of_age = |age| {
        let known = KnownPurchase {
            reported_at: Some(at().minus(age)),
            ..SUBSCRIPTION
        };
        check(&known, &dead)
    };
    let young = of_age(MINUTE.saturating_mul(5));
    let is_retry = matches!(&young, NextStep::Done(CheckOutcome::Retry(retry)) if retry.class == "new_purchase");
    assert!(is_retry, "{young:?}");
    assert_eq!(of_age(DAY), NextStep::Done(CheckOutcome::Gone));
}

#[test]
fn a_404_of_a_known_purchase_ends_what_is_known() {
    let known = KnownPurchase {
        is_confirmed: true,
        ..SUBSCRIPTION
    };
    let lost = [error(404, "purchaseTokenNotFound")];
    assert_eq!(check(&known, &lost), NextStep::Done(CheckOutcome::Gone));
    assert_eq!(
        check(&SUBSCRIPTION, &lost),
        NextStep::Done(CheckOutcome::Unknown)
    );
}

#[test]
fn what_is_no_purchase_is_no_answer() {
    for body in [
        "",
        "<html>",
        "null",
        "[]",
        "{}",
        "7",
        "{\"kind\": \"androidpublisher#productPurchase\"}",
    ] {
        unreadable(body);
    }
    let body = subscription(json!({})).to_string();
    for length in [1, 20, body.len() / 2, body.len() - 1] {
        unreadable(&body[..length]);
    }
}

#[test]
fn a_field_of_another_type_is_no_answer() {
    let of_item = |members: Value| {
        let item = super::item("monthly", members);
        subscription(json!({ "lineItems": [item] }))
    };
    let price = |money: Value| of_item(json!({ "autoRenewingPlan": { "recurringPrice": money } }));
    for body in [
        subscription(json!({ "subscriptionState": 3 })),
        subscription(json!({ "startTime": "yesterday" })),
        subscription(json!({ "startTime": 1_790_000_000 })),
        subscription(json!({ "lineItems": {} })),
        subscription(json!({ "linkedPurchaseToken": "a b" })),
        of_item(json!({ "productId": null })),
        of_item(json!({ "expiryTime": "2026-13-01T00:00:00Z" })),
        of_item(json!({ "autoRenewingPlan": { "autoRenewEnabled": "yes" } })),
        price(json!({ "units": "4,99" })),
        price(json!({ "units": "1", "nanos": -1 })),
        price(json!({ "nanos": 1_000_000_000 })),
        price(json!({ "units": "9223372036854775808" })),
        price(json!({ "units": 4.99 })),
    ] {
        unreadable(&body.to_string());
    }
}

#[test]
fn an_unknown_state_is_an_alarm_and_no_end() {
    for state in [
        "SUBSCRIPTION_STATE_UNSPECIFIED",
        "SUBSCRIPTION_STATE_NEW",
        "ACTIVE",
    ] {
        let retry = retry(answered(
            200,
            subscription(json!({ "subscriptionState": state })),
        ));
        assert_eq!((retry.class, retry.is_strange), ("unknown_value", true));
    }
}
