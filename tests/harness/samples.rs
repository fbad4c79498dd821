//! Samples of databases' JSON columns, collected at the end of worlds, for `freeze-release`.

use super::raw::Raw;
use super::stored;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use storage::{Database, JSON_COLUMNS, JsonColumn};

/// Maximum number of texts per column that a world contributes.
const PER_WORLD: usize = 50;
/// Maximum number of samples of a column.
const PER_COLUMN: usize = 200;
/// Maximum length of a text that may be a variant of an enum.
const VARIANT: usize = 40;

/// The body of a settled notification, which nothing reads.
pub const EMPTIED: &str = "{}";

/// Returns the folder that `SETTLE_TEST_SAMPLES` names. If the variable is not set, no samples are stored.
pub fn folder() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the tests put what databases hold"
    )]
    let named = std::env::var_os("SETTLE_TEST_SAMPLES");
    named.map(|named| std::path::absolute(named).expect("a folder for samples"))
}

/// Returns the name of the file with the texts of a column, one per line.
pub fn file_name(column: &JsonColumn) -> String {
    format!("{}.jsonl", stored::name(column))
}

/// Appends samples of a database's JSON columns to the files of a folder.
///
/// # Panics
/// When the database cannot be read or a file cannot be written.
pub fn collect(database: &Database, folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder for samples");
    let mut raw = Raw::of(database);
    if let Database::Sqlite(_) = database {
        append(folder, UNLISTED, unlisted(&mut raw));
    }
    for column in JSON_COLUMNS {
        append(
            folder,
            &file_name(&column),
            of_column(&mut raw, &column, None),
        );
    }
}

/// Returns the query that finds the store of a row `t`; `None` if the table's rows belong to no store.
fn store_of(table: &str) -> Option<&'static str> {
    match table {
        "device_events" | "devices" | "notifications" | "purchases" => {
            Some("SELECT f.store FROM platforms f WHERE f.id = t.platform_id")
        }
        "events" => Some(
            "SELECT f.store FROM purchases p JOIN platforms f ON f.id = p.platform_id
             WHERE p.collapse_key = t.collapse_key",
        ),
        _ => None,
    }
}

/// Returns the SQL condition that a row `t` belongs to one of these stores, or to none.
fn is_of(table: &str, stores: &[&str]) -> String {
    let names: Vec<String> = stores.iter().map(|store| format!("'{store}'")).collect();
    store_of(table).map_or_else(
        || "1 = 1".to_owned(),
        |store| format!("COALESCE(({store}), '') IN ('', {})", names.join(", ")),
    )
}

/// Returns some texts of a column; with `stores`, leaves out rows of other stores.
pub fn of_column(raw: &mut Raw, column: &JsonColumn, stores: Option<&[&str]>) -> Vec<String> {
    let JsonColumn {
        table,
        column: name,
        ..
    } = column;
    // Unreadable messages are stored unchanged.
    let of = if *table == "notifications" {
        "collapse_key IS NOT NULL"
    } else {
        "1 = 1"
    };
    let of_stores = stores.map_or("1 = 1".to_owned(), |stores| is_of(table, stores));
    raw.texts(&format!(
        "SELECT DISTINCT {name} AS value FROM {table} t WHERE {name} IS NOT NULL AND {name} <> '' AND {of}
            AND {of_stores} LIMIT {PER_WORLD}"
    ))
}

/// Appends the texts that have no line break to a file.
fn append(folder: &Path, name: &str, texts: Vec<String>) {
    let lines: String = texts
        .into_iter()
        .filter(|text| !text.contains('\n'))
        .map(|text| text + "\n")
        .collect();
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(name));
    // In one write, because other tests append at the same time.
    file.expect("a file for samples")
        .write_all(lines.as_bytes())
        .expect("samples");
}

/// Columns with sent bodies and with other servers' answers: nothing parses the JSON in them.
const UNREAD: [(&str, &str); 2] = [("attempts", "response"), ("deliveries", "body")];
/// Name of the file that lists the places of JSON missing in [`JSON_COLUMNS`], one per line.
pub const UNLISTED: &str = "unlisted";

/// Returns the columns of this SQLite file that contain JSON although [`JSON_COLUMNS`] lacks them.
fn unlisted(raw: &mut Raw) -> Vec<String> {
    let columns =
        "SELECT m.name || '.' || p.name AS value FROM sqlite_master m, pragma_table_info(m.name) p
        WHERE m.type = 'table' AND p.type = 'TEXT'";
    let mut places = raw.texts(columns);
    places.retain(|place| {
        let (table, name) = place.split_once('.').expect("a table and a column");
        let is_known = JSON_COLUMNS
            .iter()
            .any(|column| (column.table, column.column) == (table, name));
        if is_known || UNREAD.contains(&(table, name)) {
            return false;
        }
        let is_json = format!("({name} LIKE '{{%' OR {name} LIKE '[%') AND json_valid({name})");
        raw.number(&format!(
            "SELECT COUNT(*) AS value FROM {table} WHERE {is_json}"
        )) > 0
    });
    places
}

/// Returns the texts that have a field, a type or a variant that no earlier text has.
pub fn representative(texts: &str) -> Vec<&str> {
    let (mut seen, mut chosen) = (BTreeSet::new(), Vec::new());
    for text in texts.lines() {
        let mut found = BTreeSet::new();
        if let Ok(value) = serde_json::from_str(text) {
            shape(&value, "", &mut found);
        }
        if chosen.len() < PER_COLUMN && !found.is_subset(&seen) {
            seen.append(&mut found);
            chosen.push(text);
        }
    }
    chosen
}

/// Adds the path of each value in `value`, with the value's type or variant.
fn shape(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let is_variant = |text: &str| {
        text.len() <= VARIANT
            && text
                .chars()
                .all(|letter| "_.".contains(letter) || letter.is_ascii_lowercase())
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "flag",
        Value::Number(_) => "number",
        Value::String(text) if is_variant(text) => text,
        Value::String(_) => "text",
        Value::Array(items) => {
            items
                .iter()
                .for_each(|item| shape(item, &format!("{path}/*"), found));
            "list"
        }
        Value::Object(fields) => {
            fields
                .iter()
                .for_each(|(name, field)| shape(field, &format!("{path}/{name}"), found));
            "object"
        }
    };
    found.insert(format!("{path} {kind}"));
}
