//! Device events: each arrives once, in order per device, without its own workflow.

use reqwest::Method;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use system_tests::amplitude::Amplitude;
use system_tests::devices::{Device, Devices};
use system_tests::process::Backend;
use system_tests::receiver::{Received, Receiver, Reply};
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use workflows::contract;

/// Time limit for repetition: an activity whose worker died is repeated after its heartbeats stopped and its page's
/// lease ended.
const REPEATED: Duration = Duration::from_secs(150);
const VISIT: [&str; 4] = [
    "device.session.start",
    "device.impression",
    "device.transaction",
    "device.session.end",
];

async fn world(backend: Backend, variables: &[(&str, &str)]) -> World {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    let events = vec!["device.*".to_owned()];
    World::start(Setting {
        backend,
        events,
        variables,
        ..Setting::default()
    })
    .await
}

/// Returns the type and id of each device's acknowledged events, in the order of arrival.
fn by_device(receiver: &Receiver) -> BTreeMap<String, Vec<(String, String)>> {
    let mut devices: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for received in receiver.all().into_iter().filter(Received::is_acked) {
        for body in received.bodies() {
            let text =
                |part: &str, field: &str| body[part][field].as_str().expect("a text").to_owned();
            let device = body["data"]["device"]["id"]
                .as_str()
                .expect("a device")
                .to_owned();
            let event = (
                text("attributes", "event_type"),
                text("attributes", "event_id"),
            );
            devices.entry(device).or_default().push(event);
        }
    }
    devices
}

async fn wait_acked(receiver: &Receiver, count: usize, deadline: Duration) {
    wait::until(deadline, &format!("{count} events"), async || {
        let acked: usize = receiver
            .all()
            .iter()
            .filter(|one| one.is_acked())
            .map(|one| one.bodies().len())
            .sum();
        if acked >= count {
            Ok(())
        } else {
            Err(format!("{acked} of {count}"))
        }
    })
    .await;
}

/// Checks that each device's visit arrived once, in order.
fn check_visits(receiver: &Receiver, devices: impl Iterator<Item = Device>) {
    let arrived = by_device(receiver);
    for device in devices {
        let events = arrived
            .get(&device.id().to_string())
            .map(Vec::as_slice)
            .unwrap_or_default();
        let types: Vec<&str> = events.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(types, VISIT, "{device:?}");
    }
}

