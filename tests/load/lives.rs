//! `lives-load` measures settle's storage with millions of sleeping purchases: a thousand purchases are accepted,
//! settled and delivered, their bodies are removed like after the retention period, and their rows are multiplied in
//! SQL under other ids. It fails if the check finds a violation afterwards, or if a sweep's step that finds nothing
//! takes over 250 ms.
//!
//! ```sh
//! cargo build --release --workspace && target/release/lives-load
//! ```
//!
//! Prints the same measurements before and after, so that their ratio comes from one run.

mod life;
mod multiplied;
mod purchase;

use clap::Parser;
use domain::{DestinationId, PlatformId};
use life::Life;
use std::time::Duration;
use storage::{Database, Page, Quota, Store};
use system_tests::folder::Folder;
use system_tests::postgres::{self, Fsync};
use system_tests::raw::Raw;
use tokio::time::Instant;

/// Maximum duration of a step that finds nothing: one that read every sleeping purchase would take seconds.
const LONGEST_IDLE: Duration = Duration::from_millis(250);
/// Number of purchases for which the storage's time is measured.
const MEASURED: usize = 200;
/// Number of rows per page of the check.
const CHECKED: i64 = 1_000;

/// Measures the storage beside sleeping purchases.
#[derive(Debug, Parser)]
struct Options {
    /// Purchases that live.
    #[arg(long, default_value_t = 1_000)]
    lives: usize,
    /// Sleeping purchases in the end.
    #[arg(long, default_value_t = 2_000_000)]
    purchases: usize,
    /// Settlings of each, with one notification and two events.
    #[arg(long, default_value_t = 1)]
    settlings: usize,
    /// Uses PostgreSQL in place of SQLite.
    #[arg(long)]
    postgres: bool,
}

/// Measurements taken before and after.
struct Measured {
    /// Median time to accept, settle and deliver a purchase, one at a time.
    purchase: Duration,
    /// Median time of a step of the sweep that finds nothing.
    idle: Duration,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let folder = Folder::new("lives-load");
    let database = if options.postgres {
        Database::Postgres(tokio::task::spawn_blocking(|| postgres::migrated(Fsync::Off)).await??)
    } else {
        Database::Sqlite(folder.path().join("settle.db"))
    };
    let store = purchase::open(database.clone()).await?;
    let (platform, webhooks) = purchase::installation(&store, 1).await?;
    let webhook = webhooks[0];
    anyhow::ensure!(
        options.lives > MEASURED,
        "at least {} purchases must live",
        MEASURED + 1
    );
    // The measured purchases are part of the lives.
    let purchases = options.lives - MEASURED;
    let life = Life {
        purchases,
        settlings: options.settlings,
        notifications: 1,
    };
    life.live(&store, platform, webhook).await?;
    let before = measure(&store, platform, webhook, purchases).await?;
    life::prune_all(&store).await?;
    let (mut raw, began) = (Raw::of(&database), Instant::now());
    let copies = options.purchases.div_ceil(options.lives);
    let counts = multiplied::multiply(&mut raw, copies)?;
    println!(
        "{} purchases after {:.0?}: {counts}",
        copies * options.lives,
        began.elapsed()
    );
    let after = measure(&store, platform, webhook, options.lives).await?;
    let [purchase, idle] =
        [(before.purchase, after.purchase), (before.idle, after.idle)].map(|(before, after)| {
            format!(
                "{before:.1?} before, {after:.1?} after, {:.2} times",
                ratio(before, after)
            )
        });
    println!("a purchase, accepted, settled and delivered: {purchase}");
    println!("a sweep's step that finds nothing: {idle}");
    check(&store).await
}

fn ratio(before: Duration, after: Duration) -> f64 {
    after.as_secs_f64() / before.as_secs_f64()
}

async fn measure(
    store: &Store,
    platform: PlatformId,
    webhook: DestinationId,
    first: usize,
) -> anyhow::Result<Measured> {
    let life = Life {
        purchases: MEASURED,
        settlings: 1,
        notifications: 1,
    };
    let (mut purchases, mut idles) = (Vec::new(), Vec::new());
    for number in first..first + MEASURED {
        let began = Instant::now();
        life.one(store, platform, webhook, number).await?;
        purchases.push(began.elapsed());
    }
    for _ in 0..10 {
        let began = Instant::now();
        let found = store.overdue(Quota::of(50)).await?.found.len();
        store.inbox_age().await?;
        anyhow::ensure!(found == 0, "{found} purchases are due");
        anyhow::ensure!(
            began.elapsed() <= LONGEST_IDLE,
            "a step that finds nothing took {:?}",
            began.elapsed()
        );
        idles.push(began.elapsed());
    }
    Ok(Measured {
        purchase: median(purchases),
        idle: median(idles),
    })
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Checks every rule on every row.
async fn check(store: &Store) -> anyhow::Result<()> {
    let (mut page, mut rows, began) = (
        Page {
            cursor: None,
            limit: CHECKED,
        },
        0,
        Instant::now(),
    );
    loop {
        let checked = store.check(page).await?;
        rows += checked.checked;
        anyhow::ensure!(checked.broken.is_empty(), "{:#?}", checked.broken);
        let Some(cursor) = checked.next_cursor else {
            break;
        };
        page = Page {
            cursor: Some(cursor),
            limit: CHECKED,
        };
    }
    println!(
        "the check found nothing in {rows} rows, in {:.0?}",
        began.elapsed()
    );
    Ok(())
}
