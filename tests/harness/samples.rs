//! Samples of what the JSON columns of databases hold, taken at the end of worlds, for `freeze-release`.

use super::raw::Raw;
use super::stored;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use storage::{Database, JSON_COLUMNS, JsonColumn};

/// Maximum number of texts that a world adds to a column.
const PER_WORLD: usize = 50;
/// Maximum number of samples of a column.
const PER_COLUMN: usize = 200;
/// Maximum length of a text that may be a variant of an enum.
const VARIANT: usize = 40;

/// The body of a settled notification, which nothing reads.
pub const EMPTIED: &str = "{}";

/// Returns the folder that `SETTLE_TEST_SAMPLES` names. Without that variable nothing is stored.
pub fn folder() -> Option<PathBuf> {
    #[expect(
        clippy::disallowed_methods,
        reason = "where the tests put what databases hold"
    )]
    let named = std::env::var_os("SETTLE_TEST_SAMPLES");
    named.map(|named| std::path::absolute(named).expect("a folder for samples"))
}

/// Returns the name of the file with the texts of a column, one a line.
pub fn file_name(column: &JsonColumn) -> String {
    format!("{}.jsonl", stored::name(column))
}

/// Appends what a database holds to the files of a folder.
///
/// # Panics
/// When it cannot be read or written.
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

/// Returns the store of a row `t`, where it belongs to one: the query that finds it.
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

/// Returns the condition on a row `t`: it belongs to one of these stores, or to none.
fn is_of(table: &str, stores: &[&str]) -> String {
    let names: Vec<String> = stores.iter().map(|store| format!("'{store}'")).collect();
    store_of(table).map_or_else(
        || "1 = 1".to_owned(),
        |store| format!("COALESCE(({store}), '') IN ('', {})", names.join(", ")),
    )
}

/// Some of the texts of a column; with `stores`, without those of rows of other stores.
pub fn of_column(raw: &mut Raw, column: &JsonColumn, stores: Option<&[&str]>) -> Vec<String> {
    let JsonColumn {
        table,
        column: name,
        ..
    } = column;
    // An unreadable message is stored as it came.
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

/// Adds the texts that have one line to a file.
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
    // In one write, because other tests append too.
    file.expect("a file for samples")
        .write_all(lines.as_bytes())
        .expect("samples");
}

/// Columns with what is sent and with what others answer: nothing reads the JSON in them.
const UNREAD: [(&str, &str); 2] = [("attempts", "response"), ("deliveries", "body")];
/// The file with the places of JSON that [`JSON_COLUMNS`] lacks, one a line.
pub const UNLISTED: &str = "unlisted";

/// Returns the other columns of this SQLite file that hold JSON.
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

/// Returns the texts that have a field, a type or a variant that no text before them has.
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

/// Adds the path of each value, with its type or variant.
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
