//! The settings, the bytes on the wire judged by somebody else's verifier, and the schedule.

use super::config::{Config, new_secret, parse};
use super::request::request;
use super::response::outcome;
use crate::destinations;
use crate::http::{Reply, Request};
use crate::outcome::Verdict;
use domain::Timestamp;
use proptest::prelude::*;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde_json::json;
use standardwebhooks::Webhook;
use std::time::{SystemTime, UNIX_EPOCH};

/// The example of the specification.
const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const ID: &str = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
const AT_SECONDS: i64 = 1_649_367_553;
const BODY: &str = r#"{"email":"test@example.com","username":"test_user"}"#;

fn config() -> Config {
    parse(&json!({"url": "https://example.com/hook"}), false).unwrap()
}

fn signed(secret: &str, id: &str, at: Timestamp, body: &str) -> Request {
    request(&config(), &SecretString::from(secret), id, at, body).unwrap()
}

fn headers(request: &Request) -> HeaderMap {
    let pair =
        |(name, value): &(String, String)| (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value).unwrap());
    request.headers.iter().map(pair).collect()
}

fn answer(status: u16) -> Reply {
    Reply::Answer { status, retry_after: None, body: String::new() }
}

#[test]
fn the_request_of_the_specifications_example() {
    let request = signed(SECRET, ID, Timestamp::from_micros(AT_SECONDS * 1_000_000 + 999_999), BODY);
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let body = String::from_utf8(request.body).unwrap();
    let sent = format!("POST {}\n{headers}\n{body}", request.url);
    insta::assert_snapshot!(sent.replace(env!("CARGO_PKG_VERSION"), "[version]"), @r#"
    POST https://example.com/hook
    content-type: application/json
    user-agent: settle/[version]
    webhook-id: msg_27UH4WbU6Z5A5EzD8u03UvzRbpk
    webhook-signature: v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=
    webhook-timestamp: 1649367553

    {"email":"test@example.com","username":"test_user"}
    "#);
}

#[test]
fn somebody_elses_verifier_accepts_what_is_sent_now_and_nothing_else() {
    #[expect(clippy::disallowed_methods, reason = "the verifier compares with the real clock")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap());
    let secret = new_secret([7; 32]);
    let verifier = Webhook::new(&secret).unwrap();
    let request = signed(&secret, "d9b0", now, BODY);
    assert!(verifier.verify(&request.body, &headers(&request)).is_ok());
    assert!(verifier.verify(b"{}", &headers(&request)).is_err());
    let earlier = signed(&secret, "d9b0", now.plus_millis(-400_000), BODY);
    assert!(verifier.verify(&earlier.body, &headers(&earlier)).is_err());
    assert!(Webhook::new(&new_secret([8; 32])).unwrap().verify(&request.body, &headers(&request)).is_err());
}

proptest! {
    #[test]
    fn any_body_and_any_secret_are_signed_as_somebody_else_signs_them(
        random in any::<[u8; 32]>(), id in "[a-z0-9-]{1,40}", seconds in 0_i64..4_000_000_000, body in ".*",
    ) {
        let secret = new_secret(random);
        let request = signed(&secret, &id, Timestamp::from_micros(seconds * 1_000_000), &body);
        let theirs = Webhook::new(&secret).unwrap().sign(&id, seconds, body.as_bytes()).unwrap();
        prop_assert_eq!(&headers(&request)["webhook-signature"], theirs.as_str());
        prop_assert_eq!(request.body, body.into_bytes());
    }

    #[test]
    fn the_wait_stays_within_a_fifth_and_ends_after_the_tenth_attempt(number in any::<i64>(), jitter in any::<f64>()) {
        match (outcome(&answer(500), number, 0.5), outcome(&answer(500), number, jitter)) {
            (Verdict::Retry { delay_ms: plain, .. }, Verdict::Retry { delay_ms, .. }) => {
                prop_assert!(number < 10);
                prop_assert!((plain * 8 / 10..=plain * 12 / 10).contains(&delay_ms));
            }
            (Verdict::Dead { .. }, Verdict::Dead { .. }) => prop_assert!(number >= 10),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

#[test]
fn a_secret_of_another_kind_is_refused_without_being_repeated() {
    for wrong in ["", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_", "whsec_c2hvcnQ=", "whsec_%%%", "whpk_AAAA"] {
        let refused = request(&config(), &SecretString::from(wrong), ID, Timestamp::default(), BODY).err().unwrap();
        assert_eq!(refused.to_string(), "`secret`: expected `whsec_` and 24 to 64 bytes in standard base64");
    }
    for id in ["", "a.b"] {
        let refused = request(&config(), &SecretString::from(SECRET), id, Timestamp::default(), BODY).err().unwrap();
        assert_eq!(refused.field, "webhook-id");
    }
}

#[test]
fn settings_are_a_url_and_nothing_else() {
    let check = |settings, allow_http| parse(&settings, allow_http).map_err(|invalid| invalid.field);
    assert!(check(json!({"url": "https://example.com:8443/hook?a=b"}), false).is_ok());
    assert!(check(json!({"url": "http://127.0.0.1:9000/"}), true).is_ok());
    let wrong = ["http://example.com/", "ftp://example.com/", "https://me@example.com/", "https://:pw@example.com/"];
    let more =
        ["https://", "example.com", "", "https://example.com/#part", "mailto:me@example.com", "https://[::1%25a]/"];
    for url in wrong.into_iter().chain(more) {
        assert_eq!(check(json!({ "url": url }), false), Err("url".to_owned()), "{url}");
    }
    assert_eq!(check(json!({"url": 7}), false), Err("url".to_owned()));
    assert_eq!(check(json!({}), false), Err("url".to_owned()));
    assert_eq!(check(json!([]), false), Err("settings".to_owned()));
    assert_eq!(check(json!({"url": "https://example.com/", "urls": []}), false), Err("urls".to_owned()));
}

#[test]
fn only_2xx_is_success_and_everything_else_is_tried_again() {
    for (status, word) in [
        (199, "unexpected_status"),
        (301, "redirect"),
        (307, "redirect"),
        (400, "client_error"),
        (404, "client_error"),
        (410, "client_error"),
        (429, "client_error"),
        (500, "server_error"),
        (503, "server_error"),
        (600, "unexpected_status"),
    ] {
        let expected =
            Verdict::Retry { delay_ms: 5_000, class: word, message: format!("the endpoint answered {status}") };
        assert_eq!(outcome(&answer(status), 1, 0.5), expected);
    }
    for status in [200, 201, 204, 299] {
        assert_eq!(outcome(&answer(status), 10, 0.5), Verdict::Delivered);
    }
    let failure = Reply::Failure { class: "tls", message: "no TLS".to_owned() };
    let expected = Verdict::Retry { delay_ms: 300_000, class: "tls", message: "no TLS".to_owned() };
    assert_eq!(outcome(&failure, 2, 0.5), expected);
    assert_eq!(outcome(&failure, 10, 0.5), Verdict::Dead { class: "tls", message: "no TLS".to_owned() });
}

#[test]
fn ten_attempts_span_75_hours_35_minutes_and_5_seconds() {
    let waits: Vec<_> = (1..)
        .map_while(|number| match outcome(&answer(500), number, 0.5) {
            Verdict::Retry { delay_ms, .. } => Some(delay_ms),
            Verdict::Delivered | Verdict::Dead { .. } => None,
        })
        .collect();
    assert_eq!(waits.len(), 9);
    assert_eq!(waits.iter().sum::<i64>(), ((75 * 60 + 35) * 60 + 5) * 1000);
    let spread = [0.0, 1.0, f64::NAN, -1.0].map(|jitter| outcome(&answer(500), 1, jitter));
    let delays = spread.map(|verdict| match verdict {
        Verdict::Retry { delay_ms, .. } => delay_ms,
        Verdict::Delivered | Verdict::Dead { .. } => 0,
    });
    assert_eq!(delays, [4_000, 6_000, 5_000, 5_000]);
}

#[test]
fn the_list_of_kinds_knows_webhooks_and_names_what_it_does_not_know() {
    let settings = json!({"url": "https://example.com/hook"});
    assert_eq!(destinations::Config::parse("webhook", &settings, false), Ok(destinations::Config::Webhook(config())));
    assert!(destinations::new_secret("webhook", [0; 32]).unwrap().starts_with("whsec_AAAA"));
    let unknown = destinations::Config::parse("pigeon", &settings, false).unwrap_err();
    assert_eq!(unknown.to_string(), "`kind`: expected `webhook`, and not `pigeon`");
}
