//! Copies of rows in PostgreSQL, when processing that many would take too long.

use std::fmt::Write;
use system_tests::raw::Raw;

/// Columns whose values differ in each copy, in the first eight letters.
const IDS: [&str; 7] = [
    "id",
    "collapse_key",
    "event_id",
    "receipt_id",
    "user_id",
    "first_user_id",
    "app_user_id",
];

/// Copies a purchase with its user, its events and their deliveries, under other ids.
pub fn purchase(raw: &mut Raw, key: &str, copies: usize) {
    raw.run("SET session_replication_role = 'replica'");
    for table in ["users", "purchases", "events", "deliveries", "lanes"] {
        let rows = match table {
            "users" => format!("id = (SELECT user_id FROM purchases WHERE collapse_key = '{key}')"),
            _ => format!("collapse_key = '{key}'"),
        };
        let of = |column: &str| {
            let is_id = IDS.contains(&column);
            if is_id {
                format!("lpad(to_hex(c.number), 8, '0') || substr(o.{column}, 9)")
            } else {
                format!("o.{column}")
            }
        };
        let (columns, values) = columns(raw, table, of);
        raw.run(&format!(
            "INSERT INTO {table} ({columns})
             SELECT {values} FROM generate_series(1, {copies}) c (number)
             CROSS JOIN (SELECT * FROM {table} WHERE {rows}) o"
        ));
    }
    raw.run("SET session_replication_role = 'origin'");
    write_out(raw);
}

/// Copies the row of a purchase for the same user, once for each of these keys and receipts.
pub fn of_same_user(raw: &mut Raw, key: &str, copies: &[(String, String)]) {
    let list = copies
        .iter()
        .fold(String::new(), |mut list, (key, receipt)| {
            let _ = write!(
                list,
                "{}('{key}', '{receipt}')",
                if list.is_empty() { "" } else { ", " }
            );
            list
        });
    let of = |column: &str| match column {
        "collapse_key" => "v.collapse_key".to_owned(),
        "receipt_id" => "v.receipt_id".to_owned(),
        other => format!("o.{other}"),
    };
    let (columns, values) = columns(raw, "purchases", of);
    raw.run(&format!(
        "INSERT INTO purchases ({columns})
         SELECT {values} FROM (VALUES {list}) v (collapse_key, receipt_id)
         CROSS JOIN (SELECT * FROM purchases WHERE collapse_key = '{key}') o"
    ));
    write_out(raw);
}

/// Writes the copies to disk and analyses the tables, so that neither is part of a measurement. `storage::keyed` checks
/// plans with older statistics.
fn write_out(raw: &mut Raw) {
    raw.run("ANALYZE");
    raw.run("CHECKPOINT");
}

/// Returns the columns of a table without those that number its rows, and their values in a copy.
fn columns(raw: &mut Raw, table: &str, value: impl Fn(&str) -> String) -> (String, String) {
    let columns = raw.texts(&format!(
        "SELECT column_name::text AS value FROM information_schema.columns
         WHERE table_schema = 'public' AND table_name = '{table}' AND is_identity = 'NO' AND is_generated = 'NEVER'
         ORDER BY ordinal_position"
    ));
    let values: Vec<String> = columns.iter().map(|column| value(column)).collect();
    (columns.join(", "), values.join(", "))
}
