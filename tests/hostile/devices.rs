//! Devices: anybody has the publishable key of an app.

use super::target::Target;
use super::witness::Witness;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use system_tests::devices::Device;
use system_tests::http::send_raw;
use tokio::task::JoinSet;

/// Connections that send wrong events, and minimum number of rounds of a request of each.
const SENDERS: u32 = 8;
const ROUNDS: usize = 100;
/// Number of events in a request, and of wrong names in each.
const EVENTS: usize = 500;
const NAMES: usize = 60;
/// Maximum size of an answer.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// A request with wrong events alone: its names are near to known ones.
fn wrong_events(device: Device) -> Vec<u8> {
    let names = (0..NAMES).map(|number| (format!("imp{number}ression"), json!(1)));
    let event: Value = names.collect::<serde_json::Map<String, Value>>().into();
    let body = json!({
        "device": {
            "id": device.id(), "first_launch": "2026-03-01T11:58:00Z", "app_version": "1", "sdk_version": "1",
            "os": { "name": "fireos", "version": "8" },
        },
        "sent_at": "2026-03-01T12:00:05Z",
        "events": vec![event; EVENTS],
    });
    body.to_string().into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_events_hold_nothing_up() {
    let target = Target::start().await;
    let shown = target.world.api.get(&format!("/v1/platforms/{}", target.world.platform_id)).await.ok();
    let key = shown["publishable_key"].as_str().expect("a key").to_owned();
    let url = format!("{}/v1/device/events", target.world.installation.public_url());
    let mut statuses = BTreeMap::<u16, usize>::new();
    let attack = async |round: usize| {
        let requests = (0..SENDERS).map(|sender| {
            let (url, headers) = (url.clone(), [("authorization", format!("Bearer {key}"))]);
            let device = Device(u32::try_from(round).unwrap_or(0) * SENDERS + sender);
            async move {
                let answer = send_raw(reqwest::Method::POST, &url, &headers, wrong_events(device)).await;
                answer.expect("an answer")
            }
        });
        for answer in requests.collect::<JoinSet<_>>().join_all().await {
            *statuses.entry(answer.status).or_default() += 1;
            let bytes = answer.body.to_string().len();
            assert!(bytes <= MAX_ANSWER_BYTES, "{bytes} bytes");
        }
    };
    let witness = Witness::watch_rounds(&target, ROUNDS, attack).await;
    println!("requests of {EVENTS} wrong events were answered {statuses:?}");
    assert!(statuses.get(&200).is_some_and(|count| *count >= ROUNDS), "{statuses:?}");
    target.finish(&witness.receipts).await;
}
