//! The main path: several notifications in, one event out.

use system_tests::process::Backend;
use system_tests::world::{Setting, World};

async fn a_burst_becomes_one_event(backend: Backend) {
    let mut world = World::start(Setting {
        backend,
        ..Setting::default()
    })
    .await;
    world.send("SUBSCRIPTION_PURCHASED", "receipt-1").await;
    world
        .send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "receipt-1")
        .await;
    let last = world
        .send("SUBSCRIPTION_AUTO_RENEWAL_ON", "receipt-1")
        .await;
    world.settle("receipt-1", &last).await;
    let received = world.wait_received("receipt-1", 1).await;
    assert_eq!(received.len(), 1, "one event");
    assert_eq!(
        received
            .first()
            .map(|request| request.body["attributes"]["coalesced"].as_i64()),
        Some(Some(3))
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_becomes_one_event_on_sqlite() {
    a_burst_becomes_one_event(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_becomes_one_event_on_postgres() {
    a_burst_becomes_one_event(Backend::Postgres).await;
}
