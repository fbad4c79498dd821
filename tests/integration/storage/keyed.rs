//! Statements read rows by their keys, whatever PostgreSQL's statistics are: according to those of a quiet night
//! nothing waits, and the smallest partial index seems the cheapest.

use super::filling::{WAITING_ROW, fill_after_a_quiet_night, value};
use super::statements::{Line, PAGED, generic_plan, numbered, report, unlisted};
use super::world::{BEGINNING, Raw, World, story};
use diesel::connection::SimpleConnection;
use diesel::{QueryableByName, RunQueryDsl};
use domain::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use storage::{Complete, statements};
use system_tests::postgres::PgConnection;

/// Maximum number of rows that a hot statement may read, and that a statement may read that counts up to ten thousand.
const READ: f64 = 2_000.0;
const COUNTED: f64 = 10_000.0 + READ;
/// Places of statements that remove expired rows, list waiting rows of all purchases or the history of one, or check a
/// given range of rows.
const UNBOUNDED: [&str; 6] = [
    "/admin/",
    "/reports/check/",
    "/reports/listing.rs",
    "/reports/minutes.rs",
    "/reports/notifications.rs",
    "/reports/search/",
];

/// A statement of the sweep that reads each platform once, however much waits.
const EACH_PLATFORM: &str = "FROM platforms each_platform";

/// Tables whose partial indexes contain only few rows, or rows that stay, which the statistics know.
const STEADY_TABLES: [&str; 11] = [
    "api_keys",
    "apps",
    "destinations",
    "devices",
    "erasures",
    "leases",
    "payments",
    "platforms",
    "transfer_reviews",
    "transfers",
    "users",
];
/// Such indexes on other tables.
const STEADY: [&str; 5] = [
    "device_sessions_closed",
    "device_sessions_ended",
    "events_of_user",
    "notifications_not_settled",
    "purchases_customer",
];

/// Indexes that the statements naming them walk from one end.
const WALKED: [&str; 10] = [
    "alarms_announcing",
    "alarms_unannounced",
    "claims_pending_due",
    "deliveries_failed_in_order",
    "deliveries_pending_in_order",
    "device_deliveries_failed",
    "device_deliveries_skipped",
    "duties_due",
    "notifications_open_due",
    "notifications_open_in_order",
];

/// Places of statements that show waiting rows of all purchases.
const PAGES: [&str; 3] = [
    "/reports/overview.rs",
    "/reports/listing.rs",
    "/reports/silent.rs",
];

/// Conditions in statements of release 0.1.0, which may run alongside this one during an upgrade and after a downgrade:
/// table, index that serves the condition, and condition.
const OF_0_1_0: [(&str, &str, &str); 22] = [
    (
        "deliveries",
        "deliveries_pending_of_lane",
        "collapse_key = 'k' AND destination_id = 'd' AND status = 'pending'",
    ),
    (
        "deliveries",
        "deliveries_pending_of_destination",
        "destination_id = 'd' AND status = 'pending' AND seq > 1",
    ),
    (
        "deliveries",
        "deliveries_pending_due",
        "destination_id = 'd' AND status = 'pending' AND next_due_at <= 1",
    ),
    (
        "deliveries",
        "deliveries_pending_tried",
        "destination_id = 'd' AND status = 'pending' AND tried_at > 1",
    ),
    (
        "deliveries",
        "deliveries_pending_in_order",
        "status = 'pending' AND seq < 1",
    ),
    (
        "deliveries",
        "deliveries_unnamed_of_lane",
        "collapse_key = 'k' AND destination_id = 'd' AND status = 'waiting'",
    ),
    (
        "deliveries",
        "deliveries_unnamed_of_destination",
        "destination_id = 'd' AND status = 'waiting' AND seq > 1",
    ),
    (
        "deliveries",
        "deliveries_unnamed_in_time",
        "status = 'waiting' AND created_at <= 1",
    ),
    (
        "deliveries",
        "deliveries_unnamed_in_order",
        "status = 'waiting' AND seq < 1",
    ),
    (
        "deliveries",
        "deliveries_failed_to_destination",
        "destination_id = 'd' AND status = 'failed'",
    ),
    (
        "deliveries",
        "deliveries_failed_in_order",
        "status = 'failed' AND seq < 1",
    ),
    (
        "deliveries",
        "deliveries_skipped_to_destination",
        "destination_id = 'd' AND status = 'skipped'",
    ),
    (
        "deliveries",
        "deliveries_skipped_in_order",
        "status = 'skipped' AND seq < 1",
    ),
    (
        "notifications",
        "notifications_open_in_order",
        "outcome IS NULL AND waiting_topic_id IS NULL AND waits_since IS NULL AND seq > 1",
    ),
    (
        "notifications",
        "notifications_open_due",
        "outcome IS NULL AND waiting_topic_id IS NULL AND waits_since IS NULL AND wakes IS NULL
            AND COALESCE(sweep_at, CASE WHEN cap_at < due_at THEN cap_at ELSE due_at END) <= 1",
    ),
    (
        "notifications",
        "notifications_open_woken",
        "outcome IS NULL AND waiting_topic_id IS NULL AND waits_since IS NULL AND wakes IS NOT NULL AND sweep_at <= 1",
    ),
    (
        "notifications",
        "notifications_open_of_key",
        "collapse_key = 'k' AND outcome IS NULL",
    ),
    (
        "notifications",
        "notifications_open_of_receipt",
        "receipt_id = 'r' AND outcome IS NULL",
    ),
    (
        "notifications",
        "notifications_open_of_topic",
        "waiting_topic_id = 't' AND waiting_topic_id IS NOT NULL AND outcome IS NULL",
    ),
    (
        "device_deliveries",
        "device_deliveries_of_batch",
        "batch_id IN ('b') AND destination_id = 'd' AND status = 'pending'",
    ),
    (
        "claims",
        "claims_pending_due",
        "platform_id = 'p' AND status = 'pending' AND due_at <= 1",
    ),
    (
        "claims",
        "claims_pending_of_network",
        "platform_id = 'p' AND status = 'pending' AND network = 'n'",
    ),
];

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

