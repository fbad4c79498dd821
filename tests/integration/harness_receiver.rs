//! The receiver's checks fail when the rule they check is broken.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::time::Duration;
use system_tests::deliveries;
use system_tests::folder::Folder;
use system_tests::receiver::{Receiver, Reply};
use system_tests::signature::Signed;
use system_tests::wait;
use system_tests::world::SOON;

const KEY: &str = "one";
/// The public key of Svix's own test for `v1a`.
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
/// The public key of RFC 8032 7.1, test 1.
const OTHER_PUBLIC: &str = "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn secret() -> String {
    format!("whsec_{}", STANDARD.encode([7; 32]))
}

fn other_secret() -> String {
    format!("whsec_{}", STANDARD.encode([8; 32]))
}

/// Sends a signed request without waiting for its answer.
fn send(receiver: &Receiver, webhook_id: &str, body: &Value) -> tokio::task::JoinHandle<()> {
    let at = api::clock::now().micros() / 1_000_000;
    let raw = body.to_string();
    let signature = Webhook::new(&secret())
        .and_then(|key| key.sign(webhook_id, at, raw.as_bytes()))
        .expect("a signature");
    let (url, id) = (receiver.url(), webhook_id.to_owned());
    tokio::spawn(async move {
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", at.to_string()),
            ("webhook-signature", signature),
        ];
        system_tests::http::send_raw(Method::POST, &url, &headers, raw.into_bytes())
            .await
            .expect("an answer");
    })
}

fn update(revision: i64) -> Value {
    json!({ "attributes": { "collapse_key": KEY, "revision": revision, "event_id": format!("event-{revision}") } })
}

/// Returns a receiver that has received these requests , in this order.
async fn after(requests: &[(&str, Value)]) -> Receiver {
    let receiver = Receiver::start().await;
    receiver.trust(&secret());
    for (webhook_id, body) in requests {
        send(&receiver, webhook_id, body).await.expect("sent");
    }
    receiver
}

/// Returns the message with which the check fails.
fn failure(receiver: &Receiver) -> String {
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
    assert!(failure(&after(&[("a", update(2)), ("b", update(1))]).await).contains("I3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_body_under_the_same_id_is_noticed() {
    assert!(failure(&after(&[("a", update(1)), ("a", update(2))]).await).contains("I4"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_under_two_ids_is_noticed() {
    let receiver = after(&[("a", update(1)), ("a", update(1))]).await;
    assert_eq!(receiver.check_no_duplicates(), Ok(()));
    send(&receiver, "b", &update(1)).await.expect("sent");
    assert!(
        receiver
            .check_no_duplicates()
            .is_err_and(|broken| broken.contains("announced twice"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_signature_is_noticed() {
    let receiver = after(&[]).await;
    receiver.trust(&other_secret());
    receiver.want_refusals();
    send(&receiver, "a", &update(1)).await.expect("sent");
    assert!(failure(&receiver).contains("signature"));
}

#[test]
fn a_public_key_verifies_only_what_its_own_key_signed() {
    let verified_with = |key: &str, time: &str, raw: &[u8]| {
        let signature = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
        let signatures = format!("v1,AAAA v1a,{} {signature}", STANDARD.encode([7; 64]));
        let headers = [
            ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
            ("webhook-timestamp", time),
            ("webhook-signature", &signatures),
        ];
        let pair = |(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).expect("a value"),
            )
        };
        let headers: HeaderMap = headers.into_iter().map(pair).collect();
        let signed = Signed {
            headers: &headers,
            raw,
        };
        assert_eq!(signed.verify(key), signed.verify_at_any_time(key));
        signed.verify(key)
    };
    let (time, raw) = ("1614265330", br#"{"test": 2432232314}"#);
    assert_eq!(verified_with(PUBLIC, time, raw), Ok(()));
    assert!(
        verified_with(PUBLIC, time, br#"{"test": 2432232315}"#).is_err(),
        "a changed byte"
    );
    assert!(
        verified_with(PUBLIC, "1614265331", raw).is_err(),
        "another time"
    );
    assert!(
        verified_with(OTHER_PUBLIC, time, raw).is_err(),
        "another key"
    );
    for wrong in ["whpk_", "whpk_AAAA", "whpk_!"] {
        assert!(verified_with(wrong, time, raw).is_err(), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_signed_is_noticed() {
    let folder = Folder::new("deliveries");
    let receiver = after(&[]).await;
    receiver.keep_in(folder.path());
    receiver.trust(PUBLIC);
    send(&receiver, "a", &update(1)).await.expect("sent");
    assert!(failure(&receiver).contains("signature"));
    let stored = deliveries::read(folder.path());
    assert_eq!(
        verdicts(&stored[0][0]),
        [(PUBLIC, false), (secret().as_str(), true)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_recorded_with_each_secrets_result() {
    let folder = Folder::new("deliveries");
    let receiver = Receiver::start().await;
    receiver.keep_in(folder.path());
    send(&receiver, "a", &update(1)).await.expect("sent");
    receiver.trust(&secret());
    send(&receiver, "b", &update(2)).await.expect("sent");
    receiver.trust(&other_secret());
    receiver.want_refusals();
    send(&receiver, "c", &update(3)).await.expect("sent");
    receiver.trust(&secret());
    send(&receiver, "d", &update(4)).await.expect("sent");
    let stored = deliveries::read(folder.path());
    let [stored] = stored.as_slice() else {
        panic!("one file of one receiver: {stored:?}")
    };
    let summary: Vec<_> = stored
        .iter()
        .map(|one| (one.id.as_str(), one.is_refusal_wanted, verdicts(one)))
        .collect();
    let (own, other) = (secret(), other_secret());
    let expected = [
        ("a", false, vec![]),
        ("b", false, vec![(own.as_str(), true)]),
        (
            "c",
            true,
            vec![(other.as_str(), false), (own.as_str(), true)],
        ),
        (
            "d",
            false,
            vec![(own.as_str(), true), (other.as_str(), false)],
        ),
    ];
    assert_eq!(summary, expected);
    assert!(
        stored
            .iter()
            .zip(receiver.all())
            .all(|(one, request)| one.raw() == request.raw)
    );
}

/// Returns each key of a request, and whether the signature was valid for it.
fn verdicts(request: &deliveries::Request) -> Vec<(&str, bool)> {
    request
        .results
        .iter()
        .map(|result| (result.key.as_str(), result.refusal.is_none()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attempts_at_once_are_noticed() {
    let receiver = after(&[]).await;
    receiver.answer(Reply::Hang);
    let sent = [
        send(&receiver, "a", &update(1)),
        send(&receiver, "a", &update(1)),
    ];
    receiver.wait_for(KEY, 2, SOON).await;
    receiver.release();
    for one in sent {
        one.await.expect("sent");
    }
    assert!(failure(&receiver).contains("I7"));
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
    wait::until(Duration::from_millis(50), "four", async || {
        Err::<(), _>("three".to_owned())
    })
    .await;
}
