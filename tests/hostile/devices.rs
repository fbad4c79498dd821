//! Attacks by devices: an app's publishable key is public.

use super::connections::{MIB, PIECE};
use super::crowd::{LASTING, Part, hold};
use super::target::Target;
use super::witness::Witness;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use system_tests::devices::{Device, Devices};
use system_tests::http::send_raw;
use system_tests::wait;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Number of connections that send wrong events, and minimum number of rounds with a request of each.
const SENDERS: u32 = 8;
const ROUNDS: usize = 100;
/// Number of events in a request, and of wrong names in each.
const EVENTS: usize = 500;
const NAMES: usize = 60;
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Number of addresses that report claims, and of devices per address.
const STRANGERS: u32 = 18;
const DEVICES_OF_STRANGER: u32 = 30;
/// Number of events in a request of a flood, and of letters in each event.
const FLOOD: usize = 50;
const LETTERS: usize = 200;
/// Time between two reports of an honest device.
const PAUSE: Duration = Duration::from_millis(200);

async fn publishable_key(target: &Target) -> String {
    let shown = target
        .world
        .api
        .get(&format!("/v1/platforms/{}", target.world.platform_id))
        .await
        .ok();
    shown["publishable_key"].as_str().expect("a key").to_owned()
}

/// Returns a request that contains only wrong events, whose names resemble known ones.
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
    let key = publishable_key(&target).await;
    let url = format!(
        "{}/v1/device/events",
        target.world.installation.public_url()
    );
    let mut statuses = BTreeMap::<u16, usize>::new();
    let attack = async |round: usize| {
        let requests = (0..SENDERS).map(|sender| {
            let (url, headers) = (url.clone(), [("authorization", format!("Bearer {key}"))]);
            let device = Device(u32::try_from(round).unwrap_or(0) * SENDERS + sender);
            async move {
                let answer =
                    send_raw(reqwest::Method::POST, &url, &headers, wrong_events(device)).await;
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
    assert!(
        statuses.get(&200).is_some_and(|count| *count >= ROUNDS),
        "{statuses:?}"
    );
    target.finish(&witness.receipts).await;
}

/// Number of addresses that send large bodies, and of concurrent bodies per address: the maximum that is accepted.
const ADDRESSES: u32 = 16;
const BODIES: u32 = 8;

/// Returns bodies of nearly one mebibyte whose values would need much more memory than their text.
fn shapes() -> Vec<Vec<u8>> {
    let filled = |start: &str, piece: &str, end: &str| {
        let pieces = (MIB - 100 - start.len() - end.len()) / piece.len();
        format!("{start}{}{end}", piece.repeat(pieces)).into_bytes()
    };
    vec![
        filled("{\"events\":[", "{},", "{}]}"),
        filled("{\"events\":[[", "0,", "0]]}"),
        filled("{\"events\":[", "{\"a\":0},", "{}]}"),
        filled("{\"device\":[", "{\"a\":0},", "{}]}"),
        filled("{\"events\":[", "[[[[]]]],", "[]]}"),
        filled("", "{\"a\":", ""),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_any_shape_hold_nothing_up() {
    let variables = [
        ("SETTLE_DEVICES_TRUSTED_PROXIES", "127.0.0.0/8"),
        ("SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS", "100MiB"),
    ];
    let target = Target::with(&variables).await;
    let key = publishable_key(&target).await;
    let url = format!(
        "{}/v1/device/events",
        target.world.installation.public_url()
    );
    let bodies = shapes();
    let mut statuses = BTreeMap::<u16, usize>::new();
    let attack = async |round: usize| {
        let body = &bodies[round % bodies.len()];
        let requests = (0..ADDRESSES * BODIES).map(|number| {
            let address = format!("198.51.{}.1", number % ADDRESSES);
            let headers = [
                ("authorization", format!("Bearer {key}")),
                ("x-forwarded-for", address),
            ];
            let (url, body) = (url.clone(), body.clone());
            // A request with an incomplete body may be closed in favour of others.
            async move {
                send_raw(reqwest::Method::POST, &url, &headers, body)
                    .await
                    .map_or(0, |answer| answer.status)
            }
        });
        for status in requests.collect::<JoinSet<_>>().join_all().await {
            *statuses.entry(status).or_default() += 1;
        }
    };
    let witness = Witness::watch_rounds(&target, 3 * bodies.len(), attack).await;
    println!("large bodies were answered {statuses:?}");
    assert!(
        statuses
            .get(&400)
            .is_some_and(|count| *count >= bodies.len()),
        "{statuses:?}"
    );
    target.finish(&witness.receipts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_of_eighteen_addresses_hold_nothing_up() {
    let target = Target::with(&[("SETTLE_DEVICES_TRUSTED_PROXIES", "127.0.0.0/8")]).await;
    let devices = Devices::of(&target.world).await;
    let attack = async |round: usize| {
        let round = u32::try_from(round).unwrap_or(0);
        let strangers = (0..STRANGERS).map(|stranger| {
            let devices = devices.behind(&format!("198.51.100.{stranger}"));
            async move {
                for number in 0..DEVICES_OF_STRANGER {
                    let device = Device((round * STRANGERS + stranger) * DEVICES_OF_STRANGER + number);
                    let junk = |index| json!({ "receipt_id": format!("{}-{index}", device.0), "app_user_id": "x" });
                    let receipts: Vec<Value> = (0..20).map(junk).collect();
                    let start = device.event("start", "device.session.start", &json!({ "receipts": receipts }));
                    let answer = devices.report(device, &[start]).await;
                    assert!([200, 429, 503].contains(&answer.status), "{answer:?}");
                }
            }
        });
        strangers.collect::<JoinSet<()>>().join_all().await;
    };
    let witness = Witness::watch_rounds(&target, 1, attack).await;
    let alarms = target.world.api.all("/v1/alarms").await;
    assert!(
        alarms.iter().any(|alarm| alarm["kind"] == "claims_dropped"),
        "{alarms:?}"
    );
    target.finish(&witness.receipts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_leave_devices_their_places() {
    let target = Target::start().await;
    let (key, devices) = (
        publishable_key(&target).await,
        Devices::of(&target.world).await,
    );
    let head = format!(
        "POST /v1/device/events HTTP/1.1\r\nhost: settle\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\n\r\n",
        MIB / 2
    );
    let part = Part {
        first: head.into_bytes(),
        then: &PIECE[..64],
    };
    let end = Instant::now() + LASTING;
    let honest = async {
        let mut reports = 0;
        while Instant::now() < end {
            let device = Device(reports);
            drop(devices.report(device, &[device.impression("1")]).await.ok());
            reports += 1;
            wait::pass(PAUSE).await;
        }
        reports
    };
    let attack = async { tokio::join!(honest, hold(target.public(), 128, part)) };
    let ((reports, _), witness) = Witness::watch(&target, attack).await;
    println!("{reports} reports of honest devices were answered 200");
    assert!(reports > 10, "{reports}");
    target.finish(&witness.receipts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_events_holds_nothing_up() {
    let target = Target::with(&[]).await;
    let devices = Devices::of(&target.world).await;
    let end = Instant::now() + LASTING;
    let flood = (0..SENDERS).map(|sender| {
        let devices = devices.clone();
        async move {
            let (mut statuses, mut number) = (BTreeMap::<u16, usize>::new(), 0);
            while Instant::now() < end {
                let device = Device(number * SENDERS + sender);
                let product =
                    json!({ "sku": "x".repeat(LETTERS), "price": "4.99", "currency": "EUR" });
                let shown =
                    json!({ "paywall": "x".repeat(LETTERS), "products": vec![product; 40] });
                let event = |id: usize| {
                    device.event(
                        &id.to_string(),
                        "device.impression",
                        &json!({ "impression": shown }),
                    )
                };
                let events: Vec<Value> = (0..FLOOD).map(event).collect();
                *statuses
                    .entry(devices.report(device, &events).await.status)
                    .or_default() += 1;
                number += 1;
            }
            statuses
        }
    });
    let attack = flood.collect::<JoinSet<BTreeMap<u16, usize>>>().join_all();
    let (statuses, witness) = Witness::watch(&target, attack).await;
    println!("requests of {FLOOD} large events were answered {statuses:?}");
    let taken: usize = statuses.iter().filter_map(|one| one.get(&200)).sum();
    let refused: usize = statuses.iter().filter_map(|one| one.get(&429)).sum();
    assert!(
        taken > 0 && refused > taken,
        "an address has a quota of bytes: {statuses:?}"
    );
    target.finish(&witness.receipts).await;
}