fn clock() -> Timestamp {
    Timestamp::from_micros(NOW.load(Ordering::SeqCst))
}

fn explained(connection: &mut PgConnection, text: &str) -> Vec<String> {
    let lines: Vec<Line> = diesel::sql_query(format!("EXPLAIN {text}"))
        .load(connection)
        .expect(text);
    lines.into_iter().map(|line| line.text).collect()
}

/// Executes a statement, planned for its values or generically, and returns the plan.
fn ran(
    connection: &mut PgConnection,
    statement: &Complete,
    world: &World,
    mode: &str,
) -> Vec<String> {
    let text = unlisted(&statement.text);
    let mut before = String::new();
    let mut values = Vec::new();
    for (index, part) in text.split('?').enumerate() {
        if index > 0 {
            values.push(value(&before, world, WAITING_ROW));
            before.push_str(values.last().expect("a value"));
        }
        before.push_str(part);
    }
    let values = if values.is_empty() {
        String::new()
    } else {
        format!("({})", values.join(", "))
    };
    let prepare = format!(
        "BEGIN; SET LOCAL plan_cache_mode = {mode}; PREPARE a_statement AS {}",
        numbered(&text)
    );
    connection.batch_execute(&prepare).expect(&text);
    let plan = explained(
        connection,
        &format!("(ANALYZE, BUFFERS) EXECUTE a_statement{values}"),
    );
    connection
        .batch_execute("ROLLBACK; DEALLOCATE a_statement")
        .unwrap();
    plan
}

/// Returns the number after a label in a line of a plan.
fn number_after(line: &str, label: &str) -> Option<f64> {
    let (_, rest) = line.split_once(label)?;
    rest.split([' ', ')']).next()?.parse().ok()
}

