//! A process that only serves detects within a minute what keeps the installation from working.

use super::edge::{Service, TOKEN};
use super::pages::visitor::Visitor;
use activities::engine::Polls;
use api::silence;
use commands::{polls, sweeping};
use futures::future::join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Returns the alarms of a kind, most recently raised first.
async fn alarms(service: &Service, kind: &str) -> Vec<Value> {
    let listed = service.get(&format!("/v1/alarms?kind={kind}")).await.body;
    listed["items"].as_array().expect("items").clone()
}

#[tokio::test]
async fn a_missing_worker_is_an_alarm_and_on_the_first_screen() {
    let service = Service::start("no-worker").await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let began = Instant::now();
    let mut watch = polls::Watch::new(service.edge.workers.clone());
    let mut step = async |polls: Option<Polls>, seconds: u64| {
        watch
            .step(polls, began + Duration::from_secs(seconds), &service.store)
            .await;
        service.get("/readyz").await.body["workers"].clone()
    };
    let seen = |workers: usize, last_at: Option<i64>| Some(Polls { workers, last_at });
    assert_eq!(step(seen(0, None), 10).await, Value::Null, "it may start");
    assert_eq!(step(seen(1, Some(1_000)), 20).await, 1);
    assert_eq!(step(seen(1, Some(1_000)), 80).await, 1);
    assert_eq!(alarms(&service, "no_worker").await, Vec::<Value>::new());
    assert_eq!(
        step(seen(1, Some(1_000)), 85).await,
        0,
        "Temporal lists a worker that died"
    );
    assert_eq!(step(seen(1, Some(1_000)), 90).await, 0);
    let raised = alarms(&service, "no_worker").await;
    assert_eq!(
        (
            raised.len(),
            &raised[0]["count"],
            &raised[0]["acknowledged_at"]
        ),
        (1, &json!(1), &Value::Null)
    );
    let home = visitor.get(&service, "/ui/").await.text;
    assert!(home.contains("No worker is running"), "{home}");
    assert_eq!(
        step(None, 95).await,
        Value::Null,
        "Temporal does not answer, and that is what is wrong"
    );
    assert_eq!(
        alarms(&service, "no_worker").await[0]["acknowledged_at"],
        Value::Null
    );
    assert_eq!(step(seen(1, Some(1_075)), 100).await, 1);
    assert_eq!(
        alarms(&service, "no_worker").await[0]["acknowledged_by"],
        "settle",
        "it closes itself"
    );
    let home = visitor.get(&service, "/ui/").await.text;
    assert!(!home.contains("No worker is running"), "{home}");
}

#[tokio::test]
async fn late_sweeps_are_an_alarm_also_while_temporal_does_not_answer() {
    let service = Service::start("late-sweep").await;
    let mut watch = sweeping::Watch::default();
    let late = watch.late();
    let before = "UPDATE installation SET created_at = created_at - 360000000";
    service.raw(before);
    watch.step(&service.store, None).await.expect("a step");
    assert!(!late.is_late(), "a machine may have slept");
    assert_eq!(alarms(&service, "sweep").await, Vec::<Value>::new());
    for _ in 0..2 {
        watch.step(&service.store, None).await.expect("a step");
    }
    // Another process detects it too.
    let mut other = sweeping::Watch::default();
    for _ in 0..2 {
        other.step(&service.store, None).await.expect("a step");
    }
    let raised = alarms(&service, "sweep").await;
    assert_eq!(
        (raised.len(), &raised[0]["count"]),
        (1, &json!(1)),
        "{raised:?}"
    );
    assert!(late.is_late(), "emails leave from this process");
    service.store.sweep_finished().await.expect("a sweep");
    watch.step(&service.store, None).await.expect("a step");
    assert!(!late.is_late());
    assert_eq!(
        alarms(&service, "sweep").await[0]["acknowledged_by"],
        "settle",
        "it closes itself"
    );
}

#[tokio::test]
async fn a_silent_store_is_an_alarm_and_on_the_first_screen() {
    let service = Service::start("silent-store").await;
    let (_, platform) = service.platform().await;
    service.seed(&["r1", "r2", "r3"]).await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let fails_for = async |seconds: i64| {
        let since = service
            .store
            .now()
            .await
            .expect("the time")
            .plus_millis(-1000 * seconds)
            .micros();
        service.raw(&format!(
            "UPDATE purchases SET waits_through = 1, unverified_since = {since}, unverified_because = 'HTTP 500'
            WHERE receipt_id <> 'r3'"
        ));
    };
    let mut watch = silence::Watch::default();
    let mut step = async || watch.step(&service.store).await.expect("a step");
    fails_for(20).await;
    step().await;
    assert_eq!(
        alarms(&service, "store_silent").await,
        Vec::<Value>::new(),
        "the first retries"
    );
    fails_for(40).await;
    step().await;
    step().await;
    // Another process starts its check.
    silence::Watch::default()
        .step(&service.store)
        .await
        .expect("a step");
    let raised = alarms(&service, "store_silent").await;
    assert_eq!(
        (raised.len(), &raised[0]["count"]),
        (1, &json!(1)),
        "{raised:?}"
    );
    assert_eq!(raised[0]["platform_id"], platform.to_string());
    let found = service.get("/v1/overview").await.body;
    let silent = &found["silent_stores"][0];
    assert_eq!(
        [&silent["store"], &silent["because"]],
        ["amazon", "HTTP 500"],
        "{found}"
    );
    assert_eq!([&silent["purchases"], &found["waiting"]], [2, 2], "{found}");
    let home = visitor.get(&service, "/ui/").await.text;
    assert!(
        home.contains("Amazon has not answered since <time") && home.contains("2 purchases wait."),
        "{home}"
    );
    let waits = storage::VERIFICATION_WAITS;
    service
        .store
        .alarm(Some(platform), waits, storage::STORE_SILENT)
        .await
        .expect("an alarm");
    service.raw("UPDATE purchases SET unverified_since = NULL");
    silence::Watch::default()
        .step(&service.store)
        .await
        .expect("a step");
    assert_eq!(
        alarms(&service, "store_silent").await[0]["acknowledged_by"],
        "settle",
        "it closes itself"
    );
    let closed = alarms(&service, waits).await;
    assert_eq!(
        [&closed[0]["acknowledged_by"], &closed[0]["detail"]],
        [&json!("settle"), &raised[0]["detail"]],
        "both alarms of an outage say the same"
    );
}

/// A view of endless device events: a statement that reads them ends at its time limit.
const ENDLESS_EVENTS: &str = "
    ALTER TABLE device_events RENAME TO device_events_before;
    CREATE VIEW device_events AS
        WITH RECURSIVE numbers(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers)
        SELECT i AS seq, i AS id, i AS event_type, i AS platform_id, i AS device_id, i AS client_id, i AS session_id,
            i AS environment, i AS occurred_at, i AS created_at
        FROM numbers
";

/// On SQLite, with twice as many slow lists as reading connections.
#[tokio::test]
async fn slow_lists_hold_up_no_health_check() {
    let service = Service::start("slow-lists").await;
    let before = service.get("/readyz").await.status;
    service.raw(ENDLESS_EVENTS);
    let lists = join_all((0..12).map(|_| service.get("/v1/device-events")));
    tokio::pin!(lists);
    let ready = tokio::select! {
        biased;
        lists = &mut lists => panic!("{} lists came first", lists.len()),
        ready = service.get("/readyz") => ready.status,
    };
    assert_eq!(ready, before);
    assert!(
        lists.await.iter().all(|list| list.status == 503),
        "they end at their time limit"
    );
}
