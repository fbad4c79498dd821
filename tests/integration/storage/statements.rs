//! All statements that are constants in `storage`: each is prepared on both databases, and the hot ones are explained
//! over filled tables. No statement is listed here: `storage` provides them.

use super::filling::{FILLED, ROW, fill, value};
use super::world::{BEGINNING, Raw, World, story};
use diesel::connection::SimpleConnection;
use diesel::{QueryableByName, RunQueryDsl};
use domain::Timestamp;
use std::sync::atomic::{AtomicI64, Ordering};
use storage::{Complete, statements};
use system_tests::postgres::PgConnection;

/// Exclusive limit on the number of rows that a hot statement may read and discard.
const REMOVED: u64 = 2_000;

/// Places of statements that may also read pages of tables: the writer plans them for their values.
pub const PAGED: [&str; 4] = [
    "/admin/",
    "/redelivery/",
    "/reports/",
    "/settling/rechecks.rs",
];

/// Tables with few rows, which may be read completely; `next` is the recursive part of a statement, with one row at a
/// time. A statement of the sweep that reads each platform once calls the table `each_platform`.
const FEW: [&str; 4] = ["destinations", "each_platform", "next", "CONSTANT ROW"];

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = diesel::sql_types::Text)]
    detail: String,
}

#[derive(QueryableByName)]
pub struct Line {
    #[diesel(sql_type = diesel::sql_types::Text, column_name = "QUERY PLAN")]
    pub text: String,
}

/// Returns a statement in which each list consists of one value or row.
pub fn unlisted(text: &str) -> String {
    let Some((head, tail)) = text.split_once("VALUES ?*") else {
        return text.replace("?*", "?");
    };
    // The list of columns precedes the values, which may contain brackets.
    let before = head.trim_end().trim_end_matches('(');
    let columns = before
        .rsplit_once('(')
        .and_then(|(_, rest)| rest.split_once(')'))
        .expect("a list of columns")
        .0;
    let places: Vec<&str> = columns.split(',').map(|_| "?").collect();
    format!("{head}VALUES ({}){tail}", places.join(", "))
}

/// Returns a statement with PostgreSQL's numbered parameters.
pub fn numbered(text: &str) -> String {
    let parts = text.split('?').enumerate();
    parts
        .map(|(index, part)| {
            if index == 0 {
                part.to_owned()
            } else {
                format!("${index}{part}")
            }
        })
        .collect()
}

/// Returns the statement as it runs on this database, with values in place of its parameters.
fn written(statement: &Complete, world: &World, row: i64, is_shared: bool) -> String {
    let text = unlisted(&statement.text);
    let text = if is_shared {
        text
    } else {
        storage::without_lock(&text).to_owned()
    };
    let mut written = String::new();
    for (index, part) in text.split('?').enumerate() {
        if index > 0 {
            let value = value(&written, world, row);
            written.push_str(&value);
        }
        written.push_str(part);
    }
    written
}

