//! PostgreSQL fails over or restarts while a store sends: settle's processes continue at the primary without a restart,
//! and nothing that was answered 200 is lost.

use std::time::Duration;
use system_tests::postgres::Fsync;
use system_tests::postgres_pair::{Pair, Side};
use system_tests::process::Backend;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{Setting, World};

/// How long settle may take to accept messages again after an outage. Amazon repeats a message for a minute.
const ACCEPTING_AGAIN: Duration = Duration::from_secs(10);
/// Number of purchases before the change, and after it.
const PURCHASES: usize = 8;

/// Starts both servers, and processes with a URL that names this one first.
async fn start(first: Side) -> (World, Pair) {
    let pair = tokio::task::spawn_blocking(|| Pair::start(Fsync::Off))
        .await
        .unwrap()
        .unwrap();
    let variables = vec![("SETTLE_DATABASE".to_owned(), pair.url(first))];
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 2,
        variables,
        ..Setting::default()
    };
    (World::start(setting).await, pair)
}

/// Posts a message of each purchase repeatedly, like a store, until it is accepted.
async fn send(world: &mut World, name: &str) -> Vec<(String, String)> {
    let mut sent = Vec::new();
    for number in 0..PURCHASES {
        let receipt = format!("{name}-{number}");
        let message = world
            .sns
            .notification(&Rtn::new("SUBSCRIPTION_PURCHASED", &receipt));
        wait::until(ACCEPTING_AGAIN, "a 200", async || {
            match world.post(&message).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        sent.push((message.id, receipt));
    }
    sent
}

async fn arrive(world: &World, sent: &[(String, String)]) {
    for (message_id, receipt) in sent {
        world.wait_outcome(message_id).await;
        world.wait_acked(receipt, 1).await;
    }
}

/// Changes the servers while windows are open and deliveries in flight, and checks that everything continues.
async fn goes_on(first: Side, change: fn(&Pair) -> anyhow::Result<()>) -> Pair {
    let (mut world, pair) = start(first).await;
    let settled = send(&mut world, "settled").await;
    arrive(&world, &settled).await;
    let under_way = send(&mut world, "under-way").await;
    let (changed, pair) = tokio::task::spawn_blocking(move || (change(&pair), pair))
        .await
        .unwrap();
    changed.unwrap();
    let after = send(&mut world, "after").await;
    for sent in [&under_way, &after] {
        arrive(&world, sent).await;
    }
    world.finish().await;
    pair
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_restarts_behind_a_standby_is_found_again() {
    goes_on(Side::Standby, Pair::restart).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_turns_read_only_and_stays_reachable_is_left() {
    let pair = goes_on(Side::Primary, Pair::fail_over).await;
    let count = "SELECT COUNT(*) AS value FROM notifications WHERE outcome IS NOT NULL";
    let settled = tokio::task::spawn_blocking(move || pair.number(Side::Standby, count))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        settled,
        i64::try_from(3 * PURCHASES).unwrap(),
        "at the new primary"
    );
}
