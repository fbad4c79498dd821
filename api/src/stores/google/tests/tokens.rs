//! Checks of a genuine token: its time, the settings that it is compared with, and cached results.

use super::super::keyset;
use super::super::token::UnverifiedToken;
use super::super::verdicts::Verdicts;
use super::{
    ACCOUNT, AUDIENCE, Certs, KEY, KEY_ID, PUSH_ACCOUNT, PUSH_AUDIENCE, answer, claims, headers,
    ingress, now, own_settings, platform, platform_with, shown, token, verdict,
};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use std::sync::Arc;

const EXPIRED: (u16, &str) = (401, "bearer token has expired");

#[tokio::test]
async fn a_token_is_valid_until_its_last_second_and_no_longer() {
    let token = token(&claims());
    let times = [
        (-61, Err((401, "bearer token is not valid yet"))),
        (-60, Ok(())),
        (0, Ok(())),
        (3600, Ok(())),
        (3601, Err(EXPIRED)),
    ];
    for (second, expected) in times {
        let google = ingress(&Certs::working());
        let at = now().plus_millis(second * 1000);
        assert_eq!(verdict(&google, &token, at).await, expected, "{second}");
    }
}

#[tokio::test]
async fn a_remembered_token_ends_at_its_time_and_with_the_settings() {
    let google = ingress(&Certs::working());
    let token = token(&claims());
    assert_eq!(verdict(&google, &token, now()).await, Ok(()));
    assert_eq!(google.verdicts.len(), 1);
    let changes = [
        (PUSH_AUDIENCE, "bearer token is for another audience"),
        (PUSH_ACCOUNT, "bearer token is of another account"),
    ];
    for (field, reason) in changes {
        let mut settings = own_settings();
        settings[field] = json!("another");
        let platform = platform_with(Some(settings));
        let checked = google
            .authenticate(&platform, &headers(&token), now())
            .await;
        assert_eq!(checked.map_err(shown), Err((403, reason)));
    }
    let last = now().plus_millis(3_600_000);
    assert_eq!(verdict(&google, &token, last).await, Ok(()));
    let late = last.plus_millis(1000);
    assert_eq!(verdict(&google, &token, late).await, Err(EXPIRED));
}

#[tokio::test]
async fn a_token_for_others_is_not_remembered() {
    let google = ingress(&Certs::working());
    let mut foreign = claims();
    foreign["aud"] = json!("https://other.example");
    let token = token(&foreign);
    for _ in 0..2 {
        let refused = Err((403, "bearer token is for another audience"));
        assert_eq!(verdict(&google, &token, now()).await, refused);
    }
    assert_eq!(google.verdicts.len(), 0);
}

#[test]
fn no_more_than_64_tokens_are_remembered() {
    let keys = keyset::read(&answer(&[KEY.jwk(KEY_ID)]).body).expect("keys");
    let read = |seconds: i64| {
        let mut claims = claims();
        claims["exp"] = json!(super::seconds(now()) + seconds);
        let token = token(&claims);
        let token = UnverifiedToken::parse(&token).expect("a token");
        Arc::new(token.verify(&keys[KEY_ID], now()).expect("its claims"))
    };
    let (short, long) = (read(60), read(3600));
    let verdicts = Verdicts::default();
    for number in 0..64 {
        let claims = if number == 7 { &short } else { &long };
        verdicts.remember(&number.to_string(), claims.clone(), now());
    }
    assert_eq!(verdicts.len(), 64);
    // The token that expires earliest is dropped.
    verdicts.remember("another", long.clone(), now());
    assert_eq!(verdicts.len(), 64);
    assert!(verdicts.find("7", now()).is_none());
    assert!(verdicts.find("another", now()).is_some());
    // All cached tokens have expired, so all are dropped.
    let late = now().plus_millis(2 * 3_600_000);
    assert!(verdicts.find("another", late).is_none());
    verdicts.remember("late", long, late);
    assert_eq!(verdicts.len(), 1);
}

#[tokio::test]
async fn a_request_without_one_bearer_token_is_refused() {
    let google = ingress(&Certs::working());
    let token = token(&claims());
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
    let none = "no bearer token";
    let cases = [
        (Vec::new(), none),
        (vec![HeaderValue::from_static("Bearer")], none),
        (vec![HeaderValue::from_static("Bearer ")], none),
        (vec![HeaderValue::from_static("Basic dXNlcjpwYXNz")], none),
        (vec![HeaderValue::from_str(&token).expect("a header")], none),
        (
            vec![HeaderValue::from_bytes(b"Bearer \xff").expect("a header")],
            none,
        ),
        (
            vec![bearer.clone(), bearer.clone()],
            "several authorization headers",
        ),
        (
            vec![HeaderValue::from_str(&format!("Bearer  {token}")).expect("a header")],
            "bearer token is malformed",
        ),
    ];
    for (values, reason) in cases {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value);
        }
        let checked = google.authenticate(&platform(), &headers, now()).await;
        assert_eq!(checked.map_err(shown), Err((401, reason)), "{headers:?}");
    }
    let mut headers = HeaderMap::new();
    let lower = HeaderValue::from_str(&format!("bearer {token}")).expect("a header");
    headers.insert(AUTHORIZATION, lower);
    let checked = google.authenticate(&platform(), &headers, now()).await;
    assert_eq!(checked, Ok(()));
}

#[tokio::test]
async fn a_platform_without_its_settings_lets_the_store_repeat() {
    let google = ingress(&Certs::working());
    let token = token(&claims());
    let empty: [Option<Value>; 4] = [
        None,
        Some(json!({})),
        Some(json!({ PUSH_AUDIENCE: AUDIENCE, PUSH_ACCOUNT: ACCOUNT })),
        Some(json!({ PUSH_AUDIENCE: "", PUSH_ACCOUNT: ACCOUNT, "subscription": "s" })),
    ];
    for settings in empty {
        let platform = platform_with(settings);
        let checked = google
            .authenticate(&platform, &headers(&token), now())
            .await;
        let reason = "settings of the push subscription are missing";
        assert_eq!(checked.map_err(shown), Err((503, reason)));
    }
}
