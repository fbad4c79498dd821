//! Signing in and out: links that work once, keys, the ends of sessions, and forged requests.

mod ending;
mod forged;
mod links;

use super::visitor::{Answer, OURS, Visitor, form, send};
use crate::api::edge::{Service, TOKEN};
use serde_json::json;

async fn link(service: &Service, body: &serde_json::Value) -> String {
    let answer = service.send_json("POST", "/v1/sign-in-links", body).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    answer.body["path"].as_str().expect("a path").to_owned()
}

async fn key(service: &Service, role: &str) -> (String, String) {
    let answer = service
        .send_json("POST", "/v1/keys", &json!({ "name": role, "role": role }))
        .await;
    let text = |name: &str| answer.body[name].as_str().expect("a text").to_owned();
    (text("id"), text("key"))
}

async fn page(service: &Service, visitor: &Visitor) -> u16 {
    visitor.get(service, "/ui/").await.status
}

async fn actors(service: &Service, operation: &str) -> Vec<String> {
    let found = service
        .get(&format!("/v1/audit-log?operation={operation}"))
        .await;
    let items = found.body["items"]
        .as_array()
        .expect("the audit log")
        .clone();
    items
        .iter()
        .map(|entry| entry["actor"].as_str().expect("an actor").to_owned())
        .collect()
}

fn leads_to_sign_in(answer: &Answer) -> bool {
    answer.status == 303 && answer.header("location").starts_with("/ui/sign-in")
}

#[tokio::test]
async fn the_api_takes_keys_alone() {
    let service = Service::start("api-cookie").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let secret = visitor.cookie.split('=').nth(1).expect("a value");
    for headers in [
        [("cookie", visitor.cookie.as_str())],
        [("authorization", secret)],
    ] {
        assert_eq!(
            send(&service, "GET", "/v1/apps", &headers, String::new())
                .await
                .status,
            401
        );
    }
    let by_bearer = format!("Bearer {TOKEN}");
    assert!(leads_to_sign_in(
        &send(
            &service,
            "GET",
            "/ui/",
            &[("authorization", &by_bearer)],
            String::new()
        )
        .await
    ));
}

#[tokio::test]
async fn wrong_keys_are_refused_with_a_sentence_and_slowed() {
    let service = Service::with_guesses("guesses", 3).await;
    let fields = [("key", "wrong"), ("name", "Anna")];
    let wrong = async || send(&service, "POST", "/ui/sign-in", &[OURS], form(&fields)).await;
    for _ in 0..4 {
        let answer = wrong().await;
        assert_eq!((answer.status, answer.cookie()), (401, None));
        assert!(
            answer.text.contains("is not valid") && answer.text.contains("value=\"Anna\""),
            "{}",
            answer.text
        );
    }
    let slowed = wrong().await;
    assert_eq!(slowed.status, 429);
    assert!(slowed.text.contains("try again in"), "{}", slowed.text);
    let path = "/ui/sign-in/0123456789abcdef0123456789abcdef";
    assert_eq!(
        send(&service, "POST", path, &[OURS], String::new())
            .await
            .status,
        410,
        "links have their own secret"
    );
    assert_eq!(
        Visitor::with_key(&service, TOKEN)
            .await
            .expect_err("slowed")
            .status,
        429
    );
}

#[tokio::test]
async fn no_stored_hash_tries_a_phrase_for_the_admin_token() {
    let service = Service::start("token-hash").await;
    Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    service
        .send_json(
            "POST",
            "/v1/sign-in-links",
            &json!({ "name": "Carla", "role": "read" }),
        )
        .await;
    for table in ["sign_ins", "sign_in_links"] {
        let count = |which: &str| {
            service.raw_number(&format!(
                "SELECT COUNT(*) AS value FROM {table} WHERE {which}"
            ))
        };
        assert_eq!(count("token_hash IS NOT NULL"), 1, "{table}");
        assert_eq!(
            count(&format!("token_hash = '{}'", storage::key_hash(TOKEN))),
            0,
            "{table}: the SHA-256 alone"
        );
    }
}

#[tokio::test]
async fn a_key_of_metrics_signs_nobody_in() {
    let service = Service::start("metrics-key").await;
    let (_, metrics) = key(&service, "metrics").await;
    let refused = Visitor::with_key(&service, &metrics)
        .await
        .expect_err("no sign-in");
    assert_eq!((refused.status, refused.cookie()), (403, None));
}