pub fn report(broken: Vec<String>) {
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

story! {
    async fn every_statement_is_prepared_on_its_database(world: World) {
        let mut broken = Vec::new();
        let mut raw = world.raw();
        for statement in statements() {
            let text = unlisted(&statement.text);
            let prepared = match &mut raw {
                Raw::Sqlite(_) if is_of_postgres(&text) => Ok(()),
                Raw::Postgres(_) if is_of_sqlite(&text) => Ok(()),
                Raw::Sqlite(connection) => {
                    let text = storage::without_lock(&text);
                    diesel::sql_query(format!("EXPLAIN {text}")).execute(connection).map(drop)
                }
                Raw::Postgres(connection) => {
                    let text = numbered(&text);
                    connection.batch_execute(&format!("PREPARE a_statement AS {text}; DEALLOCATE a_statement"))
                }
            };
            broken.extend(prepared.err().map(|error| format!("{}: {error}\n{}", statement.place, statement.text)));
        }
        report(broken);
    }
}

/// Returns whether a statement uses the server's clock, lineage, locks, sessions or catalogue, as only PostgreSQL's
/// statements do.
fn is_of_postgres(text: &str) -> bool {
    text.contains("clock_timestamp()")
        || text.contains("pg_stat_activity")
        || text.contains("advisory_xact_lock")
        || text.contains("pg_try_advisory_lock")
        || text.contains("to_regclass")
        || text.contains("pg_backend_pid()")
        || text.contains("current_setting(")
        || text.contains("settle_lineage()")
}

fn is_of_sqlite(text: &str) -> bool {
    text.contains("PRAGMA")
}

/// Returns whether a step reads all of a filled table. Walking an index from one end, or reading rows that another step
/// found, does not count.
fn walks_a_table(step: &str, plan: &[String]) -> bool {
    let found = |name: &str| {
        let other = |step: &String| {
            ["CO-ROUTINE ", "MATERIALIZE "]
                .iter()
                .any(|of| step.strip_prefix(of) == Some(name))
        };
        plan.iter().any(other)
    };
    match (
        step.trim().strip_prefix("SCAN "),
        step.split_once("Seq Scan on "),
    ) {
        (Some(name), _) => {
            let name = name.trim_end_matches(" LEFT-JOIN");
            !name.contains("INDEX") && !found(name) && !FEW.contains(&name)
        }
        (None, Some((_, table))) => {
            let mut names = table.split(' ');
            names.next().is_some_and(|table| FILLED.contains(&table))
                && !names.next().is_some_and(|name| FEW.contains(&name))
        }
        (None, None) => false,
    }
}

/// Returns the steps of SQLite's plan.
fn plan_of_sqlite(connection: &mut diesel::SqliteConnection, text: &str) -> Vec<String> {
    let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {text}"))
        .load(connection)
        .expect(text);
    steps.into_iter().map(|step| step.detail).collect()
}

fn uses(plan: &[String], index: &str) -> bool {
    plan.iter()
        .any(|step| index.split(" or ").any(|index| step.contains(index)))
}

/// Returns PostgreSQL's plan for these values.
fn plan_of_values(connection: &mut PgConnection, text: &str) -> Vec<String> {
    connection.batch_execute("BEGIN").unwrap();
    let lines: Vec<Line> = diesel::sql_query(format!("EXPLAIN ANALYZE {text}"))
        .load(connection)
        .expect(text);
    connection.batch_execute("ROLLBACK").unwrap();
    lines.into_iter().map(|line| line.text).collect()
}

/// Returns PostgreSQL's generic plan, as kept by the writer's sessions for purchases.
pub fn generic_plan(connection: &mut PgConnection, text: &str) -> Vec<String> {
    let values = vec!["NULL"; text.matches('?').count()].join(", ");
    let values = if values.is_empty() {
        values
    } else {
        format!("({values})")
    };
    let prepare = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE a_statement AS {}",
        numbered(text)
    );
    connection.batch_execute(&prepare).expect(text);
    let lines: Vec<Line> = diesel::sql_query(format!("EXPLAIN EXECUTE a_statement{values}"))
        .load(connection)
        .expect(text);
    connection
        .batch_execute("DEALLOCATE a_statement; RESET plan_cache_mode")
        .unwrap();
    lines.into_iter().map(|line| line.text).collect()
}

story! {
    async fn every_hot_statement_uses_its_index(world: World) {
        let mut raw = world.raw();
        fill(&mut raw, &world);
        let mut broken = Vec::new();
        for statement in statements() {
            let Some(index) = statement.index else { continue };
            let text = written(&statement, &world, ROW, matches!(raw, Raw::Postgres(_)));
            let plans = match &mut raw {
                Raw::Sqlite(connection) => vec![plan_of_sqlite(connection, &text)],
                Raw::Postgres(connection) => {
                    let mut plans = vec![plan_of_values(connection, &text)];
                    if !PAGED.iter().any(|folder| statement.place.contains(folder)) {
                        plans.push(generic_plan(connection, &unlisted(&statement.text)));
                    }
                    plans
                }
            };
            for plan in plans {
                let removed = plan.iter().filter_map(|step| step.trim().strip_prefix("Rows Removed by Filter: "));
                let removed: u64 = removed.map(|rows| rows.parse::<u64>().unwrap()).sum();
                if !uses(&plan, index) || removed >= REMOVED || plan.iter().any(|step| walks_a_table(step, &plan)) {
                    broken.push(format!("{} expects {index}\n{text}\n{}", statement.place, plan.join("\n")));
                }
            }
        }
        report(broken);
    }
}

/// Statements that use another index when there are no statistics: they run once for an erasure, for a changed product,
/// or for a platform's claims, few of which wait.
const OTHERWISE: [(&str, &str); 4] = [
    ("claims/bounds.rs", "claims_pending_of_network"),
    ("erasure/batches.rs", "notifications_open_of_receipt"),
    ("settling/rechecks.rs", "purchases_term_sku"),
    ("settling/rechecks.rs", "purchases_product"),
];

/// settle does not let SQLite gather statistics, so these are the plans in production.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_statistics_sqlite_uses_the_index_of_a_hot_statement() {
    static NOW: AtomicI64 = AtomicI64::new(BEGINNING);
    let world = World::sqlite(|| Timestamp::from_micros(NOW.load(Ordering::SeqCst)), &NOW).await;
    let mut raw = world.raw();
    let Raw::Sqlite(connection) = &mut raw else {
        unreachable!("it is SQLite")
    };
    let mut broken = Vec::new();
    for statement in statements() {
        let Some(index) = statement.index else {
            continue;
        };
        if OTHERWISE
            .iter()
            .any(|(place, other)| statement.place.contains(place) && index == *other)
        {
            continue;
        }
        let text = unlisted(&statement.text);
        let plan = plan_of_sqlite(connection, storage::without_lock(&text));
        if !uses(&plan, index) || plan.iter().any(|step| walks_a_table(step, &plan)) {
            broken.push(format!(
                "{} expects {index}\n{text}\n{}",
                statement.place,
                plan.join("\n")
            ));
        }
    }
    report(broken);
}
