//! `sweep-load` measures the sweep's work in a database with millions of sleeping purchases, many of which are due.
//!
//! ```sh
//! cargo build --workspace && target/debug/sweep-load
//! ```
//!
//! Each second it takes a step like the activity `sweep`, and settles the found purchases at once. In the middle, a
//! customer is named.

use clap::Parser;
use std::fmt::Write;
use std::time::Duration;
use storage::{
    Config, Database, Key, NewPlatform, Owner, Platform, PlatformSettings, Quota, SecretString,
    Store,
};
use system_tests::folder::Folder;
use system_tests::postgres::{self, Fsync};
use system_tests::raw::Raw;
use system_tests::rows;
use tokio::time::{Instant, sleep_until};

const STEP: Duration = Duration::from_secs(1);
/// Maximum duration of a step that finds nothing: one that read every sleeping purchase would take seconds.
const LONGEST_IDLE: Duration = Duration::from_millis(250);
/// The receipt of the customer who is named.
const NAMED: &str = "named";
/// A wake in the far future, in microseconds since 1970.
const LATER: i64 = 4_102_444_800_000_000;

/// Measures the sweep in a large database.
#[derive(Debug, Parser)]
struct Options {
    /// Number of purchases whose next wake is far ahead.
    #[arg(long, default_value_t = 2_000_000)]
    sleeping: u64,
    /// Number of purchases whose next wake has passed.
    #[arg(long, default_value_t = 100_000)]
    due: u64,
    /// `amazon.rvs_per_second`: the calendar uses four fifths of it.
    #[arg(long, default_value_t = 1_000)]
    per_second: i64,
    /// Uses PostgreSQL in place of SQLite.
    #[arg(long)]
    postgres: bool,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let options = Options::parse();
    let folder = Folder::new("sweep-load");
    let database = if options.postgres {
        Database::Postgres(
            tokio::task::spawn_blocking(|| postgres::migrated(Fsync::Off))
                .await
                .expect("a thread")
                .expect("PostgreSQL"),
        )
    } else {
        Database::Sqlite(folder.path().join("settle.db"))
    };
    let config = Config {
        database: database.clone(),
        key: Key::new([1; 32]),
        clock: api::clock::now,
    };
    let store = Store::open(config).await.expect("an empty database");
    let mut raw = Raw::of(&database);
    let platform = platform(&store).await;
    let began = Instant::now();
    seed(
        &mut raw,
        &platform,
        &Seed {
            name: "sleeping",
            count: options.sleeping,
            wake: LATER,
        },
    );
    report(
        "idle step, all asleep",
        vec![idle(&store).await, idle(&store).await, idle(&store).await],
    );
    seed(
        &mut raw,
        &platform,
        &Seed {
            name: "due",
            count: options.due,
            wake: 5,
        },
    );
    raw.run("ANALYZE");
    println!(
        "{} sleeping and {} due purchases after {:.0?}",
        options.sleeping,
        options.due,
        began.elapsed()
    );
    drain(&options, &store, &mut raw, &platform).await;
    report(
        "idle step, all drained",
        vec![idle(&store).await, idle(&store).await, idle(&store).await],
    );
}

async fn platform(store: &Store) -> Platform {
    let app = store.new_app("Acme").await.expect("an app");
    let platform = NewPlatform {
        app_id: app.id,
        store: "amazon".to_owned(),
        settings: PlatformSettings::new("Amazon", "com.acme", 120_000),
        shared_secret: Some(SecretString::from("shared-secret-of-the-platform")),
        topic_arn: None,
        ingress_key: "key".into(),
        publishable_key: "pk_test".to_owned(),
        of_store: Default::default(),
    };
    store.new_platform(platform).await.expect("a platform")
}

struct Seed {
    name: &'static str,
    count: u64,
    /// Next wake of the inserted purchases, in microseconds since 1970.
    wake: i64,
}

fn seed(raw: &mut Raw, platform: &Platform, Seed { name, count, wake }: &Seed) {
    let prefix = if *wake == LATER { "0001" } else { "0002" };
    let key = format!("'00000000-0000-0000-{prefix}-' || (100000000000 + i)");
    let purchases = rows::purchases(platform.id, platform.app_id)
        .numbered(1, count)
        .sql("collapse_key", key);
    let purchases = purchases
        .sql("receipt_id", format!("'{name}' || i"))
        .sql("next_wake_at", wake);
    raw.run(&purchases);
}

