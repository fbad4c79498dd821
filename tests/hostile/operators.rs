//! Attacks on the API's address with a key that may read, or without a key.

use super::connections::MIB;
use super::crowd::{LASTING, Part, hold};
use super::target::Target;
use super::witness::Witness;
use reqwest::Method;
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;
use system_tests::http::send_raw;
use system_tests::wait;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Number of connections that read an event stream.
const STREAMS: usize = 300;
/// Number of connections that send forms, and minimum number of rounds with a form of each.
const SENDERS: usize = 8;
const ROUNDS: usize = 20;
const PAUSE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn streams_of_a_read_key_leave_health_checks_their_place() {
    let target = Target::start().await;
    let body = json!({ "name": "reader", "role": "read" });
    let created = target.world.api.post("/v1/keys", &body).await.ok();
    let key = created["key"].as_str().expect("a key");
    let first = format!(
        "GET /v1/live HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {key}\r\n\r\n",
        target.admin()
    );
    let part = Part {
        first: first.into_bytes(),
        then: b"",
    };
    let end = Instant::now() + LASTING;
    let checks = async {
        let mut count = 0;
        while Instant::now() < end {
            for path in ["/livez", "/readyz", "/metrics"] {
                drop(target.world.api.get(path).await.ok());
            }
            count += 1;
            wait::pass(PAUSE).await;
        }
        count
    };
    let attack = async { tokio::join!(checks, hold(target.admin(), STREAMS, part)) };
    let ((checks, counts), witness) = Witness::watch(&target, attack).await;
    println!("{checks} times each health check was answered 200");
    assert!(
        counts.opened.load(Ordering::Relaxed) >= STREAMS && checks > 10,
        "{counts:?}, {checks} checks"
    );
    target.finish(&witness.receipts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_forms_of_four_mebibytes_hold_nothing_up() {
    let target = Target::start().await;
    let url = format!("{}/ui/sign-in", target.world.installation.url());
    let form = "a&".repeat(2 * MIB).into_bytes();
    let mut statuses = BTreeMap::<u16, usize>::new();
    let attack = async |_: usize| {
        let sent = (0..SENDERS).map(|_| {
            let (url, form) = (url.clone(), form.clone());
            let headers = [
                (
                    "content-type",
                    "application/x-www-form-urlencoded".to_owned(),
                ),
                ("origin", target.world.installation.url()),
                ("sec-fetch-site", "same-origin".to_owned()),
            ];
            async move { send_raw(Method::POST, &url, &headers, form).await }
        });
        for answer in sent.collect::<JoinSet<_>>().join_all().await {
            // The form is refused because of its length, possibly before it is sent completely.
            let status = answer.map_or(0, |answer| answer.status);
            *statuses.entry(status).or_default() += 1;
        }
    };
    let witness = Witness::watch_rounds(&target, ROUNDS, attack).await;
    println!(
        "forms of four mebibytes were answered {statuses:?}; 0 is a connection that was closed"
    );
    assert!(
        statuses.keys().all(|status| [0, 400, 413].contains(status)),
        "{statuses:?}"
    );
    assert!(
        statuses.keys().any(|status| *status > 0),
        "some are answered: {statuses:?}"
    );
    target.finish(&witness.receipts).await;
}