/// Returns the number of rows that the scans of a plan read , including discarded ones.
fn read(plan: &[String]) -> f64 {
    let (mut rows, mut loops, mut is_scan) = (0.0, 1.0, false);
    for line in plan {
        if line.contains("(cost=") {
            is_scan = line.contains("Scan");
            let actual = line.split_once("(actual").map_or("", |(_, actual)| actual);
            loops = number_after(actual, "loops=").unwrap_or(0.0);
            if is_scan {
                rows += number_after(actual, "rows=").unwrap_or(0.0) * loops;
            }
        } else if is_scan && let Some(removed) = number_after(line, "Rows Removed by Filter: ") {
            rows += removed * loops;
        }
    }
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hot_statement_reads_what_waits_since_a_quiet_night() {
    let world = World::postgres(clock, &NOW).await;
    let mut raw = world.raw();
    fill_after_a_quiet_night(&mut raw, &world);
    let Raw::Postgres(connection) = &mut raw else {
        unreachable!("it is PostgreSQL")
    };
    let mut broken = Vec::new();
    let is_bounded = |place: &str| !UNBOUNDED.iter().any(|folder| place.contains(folder));
    let is_hot = |one: &&Complete| {
        one.index.is_some() && is_bounded(one.place) && !one.text.contains(EACH_PLATFORM)
    };
    for statement in statements().iter().filter(is_hot) {
        let at_most = if statement.text.contains("LIMIT 10000") {
            COUNTED
        } else {
            READ
        };
        let is_paged = PAGED.iter().any(|folder| statement.place.contains(folder));
        let modes: &[&str] = if is_paged {
            &["force_custom_plan"]
        } else {
            &["force_custom_plan", "force_generic_plan"]
        };
        for mode in modes {
            let plan = ran(connection, statement, &world, mode);
            if read(&plan) > at_most {
                broken.push(format!(
                    "{} with {mode}\n{}\n{}",
                    statement.place,
                    statement.text,
                    plan.join("\n")
                ));
            }
        }
    }
    report(broken);
}

#[derive(QueryableByName)]
struct Partial {
    #[diesel(sql_type = diesel::sql_types::Text)]
    name: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    on_table: String,
    /// The index's first column; empty if that is an expression.
    #[diesel(sql_type = diesel::sql_types::Text)]
    leading: String,
    #[diesel(sql_type = diesel::sql_types::Text)]
    predicate: String,
}

/// Returns whether a plan reads an index other than from one value of its first column. If the predicate fixes this
/// column, its value is no restriction.
fn is_read_without_key(plan: &[String], index: &Partial) -> bool {
    let is_constant = index.predicate.contains(&format!("{} = ", index.leading));
    let scans = [
        format!("using {} ", index.name),
        format!("on {} ", index.name),
    ];
    plan.iter().enumerate().any(|(at, line)| {
        let condition = plan
            .get(at + 1)
            .and_then(|next| next.trim().strip_prefix("Index Cond: "));
        scans.iter().any(|scan| format!("{line} ").contains(scan))
            && !condition
                .is_some_and(|condition| condition.contains(&index.leading) && !is_constant)
    })
}

/// Begins a transaction in which only this index of its table can be used, and no nested loops, which would provide
/// keys.
fn begin_with_one_index(connection: &mut PgConnection, table: &str, index: &str) {
    connection
        .batch_execute(&format!(
            "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off;
            UPDATE pg_index SET indisvalid = FALSE
            WHERE indrelid = '{table}'::regclass AND indexrelid <> '{index}'::regclass"
        ))
        .unwrap();
}

fn partial_indexes(connection: &mut PgConnection) -> Vec<Partial> {
    let found = diesel::sql_query(
        "SELECT c.relname::text AS name, t.relname::text AS on_table,
            COALESCE((SELECT a.attname FROM pg_attribute a WHERE a.attrelid = t.oid AND a.attnum = i.indkey[0]), '')::text
                AS leading, pg_get_expr(i.indpred, i.indrelid) AS predicate
        FROM pg_index i
        JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_class t ON t.oid = i.indrelid
        WHERE i.indpred IS NOT NULL AND t.relnamespace = 'public'::regnamespace
        ORDER BY 1",
    );
    found.load(connection).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_can_be_served_by_an_index_without_its_key() {
    let world = World::postgres(clock, &NOW).await;
    let mut raw = world.raw();
    let Raw::Postgres(connection) = &mut raw else {
        unreachable!("it is PostgreSQL")
    };
    let mut broken = Vec::new();
    let all = statements();
    for index in &partial_indexes(connection) {
        let name = index.name.as_str();
        if STEADY.contains(&name) || STEADY_TABLES.contains(&index.on_table.as_str()) {
            continue;
        }
        begin_with_one_index(connection, &index.on_table, name);
        let of_table = format!(" {}", index.on_table);
        for statement in &all {
            let names = statement.index.unwrap_or_default();
            let is_meant = WALKED.contains(&name) && names.split(" or ").any(|one| one == name);
            let is_insert = statement
                .text
                .trim_start()
                .starts_with(&format!("INSERT INTO{of_table}"));
            if is_meant
                || is_insert
                || PAGES.iter().any(|page| statement.place.contains(page))
                || !statement.text.contains(&of_table)
            {
                continue;
            }
            let plan = generic_plan(connection, &unlisted(&statement.text));
            if is_read_without_key(&plan, index) {
                broken.push(format!(
                    "{}: {}\n{}",
                    statement.place,
                    index.name,
                    plan.join("\n")
                ));
            }
        }
        connection.batch_execute("ROLLBACK").unwrap();
    }
    report(broken);
}

story! {
    async fn each_index_serves_the_statements_of_0_1_0(world: World) {
        let mut raw = world.raw();
        for (table, index, condition) in OF_0_1_0 {
            match &mut raw {
                // SQLite refuses the statement if the index cannot be used.
                Raw::Sqlite(connection) => {
                    let text = format!("EXPLAIN SELECT 1 FROM {table} INDEXED BY {index} WHERE {condition}");
                    connection.batch_execute(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
                }
                Raw::Postgres(connection) => {
                    begin_with_one_index(connection, table, index);
                    let plan = explained(connection, &format!("SELECT 1 FROM {table} WHERE {condition}"));
                    assert!(plan.iter().any(|line| format!("{line} ").contains(&format!("{index} "))), "{plan:?}");
                    connection.batch_execute("ROLLBACK").unwrap();
                }
            }
        }
    }
}
