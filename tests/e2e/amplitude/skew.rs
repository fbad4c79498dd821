//! Processes whose clock differs from the database's.

use super::{KEY, SECRET_KEY, integrate};
use domain::Timestamp;
use serde_json::json;
use system_tests::amplitude::{Amplitude, Fault};
use system_tests::clock::Clock;
use system_tests::process::Backend;
use system_tests::world::{Setting, World};

/// Longer than the time after which an event is no longer sent.
const AHEAD_MS: i64 = 8 * 86_400_000;
const PURCHASED: &str = "user.subscription.purchased";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_again_by_a_worker_whose_clock_is_days_ahead() {
    let amplitude = Amplitude::start().await;
    amplitude.project(KEY, SECRET_KEY);
    let now = api::clock::now();
    let ahead = Clock::new(now.plus_millis(AHEAD_MS));
    let variables = [
        ("SETTLE_AMPLITUDE_ALLOWED_URLS", amplitude.url()),
        ("FAILPOINTS", ahead.fail_point()),
    ];
    let variables = variables
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        environment: "production",
        ..Setting::default()
    };
    let mut world = World::start(Setting {
        variables,
        ..setting
    })
    .await;
    world.receiver.ignore_time();
    let more = json!({ "events": [PURCHASED], "sandbox_api_key": null });
    let id = integrate(&world, &amplitude, &more).await;
    amplitude.script([Fault::Status(500)]);
    world.send("SUBSCRIPTION_PURCHASED", "ahead").await;
    let delivery = world
        .wait_delivery(&id, "ahead", PURCHASED, "delivered")
        .await;
    assert_eq!(amplitude.requests().len(), 2);
    let path = format!(
        "/v1/deliveries/{}/attempts",
        delivery["id"].as_str().unwrap_or_default()
    );
    for attempt in world.api.all(&path).await {
        let began: Timestamp = attempt["started_at"]
            .as_str()
            .unwrap_or_default()
            .parse()
            .expect("a time");
        assert!(
            began.millis_since(now) < AHEAD_MS / 2,
            "what is kept goes by the database: {attempt}"
        );
    }
    world.finish().await;
}