/// Returns the duration of a step that finds nothing, including the inbox's age, which each scrape of `/metrics` reads.
async fn idle(store: &Store) -> Duration {
    let began = Instant::now();
    let found = store
        .overdue(Quota::of(50))
        .await
        .expect("a step")
        .found
        .len();
    store.inbox_age().await.expect("the age of the inbox");
    assert_eq!(found, 0, "nothing is due");
    let elapsed = began.elapsed();
    assert!(
        elapsed <= LONGEST_IDLE,
        "a step that finds nothing took {elapsed:?}, above {LONGEST_IDLE:?}"
    );
    elapsed
}

/// Drains the due purchases at four fifths of the rate, and names a customer in the middle.
async fn drain(options: &Options, store: &Store, raw: &mut Raw, platform: &Platform) {
    let quota = Quota {
        per_store: options.per_second * 4 / 5,
        unfollowed: options.per_second * 8,
        others: 50,
    };
    let due = usize::try_from(options.due).unwrap_or(usize::MAX);
    let (began, mut steps, mut woken) = (Instant::now(), Vec::new(), 0);
    let (mut named_at, mut named_after) = (None, None);
    while woken < due + 1 {
        if named_at.is_none() && woken >= due / 2 {
            name(raw, platform);
            let owner = Owner::AppUser("customer".to_owned());
            store
                .name_customer(platform.app_id, owner, "anna", None)
                .await
                .expect("a name");
            named_at = Some(Instant::now());
        }
        let step = Instant::now();
        let found = store.overdue(quota).await.expect("a step");
        let keys: Vec<_> = found.found.iter().map(|due| due.collapse_key).collect();
        store
            .note_woken(found.clone(), found.found)
            .await
            .expect("a note");
        steps.push(step.elapsed());
        assert!(!keys.is_empty(), "{woken} of {due} were found");
        woken += keys.len();
        let named = domain::CollapseKey::of(platform.id, NAMED);
        if let Some(at) = named_at.filter(|_| named_after.is_none() && keys.contains(&named)) {
            named_after = Some(at.elapsed());
        }
        let settled = keys.iter().fold(String::new(), |mut list, key| {
            let _ = write!(list, "{}'{key}'", if list.is_empty() { "" } else { ", " });
            list
        });
        raw.run(&format!(
            "UPDATE purchases SET next_wake_at = {LATER}, urgency = 'calendar' WHERE collapse_key IN ({settled})"
        ));
        sleep_until(step + STEP).await;
    }
    let took = began.elapsed().as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a number of purchases")]
    let rate = woken as f64 / took;
    println!(
        "drained {woken} in {took:.0} s: {rate:.0}/s; allowed: {}/s",
        quota.per_store
    );
    println!(
        "the customer was named while half was due, and found after {:.1?}",
        named_after.expect("found")
    );
    report("step that finds a full quota", steps);
}

/// Inserts the purchase of the customer who is named later.
fn name(raw: &mut Raw, platform: &Platform) {
    let (app, id, key) = (
        platform.app_id,
        platform.id,
        domain::CollapseKey::of(platform.id, NAMED),
    );
    let user = "11111111-1111-4111-8111-111111111111";
    let purchase = rows::purchases(id, app)
        .text("collapse_key", key)
        .text("receipt_id", NAMED);
    for statement in [
        format!(
            "INSERT INTO users (id, app_id, revision, created_at) VALUES ('{user}', '{app}', 0, 1)"
        ),
        format!(
            "INSERT INTO store_users (app_id, store, app_user_id, user_id)
             VALUES ('{app}', 'amazon', 'customer', '{user}')"
        ),
        purchase
            .text("app_user_id", "customer")
            .text("user_id", user)
            .sql("next_wake_at", LATER)
            .to_string(),
    ] {
        raw.run(&statement);
    }
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| {
        times
            .get((times.len() * part / 100).min(times.len() - 1))
            .copied()
            .unwrap_or_default()
    };
    println!(
        "{what}: p50 {:.1?}, p99 {:.1?}, worst {:.1?}",
        at(50),
        at(99),
        at(100)
    );
}