async fn each_event_of_a_device_arrives_once_in_order(backend: Backend) {
    let world = world(backend, &[]).await;
    let devices = Devices::of(&world).await;
    let visit = Device(1).visit();
    assert_eq!(
        devices.report(Device(1), &visit[..2]).await.ok()["accepted"],
        2
    );
    assert_eq!(
        devices.report(Device(1), &visit).await.ok(),
        json!({ "accepted": 2, "repeated": 2, "rejected": [] })
    );
    wait_acked(&world.receiver, 4, SOON).await;
    check_visits(&world.receiver, [Device(1)].into_iter());
    let received = world.receiver.all();
    let impression = received[1].event_id();
    assert_eq!(
        received[2].body["data"]["impression_event_id"], impression,
        "the purchase names its impression"
    );
    assert_eq!(
        received[1].body["attributes"]["subscription_id"],
        world.destination_id
    );
    let purchase = json!(world.key("receipt-1"));
    let keys = [0, 2].map(|place| received[place].body["data"]["collapse_key"].clone());
    assert_eq!(
        keys,
        [json!([purchase]), purchase],
        "the purchase is named, and its receipt is not"
    );
    let has_proof = |one: &Received| {
        ["receipt-1", "\"customer\""]
            .iter()
            .any(|proof| one.body.to_string().contains(proof))
    };
    assert!(!received.iter().any(has_proof), "{received:?}");
    let open = world
        .temporal
        .list("ExecutionStatus = 'Running' AND WorkflowType = 'purchase'")
        .await;
    assert!(
        open.is_empty(),
        "what a device reports starts no purchase: {open:?}"
    );
    world
        .receiver
        .check_no_duplicates()
        .expect("each event once");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_device_arrives_once_in_order_on_sqlite() {
    each_event_of_a_device_arrives_once_in_order(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_of_a_device_arrives_once_in_order_on_postgres() {
    each_event_of_a_device_arrives_once_in_order(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_endpoint_holds_events_back_in_their_order() {
    let world = world(Backend::Sqlite, &[]).await;
    let devices = Devices::of(&world).await;
    let path = format!("/v1/destinations/{}", world.destination_id);
    drop(
        world
            .api
            .call(
                Method::PATCH,
                &path,
                &json!({ "schedule": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1] }),
            )
            .await
            .ok(),
    );
    world.receiver.answer(Reply::Status(500));
    for number in 1..=5 {
        devices.visit(Device(number)).await;
    }
    let stream = format!("stream/{}", world.destination_id);
    let seen = wait::until(SOON, "an activity that waits", async || {
        let pending = world.temporal.pending_activities(&stream).await;
        let failure = pending.iter().find_map(|one| {
            one.last_failure
                .as_ref()
                .map(|failure| failure.message.clone())
        });
        failure.ok_or_else(|| format!("{pending:?}"))
    })
    .await;
    assert!(seen.contains("500"), "people see why: {seen}");
    world.receiver.answer(Reply::Status(200));
    wait_acked(&world.receiver, 20, SOON).await;
    check_visits(&world.receiver, (1..=5).map(Device));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_failed_comes_again_as_it_was() {
    const FAILED: usize = 2;
    let world = world(Backend::Sqlite, &[]).await;
    let path = format!("/v1/destinations/{}", world.destination_id);
    let batches = json!({ "device_batch": 10, "concurrency": 2, "enabled": false, "schedule": [1, 1, 1, 1, 1, 1] });
    let shown = world.api.call(Method::PATCH, &path, &batches).await.ok();
    assert_eq!(shown["device_batch"], 10);
    let devices = Devices::of(&world).await;
    for number in 1..=8 {
        devices.visit(Device(number)).await;
    }
    world.receiver.answer_next(FAILED, &Reply::Status(500));
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "enabled": true }))
            .await
            .ok(),
    );
    wait::until(SOON, "failed requests", async || {
        let failed = world
            .receiver
            .all()
            .iter()
            .filter(|one| !one.is_acked())
            .count();
        if failed == FAILED {
            Ok(())
        } else {
            Err(format!("{failed} of {FAILED}"))
        }
    })
    .await;
    // Later events of the same devices are in other requests.
    for number in 1..=8 {
        let device = Device(number);
        assert_eq!(
            devices
                .report(device, &[device.impression("later")])
                .await
                .ok()["accepted"],
            1
        );
    }
    wait_acked(&world.receiver, 40, SOON).await;
    let received = world.receiver.all();
    let sizes: Vec<usize> = received.iter().map(|one| one.bodies().len()).collect();
    assert!(
        received.iter().all(|one| one.body.is_array()),
        "one alone is an array too: {sizes:?}"
    );
    assert!(
        sizes.iter().all(|size| *size <= 10) && sizes.iter().any(|size| *size > 4),
        "{sizes:?}"
    );
    for failed in received.iter().filter(|one| !one.is_acked()) {
        let again = received
            .iter()
            .find(|one| one.is_acked() && one.webhook_id == failed.webhook_id);
        assert_eq!(again.expect("the same request again").raw, failed.raw);
    }
    let mut later = VISIT.to_vec();
    later.push("device.impression");
    for (device, events) in by_device(&world.receiver) {
        assert_eq!(
            events
                .iter()
                .map(|(kind, _)| kind.as_str())
                .collect::<Vec<_>>(),
            later,
            "{device}"
        );
    }
    world
        .receiver
        .check_no_duplicates()
        .expect("each event in one batch");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_a_page_of_devices_loses_nothing() {
    let mut world = world(
        Backend::Sqlite,
        &[("FAILPOINTS", "stream.after_send=1*return")],
    )
    .await;
    let path = format!("/v1/destinations/{}", world.destination_id);
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "enabled": false }))
            .await
            .ok(),
    );
    let devices = Devices::of(&world).await;
    for number in 1..=20 {
        devices.visit(Device(number)).await;
    }
    // The sweep starts the stream again.
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "enabled": true }))
            .await
            .ok(),
    );
    world.worker().wait_end().await;
    world.start_with(&[("FAILPOINTS", "")]).await;
    wait::until(REPEATED, "80 events", async || {
        let ids: BTreeSet<String> = by_device(&world.receiver)
            .into_values()
            .flatten()
            .map(|(_, id)| id)
            .collect();
        if ids.len() == 80 {
            Ok(())
        } else {
            Err(format!("{} of 80", ids.len()))
        }
    })
    .await;
    // Events that were sent but not recorded are sent again under the same `webhook-id`; `finish` checks that their
    // bytes are the same.
    let arrived = by_device(&world.receiver);
    assert_eq!(arrived.len(), 20);
    for (device, events) in arrived {
        let mut first: Vec<(String, String)> = Vec::new();
        for event in events {
            if !first.contains(&event) {
                first.push(event);
            }
        }
        assert_eq!(
            first
                .iter()
                .map(|(kind, _)| kind.as_str())
                .collect::<Vec<_>>(),
            VISIT,
            "{device}"
        );
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_devices_reach_amplitude_with_their_session() {
    const KEY: &str = "2b8c66f07e5d49a1b3e8d40fsandbox";
    let amplitude = Amplitude::start().await;
    amplitude.project(KEY, "c0ffee5eb7a94d21f36a8b9esecret");
    let world = world(
        Backend::Sqlite,
        &[("SETTLE_AMPLITUDE_ALLOWED_URLS", &amplitude.url())],
    )
    .await;
    let integration = json!({
        "kind": "amplitude", "name": "analytics", "endpoint": amplitude.url(), "sandbox_api_key": KEY,
        "user_id": "user_id", "events": ["device.impression", "device.transaction", "device.session.start"],
    });
    world.add(&integration).await;
    let devices = Devices::of(&world).await;
    for number in 1..=25 {
        devices.visit(Device(number)).await;
    }
    let counted = amplitude.wait_counted(KEY, 75, SOON).await;
    for event in counted.iter().map(|one| &one.event) {
        assert!(
            event["session_id"].is_i64() && event["device_id"].is_string(),
            "{event:?}"
        );
        assert!(
            event.get("user_id").is_none(),
            "nobody is logged in: {event:?}"
        );
        assert_eq!(
            (&event["os_name"], &event["app_version"]),
            (&json!("fireos"), &json!("3.1")),
            "{event:?}"
        );
        assert!(
            event.get("revenue").is_none(),
            "the purchase counts its revenue: {event:?}"
        );
        let properties = &event["event_properties"];
        let proofs = ["receipts", "purchase_guid", "app_user_id"]
            .iter()
            .filter_map(|name| properties.get(name));
        assert_eq!(proofs.count(), 0, "{event:?}");
        assert_eq!(
            properties.get("collapse_key").is_some(),
            event["event_type"] != "device.impression",
            "{event:?}"
        );
    }
    let impressions = counted
        .iter()
        .filter(|one| one.event["event_type"] == "device.impression");
    assert_eq!(
        impressions
            .map(|one| one.event["event_properties"]["paywall"].clone())
            .collect::<Vec<_>>(),
        vec![json!("summer"); 25]
    );
    let requests = amplitude.requests().len();
    assert!(
        requests < 40,
        "{requests} requests for 75 events: they go in batches"
    );
    wait_acked(&world.receiver, 100, SOON).await;
    world.finish().await;
    amplitude.check();
}

/// The server's setting by which it suggests to continue as new after 40 events.
const CONTINUE_AFTER: &str = "limit.historyCount.suggestContinueAsNew=40";

#[tokio::test(flavor = "multi_thread")]
async fn signals_to_a_stream_that_waits_do_not_fill_its_history() {
    let world = World::start(Setting {
        events: vec!["device.*".to_owned()],
        memory: Memory::Volatile,
        temporal: vec![CONTINUE_AFTER.to_owned()],
        ..Setting::default()
    })
    .await;
    // On a busy machine more than one attempt fails before the stream has a second run.
    world.set_schedule(&[5; 60]).await;
    world.receiver.answer(Reply::Status(500));
    Devices::of(&world).await.visit(Device(1)).await;
    let stream = format!("stream/{}", world.destination_id);
    wait::until(SOON, "a run that goes on as a new one", async || {
        world
            .temporal
            .signal(&stream, contract::PENDING, &json!({}))
            .await?;
        let runs = world.temporal.runs(&stream).await.len();
        if runs > 1 {
            Ok(())
        } else {
            Err(format!("{runs} runs"))
        }
    })
    .await;
    world.receiver.answer(Reply::Status(200));
    wait_acked(&world.receiver, VISIT.len(), SOON).await;
    check_visits(&world.receiver, [Device(1)].into_iter());
    world
        .receiver
        .check_no_duplicates()
        .expect("each event once");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_events_cost_the_engine_one_run() {
    const REQUESTS: u32 = 40;
    let amplitude = Amplitude::start().await;
    let key = "2b8c66f07e5d49a1b3e8d40fsandbox";
    amplitude.project(key, "c0ffee5eb7a94d21f36a8b9esecret");
    let world = World::start(Setting {
        events: vec!["purchase.updated".to_owned()],
        variables: vec![("SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(), amplitude.url())],
        ..Setting::default()
    })
    .await;
    let integration = json!({
        "kind": "amplitude", "name": "analytics", "endpoint": amplitude.url(), "sandbox_api_key": key,
        "events": ["device.impression"],
    });
    let id = world.add(&integration).await;
    let devices = Devices::of(&world).await;
    for number in 0..REQUESTS {
        let device = Device(number);
        let events: Vec<_> = (0..250)
            .map(|index| device.impression(&format!("e{index}")))
            .collect();
        assert_eq!(devices.report(device, &events).await.ok()["accepted"], 250);
    }
    amplitude
        .wait_counted(key, 10_000, Duration::from_secs(240))
        .await;
    let (runs, events) = world.temporal.history_size(&format!("stream/{id}")).await;
    println!("10,000 events of devices: {runs} run(s) with {events} events of history in all");
    assert_eq!(runs, 1);
    assert!(
        (1..=100).contains(&events),
        "{events} events of history for 10,000 events of devices"
    );
    amplitude.check();
    world.finish().await;
}
