//! Sessions that work but are the wrong ones: to a standby, to a primary that has become read-only, and with statements
//! prepared before a schema change. Each is replaced without a restart.

use super::world::{World, renewal};
use domain::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{Error, Store};
use system_tests::postgres::{self, Fsync};
use system_tests::postgres_pair::{Pair, Side};
use system_tests::wait;
use system_tests::world::SOON;

/// How long settle may take to accept messages again after an outage. Amazon repeats a message for a minute.
const ACCEPTING_AGAIN: Duration = Duration::from_secs(10);

static NOW: AtomicI64 = AtomicI64::new(super::world::BEGINNING);

async fn world(url: String) -> World {
    World::on_url(
        url,
        || Timestamp::from_micros(NOW.load(Ordering::SeqCst)),
        &NOW,
    )
    .await
}

/// Starts both servers, and opens a store with a URL that names this one first.
async fn pair(first: Side) -> (World, Pair) {
    let pair = tokio::task::spawn_blocking(|| Pair::start(Fsync::Off))
        .await
        .unwrap()
        .unwrap();
    let world = world(pair.url(first)).await;
    (world, pair)
}

/// Runs blocking work with the pair.
async fn of<T: Send + 'static>(pair: Pair, work: fn(&Pair) -> anyhow::Result<T>) -> (T, Pair) {
    let done = tokio::task::spawn_blocking(move || (work(&pair), pair))
        .await
        .unwrap();
    (done.0.unwrap(), done.1)
}

/// Posts a message repeatedly, like a store, until it is accepted.
async fn accept_again(world: &World, message_id: &str) {
    let notification = renewal(world.platform.id, message_id, "r1", 2);
    wait::until(ACCEPTING_AGAIN, "an acceptance", async || {
        world
            .store
            .accept(vec![notification.clone()])
            .await
            .map(drop)
            .map_err(|error| format!("{error:?}"))
    })
    .await;
}

/// Returns the numbers of stored notifications of these messages, reading each again until the read succeeds.
async fn stored(store: &Store, message_ids: &[&str]) -> Vec<usize> {
    let mut counts = Vec::new();
    for message_id in message_ids {
        let found = wait::until(SOON, "a read", async || {
            store
                .notifications_of(message_id)
                .await
                .map_err(|error| format!("{error:?}"))
        })
        .await;
        counts.push(found.len());
    }
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_that_is_named_first_gets_no_session() {
    let (world, pair) = pair(Side::Standby).await;
    world.notify("before", "r1", 1).await;
    world.settle(world.key("r1")).await;
    world.store.ping().await.unwrap();
    assert_eq!(stored(&world.store, &["before"]).await, [1]);
    let ((), pair) = of(pair, Pair::restart).await;
    accept_again(&world, "after").await;
    world.settle(world.key("r1")).await;
    assert_eq!(stored(&world.store, &["before", "after"]).await, [1, 1]);
    let (sessions, _pair) = of(pair, |pair| {
        Ok([pair.sessions(Side::Standby)?, pair.sessions(Side::Primary)?])
    })
    .await;
    assert!(sessions[0] == 0 && sessions[1] > 0, "{sessions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_leave_a_reachable_primary_that_turns_read_only() {
    let (world, pair) = pair(Side::Primary).await;
    world.notify("before", "r1", 1).await;
    world.settle(world.key("r1")).await;
    assert_eq!(stored(&world.store, &["before"]).await, [1]);
    let ((), pair) = of(pair, Pair::fail_over).await;
    accept_again(&world, "after").await;
    wait::until(
        ACCEPTING_AGAIN,
        "a reader that sees it",
        async || match stored(&world.store, &["before", "after"]).await[..] {
            [1, 1] => Ok(()),
            ref other => Err(format!("{other:?}")),
        },
    )
    .await;
    world.settle(world.key("r1")).await;
    world.store.ping().await.unwrap();
    let written = |pair: &Pair| {
        let count = "SELECT COUNT(*) AS value FROM notifications WHERE outcome IS NOT NULL";
        Ok([
            pair.number(Side::Primary, count)?,
            pair.number(Side::Standby, count)?,
        ])
    };
    let (settled, _pair) = of(pair, written).await;
    assert_eq!(settled, [1, 2], "by the old primary and by the new one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_only_server_is_named_as_the_reason() {
    let (world, pair) = pair(Side::Primary).await;
    let mut config = world.config.clone();
    config.database = storage::Database::Postgres(pair.url_of(Side::Standby));
    let error = Store::open(config).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable(_)), "{error:?}");
    assert!(
        format!("{error:?}").contains("the server accepts no writes: it is a standby"),
        "{error:?}"
    );
}

/// A migration of a newer release may change a column's type while older processes run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prepared_statement_of_older_tables_fails_once() {
    let url = tokio::task::spawn_blocking(|| postgres::migrated(Fsync::Off))
        .await
        .unwrap()
        .unwrap();
    let world = world(url).await;
    let platform = world.platform.id;
    world.store.topics(platform).await.unwrap();
    world.notify("m1", "r1", 1).await;
    world
        .raw()
        .run("ALTER TABLE topics ALTER COLUMN arn TYPE VARCHAR");
    let error = world.store.topics(platform).await.unwrap_err();
    assert!(
        format!("{error:?}").contains("cached plan must not change result type"),
        "{error:?}"
    );
    world
        .store
        .topics(platform)
        .await
        .expect("another session prepares it anew");
}
