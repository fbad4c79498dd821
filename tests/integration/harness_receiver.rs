//! The receiver's checks fail when what they guard is broken.

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::time::Duration;
use system_tests::receiver::{Receiver, Reply};
use system_tests::wait;

const KEY: &str = "one";

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode([7; 32]))
}

/// Sends what a service would; the answer is not waited for.
fn send(receiver: &Receiver, webhook_id: &str, body: &Value) -> tokio::task::JoinHandle<()> {
    let at = api::clock::now().micros() / 1_000_000;
    let raw = body.to_string();
    let signature =
        Webhook::new(&secret()).and_then(|key| key.sign(webhook_id, at, raw.as_bytes())).expect("a signature");
    let (url, id) = (receiver.url(), webhook_id.to_owned());
    tokio::spawn(async move {
        let headers = [("webhook-id", id), ("webhook-timestamp", at.to_string()), ("webhook-signature", signature)];
        system_tests::http::send_raw(Method::POST, &url, &headers, raw.into_bytes()).await.expect("an answer");
    })
}

fn update(revision: i64) -> Value {
    json!({ "attributes": { "collapse_key": KEY, "revision": revision, "event_id": format!("event-{revision}") } })
}

/// A receiver after these requests, one after the other.
async fn after(requests: &[(&str, Value)]) -> Receiver {
    let receiver = Receiver::start().await;
    receiver.trust(&secret());
    for (webhook_id, body) in requests {
        send(&receiver, webhook_id, body).await.expect("sent");
    }
    receiver
}

/// What the check says.
fn complaint(receiver: &Receiver) -> String {
    let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| receiver.check()));
    let reason = checked.expect_err("the broken rule goes unseen");
    reason.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn rising_revisions_and_a_repeated_attempt_are_right() {
    let receiver = after(&[("a", update(1)), ("a", update(1)), ("b", update(2))]).await;
    receiver.check();
    assert_eq!(receiver.revisions(KEY), [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_falling_revision_is_noticed() {
    assert!(complaint(&after(&[("a", update(2)), ("b", update(1))]).await).contains("I3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_under_the_same_id_is_noticed() {
    assert!(complaint(&after(&[("a", update(1)), ("a", update(2))]).await).contains("I4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_under_two_ids_is_noticed() {
    let receiver = after(&[("a", update(1)), ("a", update(1))]).await;
    assert_eq!(receiver.told_once(), Ok(()));
    send(&receiver, "b", &update(1)).await.expect("sent");
    assert!(receiver.told_once().is_err_and(|broken| broken.contains("told twice")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_noticed() {
    let receiver = after(&[]).await;
    receiver.trust(&format!("whsec_{}", STANDARD.encode([8; 32])));
    send(&receiver, "a", &update(1)).await.expect("sent");
    assert!(complaint(&receiver).contains("signature"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attempts_at_once_are_noticed() {
    let receiver = after(&[]).await;
    receiver.answer(Reply::Hang);
    let sent = [send(&receiver, "a", &update(1)), send(&receiver, "a", &update(1))];
    receiver.wait_for(KEY, 2, Duration::from_secs(10)).await;
    receiver.release();
    for one in sent {
        one.await.expect("sent");
    }
    assert!(complaint(&receiver).contains("I7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_refuses_and_opens_again() {
    let mut receiver = after(&[("a", update(1))]).await;
    receiver.refuse().await;
    let refused = send(&receiver, "b", &update(2)).await;
    assert!(refused.is_err(), "nothing listens");
    receiver.accept().await;
    send(&receiver, "b", &update(2)).await.expect("sent");
    assert_eq!(receiver.revisions(KEY), [1, 2]);
}

#[tokio::test]
#[should_panic(expected = "last seen: three")]
async fn a_deadline_names_what_was_seen_last() {
    wait::until(Duration::from_millis(50), "four", async || Err::<(), _>("three".to_owned())).await;
}
