//! `size-load` measures the size of a purchase in bytes, by table and index, on SQLite and on PostgreSQL. It fails
//! above the limits in `activities/storage/README.md`.
//!
//! ```sh
//! cargo build --release --workspace && target/release/size-load
//! ```

mod life;
mod purchase;

use clap::Parser;
use life::Life;
use std::collections::BTreeMap;
use storage::Database;
use system_tests::folder::Folder;
use system_tests::postgres::{self, Fsync};
use system_tests::raw::Raw;
use system_tests::wait;
use system_tests::world::SOON;
use tokio::time::Instant;

/// Number of purchases with a year of settlings each.
const YEARS: usize = 20;

/// Measures the bytes of a purchase.
#[derive(Debug, Parser)]
struct Options {
    /// Purchases of one settling.
    #[arg(long, default_value_t = 5_000)]
    purchases: usize,
}

/// Bytes of each table and index, by the names of the table and of the table or index itself.
type Sizes = BTreeMap<(String, String), i64>;

const OF_SQLITE: &str =
    "SELECT COALESCE(m.tbl_name, s.name) || ' ' || s.name || ' ' || SUM(s.pgsize) AS value
    FROM dbstat s LEFT JOIN sqlite_schema m ON m.name = s.name GROUP BY s.name, m.tbl_name";

const OF_POSTGRES: &str = "SELECT COALESCE(t.relname, c.relname) || ' ' || c.relname || ' '
        || CASE WHEN c.relkind = 'i' THEN pg_relation_size(c.oid) ELSE pg_table_size(c.oid) END AS value
    FROM pg_class c
    LEFT JOIN pg_index i ON i.indexrelid = c.oid
    LEFT JOIN pg_class t ON t.oid = i.indrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'i')";

const TABLES: &str = "SELECT relname AS value FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'";

/// A query for a transaction id after all deletions so far.
const DELETED_BEFORE: &str = "SELECT pg_current_xact_id()::text AS value";

/// Returns a query that says whether no older transaction is open on the server: a vacuum keeps all rows that the
/// oldest transaction of any database may see, since its own snapshot begins there.
fn is_removable(before: &str) -> String {
    format!(
        "SELECT COUNT(*) AS value FROM pg_snapshot_xmin(pg_current_snapshot()) oldest
            WHERE oldest > '{before}'::xid8 AND NOT EXISTS (SELECT 1 FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
                AND age(backend_xmin) >= age('{before}'::xid8::xid))"
    )
}

/// Returns the sizes of all stored data, after removing gaps.
async fn sizes(raw: &mut Raw) -> anyhow::Result<Sizes> {
    let is_postgres = matches!(raw, Raw::Postgres(_));
    if is_postgres {
        let removable = is_removable(&raw.texts(DELETED_BEFORE).concat());
        wait::until(SOON, "the end of older transactions", async || {
            match raw.number(&removable) {
                1 => Ok(()),
                _ => Err("there are some".to_owned()),
            }
        })
        .await;
    }
    let (vacuum, select) = if is_postgres {
        ("VACUUM FULL", OF_POSTGRES)
    } else {
        ("VACUUM", OF_SQLITE)
    };
    raw.run(vacuum);
    let part = |line: String| {
        let columns: Vec<&str> = line.split(' ').collect();
        let [of_table, name, bytes] = columns[..] else {
            anyhow::bail!("{line}")
        };
        Ok(((of_table.to_owned(), name.to_owned()), bytes.parse()?))
    };
    raw.texts(select).into_iter().map(part).collect()
}

/// Prints how much one purchase adds to each table and index, in bytes, and checks the sum.
async fn check(
    raw: &mut Raw,
    empty: &Sizes,
    purchases: usize,
    title: &str,
    at_most: i64,
) -> anyhow::Result<()> {
    let purchases = i64::try_from(purchases)?;
    let added = |(names, bytes): (&(String, String), &i64)| {
        (
            names.clone(),
            (bytes - empty.get(names).copied().unwrap_or(0)) / purchases,
        )
    };
    let parts: Vec<_> = sizes(raw)
        .await?
        .iter()
        .map(added)
        .filter(|(_, bytes)| *bytes > 0)
        .collect();
    let total: i64 = parts.iter().map(|(_, bytes)| bytes).sum();
    println!("{title}: {total} bytes for each purchase, at most {at_most}");
    for ((table, name), bytes) in &parts {
        println!(
            "  {bytes:>7}  {table}{}",
            if table == name {
                String::new()
            } else {
                format!(": {name}")
            }
        );
    }
    anyhow::ensure!(
        total <= at_most,
        "{title}: {total} bytes, at most {at_most} are allowed"
    );
    Ok(())
}

/// Inserts purchases, and checks each one's size, and the size that remains after the retention period.
async fn measure(
    database: Database,
    life: Life,
    [at_most, at_most_left]: [i64; 2],
) -> anyhow::Result<()> {
    let store = purchase::open(database.clone()).await?;
    let (platform, webhooks) = purchase::installation(&store, 1).await?;
    let mut raw = Raw::of(&database);
    if matches!(raw, Raw::Postgres(_)) {
        // Automatic analysis is off, since it could keep deleted rows alive.
        for table in raw.texts(TABLES) {
            raw.run(&format!(
                "ALTER TABLE {table} SET (autovacuum_enabled = FALSE)"
            ));
        }
    }
    let empty = sizes(&mut raw).await?;
    life.live(&store, platform, webhooks[0]).await?;
    let Life {
        purchases,
        settlings,
        notifications,
    } = life;
    let kind = if matches!(raw, Raw::Postgres(_)) {
        "PostgreSQL"
    } else {
        "SQLite"
    };
    let title =
        format!("{kind}, {purchases} purchases of {settlings} x {notifications} notifications");
    check(&mut raw, &empty, purchases, &title, at_most).await?;
    // As if everything were older than the retention period.
    let began = Instant::now();
    let rows = life::prune_all(&store).await?;
    println!("{rows} rows were pruned in {:?}", began.elapsed());
    check(
        &mut raw,
        &empty,
        purchases,
        &format!("{title}, after the retention"),
        at_most_left,
    )
    .await
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let window = Life {
        purchases: options.purchases,
        settlings: 1,
        notifications: 5,
    };
    let year = Life {
        purchases: YEARS,
        settlings: 12,
        notifications: 3,
    };
    for (life, of_sqlite, of_postgres) in [
        (window, [15_500, 13_000], [15_000, 13_000]),
        (year, [110_000, 64_000], [130_000, 90_000]),
    ] {
        let folder = Folder::new("size-load");
        measure(
            Database::Sqlite(folder.path().join("settle.db")),
            life,
            of_sqlite,
        )
        .await?;
        let url = tokio::task::spawn_blocking(|| postgres::migrated(Fsync::Off)).await??;
        measure(Database::Postgres(url), life, of_postgres).await?;
    }
    Ok(())
}
