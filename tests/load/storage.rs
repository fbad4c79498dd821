//! `storage-load` measures how many purchases per second one worker and two workers get through the storage calls load,
//! record, lease and finish, on a PostgreSQL whose round trips take an additional millisecond, with one notification
//! and one webhook each.
//!
//! ```sh
//! cargo build --release --workspace && target/release/storage-load
//! ```
//!
//! The server, the delaying proxy and the workers share this machine's cores. Rounds with one worker and with two
//! alternate. A worker is a store with its own connections.

mod purchase;

use clap::Parser;
use domain::{CollapseKey, DestinationId, PlatformId};
use std::sync::Arc;
use std::time::Duration;
use storage::{Database, Handling, Store};
use system_tests::distance::Distance;
use system_tests::postgres::{self, Fsync};
use tokio::time::Instant;

/// Maximum number of round trips for a purchase with one webhook.
const MOST_TRIPS: f64 = 30.0;

/// Measures the storage calls of workers.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds of one worker and of two.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Purchases in a round, of each worker.
    #[arg(long, default_value_t = 3_000)]
    purchases: usize,
    /// Purchases that a worker settles at once.
    #[arg(long, default_value_t = 100)]
    at_once: usize,
    /// How long a round trip takes more by the proxy, in microseconds.
    #[arg(long, default_value_t = 1_000)]
    round_trip: u64,
    /// Webhooks of each purchase.
    #[arg(long, default_value_t = 1)]
    webhooks: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let url = tokio::task::spawn_blocking(|| postgres::migrated(Fsync::Off)).await??;
    let (distance, far) =
        Distance::before_url(&url, Duration::from_micros(options.round_trip / 2))?;
    let near = open(&url).await?;
    let (platform, webhooks) = purchase::installation(&near, options.webhooks).await?;
    let workers = [open(&far).await?, open(&far).await?];
    for round in 0..options.rounds {
        for count in [1, 2] {
            let mut keys = Vec::new();
            for worker in 0..count {
                keys.push(
                    accept(
                        &near,
                        platform,
                        &format!("{round}-{count}-{worker}"),
                        options.purchases,
                    )
                    .await?,
                );
            }
            let (began, trips) = (Instant::now(), distance.trips());
            let running: Vec<_> = keys
                .into_iter()
                .zip(&workers)
                .map(|(keys, store)| {
                    tokio::spawn(work(store.clone(), keys, webhooks.clone(), options.at_once))
                })
                .collect();
            for worker in running {
                worker.await??;
            }
            let purchases = f64::from(u32::try_from(count * options.purchases)?);
            let trips = f64::from(u32::try_from(distance.trips() - trips)?) / purchases;
            let rate = purchases / began.elapsed().as_secs_f64();
            println!(
                "round {round}: {count} workers, {rate:.0} purchases/s, {trips:.1} round trips each"
            );
            anyhow::ensure!(
                trips <= MOST_TRIPS,
                "{trips:.1} round trips for each purchase, above {MOST_TRIPS}"
            );
        }
    }
    Ok(())
}

async fn open(url: &str) -> anyhow::Result<Store> {
    purchase::open(Database::Postgres(url.to_owned())).await
}

/// Accepts one notification for each of `count` purchases by different users.
async fn accept(
    store: &Store,
    platform: PlatformId,
    name: &str,
    count: usize,
) -> anyhow::Result<Vec<CollapseKey>> {
    let receipts: Vec<String> = (0..count)
        .map(|number| format!("{name}-{number}"))
        .collect();
    let mut notifications = Vec::new();
    for receipt in &receipts {
        let mut notification = purchase::notification(
            platform,
            receipt,
            receipt,
            &format!("customer-{receipt}"),
            1,
        );
        notification.handling = Handling::AtOnce;
        notifications.push(notification);
    }
    store.accept(notifications).await?;
    Ok(receipts
        .iter()
        .map(|receipt| CollapseKey::of(platform, receipt))
        .collect())
}

/// Settles purchases and delivers their events, `at_once` of them concurrently.
async fn work(
    store: Store,
    keys: Vec<CollapseKey>,
    webhooks: Vec<DestinationId>,
    at_once: usize,
) -> anyhow::Result<()> {
    let keys = Arc::new(std::sync::Mutex::new(keys));
    let running: Vec<_> = (0..at_once)
        .map(|_| {
            let (store, keys, webhooks) = (store.clone(), keys.clone(), webhooks.clone());
            tokio::spawn(async move {
                loop {
                    let next = keys
                        .lock()
                        .map_err(|_| anyhow::anyhow!("a task failed"))?
                        .pop();
                    let Some(key) = next else {
                        return anyhow::Ok(());
                    };
                    let loaded = store.load(key, 0, 100).await?;
                    purchase::settle(&store, purchase::record(key, &loaded)).await?;
                    for webhook in &webhooks {
                        purchase::deliver(&store, key, *webhook).await?;
                    }
                }
            })
        })
        .collect();
    for task in running {
        task.await??;
    }
    Ok(())
}
