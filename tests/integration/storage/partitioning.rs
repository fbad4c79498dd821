//! Why the tables of the ledger are not partitioned by month on PostgreSQL: a purchase, an event and a delivery are
//! found by ids that name no month, so a statement searches one index for each month that is kept.

use super::world::{BEGINNING, Raw, World};
use domain::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};

/// Two years, the month that begins, and the partition for a clock that steps.
const MONTHS: i64 = 25;
const PARTITIONS: usize = 26;
/// Number of rows of each month.
const ROWS: i64 = 2_000;
/// Number of runs of which the median is printed.
const RUNS: usize = 101;

/// The columns and indexes by which lanes find deliveries.
const COLUMNS: &str = "seq BIGINT NOT NULL, id TEXT NOT NULL, destination_id TEXT NOT NULL, collapse_key TEXT NOT NULL,
    status TEXT NOT NULL, next_due_at BIGINT NOT NULL, created_at BIGINT NOT NULL";
const INDEXES: [&str; 5] = [
    "(id)",
    "(collapse_key, destination_id, seq)",
    "(collapse_key, destination_id, seq) WHERE status = 'pending'",
    "(destination_id, next_due_at) WHERE status = 'pending'",
    "(seq)",
];
/// The newest delivery of a lane, which each finish reads.
const NEWEST: &str =
    "SELECT seq FROM {table} WHERE collapse_key = 'k7' AND destination_id = 'd' ORDER BY seq DESC LIMIT 1";

/// A function that returns the plan of a statement as rows of texts.
const PLAN: &str = "CREATE FUNCTION plan(statement TEXT) RETURNS SETOF TEXT LANGUAGE plpgsql AS
    $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE) ' || statement; END $$";

/// The tables and indexes that this session has locked.
const LOCKED: &str = "SELECT COUNT(*) AS value FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
    WHERE l.pid = pg_backend_pid() AND c.relnamespace = 'public'::regnamespace";

struct Cost {
    searched: usize,
    /// Number of locked tables and indexes; PostgreSQL has a fast path for sixteen.
    locks: i64,
    micros: f64,
}

fn fill(raw: &mut Raw, table: &str) {
    let mut text = format!("CREATE TABLE {table} ({COLUMNS})");
    if table == "by_month" {
        text += " PARTITION BY RANGE (created_at);";
        for month in 0..MONTHS {
            let (from, to) = (month * ROWS, (month + 1) * ROWS);
            text += &format!("CREATE TABLE by_month_{month} PARTITION OF {table} FOR VALUES FROM ({from}) TO ({to});");
        }
        text += "CREATE TABLE by_month_default PARTITION OF by_month DEFAULT";
    }
    text += ";";
    for index in INDEXES {
        text += &format!("CREATE INDEX ON {table} {index};");
    }
    text += &format!(
        "INSERT INTO {table} SELECT i, 'i' || i, 'd', 'k' || (i % 1000), 'delivered', i, i
             FROM generate_series(0, {}) i; ANALYZE {table}",
        MONTHS * ROWS - 1
    );
    raw.run(&text);
}

fn cost(raw: &mut Raw, table: &str) -> Cost {
    let statement = NEWEST.replace("{table}", table);
    raw.run(&format!("BEGIN; PREPARE newest AS {statement}; EXECUTE newest"));
    let locks = raw.number(LOCKED);
    let (mut times, mut searched) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let plan = raw.texts("SELECT value FROM plan('EXECUTE newest') AS value");
        searched = plan.iter().filter(|line| line.contains("Index") && line.contains(" on ")).count();
        let time = plan.iter().find_map(|line| line.strip_prefix("Execution Time: ")?.strip_suffix(" ms"));
        times.push(time.expect("a time").parse::<f64>().unwrap() * 1000.0);
    }
    raw.run("COMMIT; DEALLOCATE newest");
    times.sort_by(f64::total_cmp);
    Cost { searched, locks, micros: times[RUNS / 2] }
}

#[tokio::test(flavor = "multi_thread")]
async fn months_would_multiply_what_a_finish_searches() {
    static NOW: AtomicI64 = AtomicI64::new(BEGINNING);
    let world = World::postgres(|| Timestamp::from_micros(NOW.load(Ordering::SeqCst)), &NOW).await;
    let mut raw = world.raw();
    raw.run(PLAN);
    let [one, by_month] = ["one", "by_month"].map(|table| {
        fill(&mut raw, table);
        let Cost { searched, locks, micros } = cost(&mut raw, table);
        println!("{table}: {searched} indexes searched, {locks} locks, {micros:.0} µs");
        (searched, locks)
    });
    assert_eq!(one.0, 1);
    assert_eq!(by_month.0, PARTITIONS, "one for each partition");
    assert!(one.1 <= 6 && by_month.1 > 16, "{} and {} locks", one.1, by_month.1);
}
