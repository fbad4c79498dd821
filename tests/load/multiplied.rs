//! Multiplies the rows of purchases under other ids. The indexes are rebuilt afterwards.

use std::collections::BTreeMap;
use system_tests::raw::Raw;

/// The tables with rows of purchases. The record of acceptances is computed from the notifications.
const TABLES: [&str; 9] = [
    "users",
    "store_users",
    "purchases",
    "notifications",
    "events",
    "deliveries",
    "attempts",
    "lanes",
    "payments",
];
/// The tables' id columns. A copy's ids differ in the first eight letters.
const IDS: [&str; 10] = [
    "id",
    "collapse_key",
    "event_id",
    "other_event_id",
    "delivery_id",
    "user_id",
    "first_user_id",
    "message_id",
    "receipt_id",
    "app_user_id",
];
/// The tables with sequence numbers.
const NUMBERED: [&str; 3] = ["notifications", "events", "deliveries"];
/// Difference between the sequence numbers of two copies.
const STRIDE: i64 = 1_000_000;
/// A wake in the far future, in microseconds since 1970.
const LATER: i64 = 4_102_444_800_000_000;

/// Makes all purchases sleep, and multiplies their rows by `copies`. Returns the number of rows by table, as text.
///
/// # Errors
/// When there are more rows than fit between two copies' sequence numbers.
pub fn multiply(raw: &mut Raw, copies: usize) -> anyhow::Result<String> {
    raw.run(&format!("UPDATE purchases SET next_wake_at = {LATER}"));
    raw.run(match raw {
        // Foreign keys are off, as they need the indexes.
        Raw::Sqlite(_) => {
            "PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA temp_store = MEMORY"
        }
        Raw::Postgres(_) => "SET session_replication_role = 'replica'",
    });
    let indexes = indexes(raw);
    for name in indexes.keys() {
        raw.run(&format!("DROP INDEX {name}"));
    }
    for table in TABLES {
        raw.run(&format!(
            "CREATE TEMPORARY TABLE original_{table} AS SELECT * FROM {table}"
        ));
    }
    for table in NUMBERED {
        let last = raw.number(&format!(
            "SELECT COALESCE(MAX(seq), 0) AS value FROM {table}"
        ));
        anyhow::ensure!(
            last < STRIDE,
            "{table} has {last} rows, and copies begin at {STRIDE}"
        );
    }
    for table in TABLES {
        let columns = columns(raw, table);
        let values: Vec<String> = columns
            .iter()
            .map(|column| value(raw, table, column))
            .collect();
        raw.run(&format!(
            "INSERT INTO {table} ({})
             WITH RECURSIVE copies (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM copies WHERE n < {})
             SELECT {} FROM copies CROSS JOIN original_{table} o",
            columns.join(", "),
            copies.saturating_sub(1),
            values.join(", ")
        ));
    }
    raw.run(&format!(
        "INSERT INTO acceptances (seq, notifications)
         SELECT seq, '[[' || seq || ',\"' || collapse_key || '\"]]' FROM notifications WHERE seq >= {STRIDE}"
    ));
    for statement in indexes.values() {
        raw.run(statement);
    }
    if matches!(raw, Raw::Postgres(_)) {
        for table in NUMBERED {
            raw.run(&format!(
                "SELECT setval(pg_get_serial_sequence('{table}', 'seq'), (SELECT MAX(seq) FROM {table}))"
            ));
        }
    }
    raw.run("ANALYZE");
    let count =
        |table: &str, raw: &mut Raw| raw.number(&format!("SELECT COUNT(*) AS value FROM {table}"));
    Ok(TABLES
        .map(|table| format!("{} {table}", count(table, raw)))
        .join(", "))
}

/// Returns the statements that create the indexes, by name, without constraints' indexes.
fn indexes(raw: &mut Raw) -> BTreeMap<String, String> {
    let tables = TABLES.map(|table| format!("'{table}'")).join(", ");
    let (names, statements) = match raw {
        Raw::Sqlite(_) => {
            let of = format!(
                "FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({tables})"
            );
            (
                format!("SELECT name AS value {of} ORDER BY name"),
                format!("SELECT sql AS value {of} ORDER BY name"),
            )
        }
        Raw::Postgres(_) => {
            let of = format!(
                "FROM pg_indexes WHERE schemaname = 'public' AND tablename IN ({tables})
                 AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = indexname::regclass)"
            );
            let select =
                |column: &str| format!("SELECT {column}::text AS value {of} ORDER BY indexname");
            (select("indexname"), select("indexdef"))
        }
    };
    raw.texts(&names)
        .into_iter()
        .zip(raw.texts(&statements))
        .collect()
}

fn columns(raw: &mut Raw, table: &str) -> Vec<String> {
    raw.texts(&match raw {
        Raw::Sqlite(_) => {
            format!("SELECT name AS value FROM pragma_table_info('{table}') ORDER BY cid")
        }
        Raw::Postgres(_) => format!(
            "SELECT column_name::text AS value FROM information_schema.columns
             WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position"
        ),
    })
}

/// Returns the SQL value of a copy's column.
fn value(raw: &Raw, table: &str, column: &str) -> String {
    if column == "seq" && NUMBERED.contains(&table) {
        return format!("o.seq + copies.n * {STRIDE}");
    }
    if !IDS.contains(&column) {
        return format!("o.{column}");
    }
    // An odd factor gives each copy a different number, in no order from which an index would benefit.
    let prefix = match raw {
        Raw::Sqlite(_) => "printf('%08x', (copies.n * 2654435761) % 4294967296)",
        Raw::Postgres(_) => "lpad(to_hex((copies.n::bigint * 2654435761) % 4294967296), 8, '0')",
    };
    format!("{prefix} || substr(o.{column}, 9)")
}
