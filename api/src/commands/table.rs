//! Answers of the HTTP API for eyes: one table per list, one line per field, and `--json` verbatim.

use super::client::Remote;
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;
use std::io::Write;
use std::process::ExitCode;

/// A column: its heading, and the path of the field in each item (`destination.state`).
pub type Column = (&'static str, &'static str);

/// Writes one line to standard output. A reader that went away (`| head`) is no failure.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints an answer as it was asked for: verbatim, or one line per field.
pub fn answer(remote: &Remote, answer: &Value) -> ExitCode {
    match answer {
        answer if remote.json => json(answer),
        Value::Null => line("Done."),
        answer => fields(answer),
    }
    ExitCode::SUCCESS
}

/// Prints a list as it was asked for: verbatim, or as a table.
pub fn answer_list(remote: &Remote, answer: &Value, columns: &[Column], nothing: &str) -> ExitCode {
    if remote.json {
        json(answer)
    } else {
        list(answer, columns, nothing)
    }
    ExitCode::SUCCESS
}

/// Prints the answer as it came.
pub fn json(value: &Value) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// Prints the items of a list with their chosen columns, or `nothing` when there are none.
pub fn list(answer: &Value, columns: &[Column], nothing: &str) {
    let items = items(answer);
    if items.is_empty() {
        return line(nothing);
    }
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|(heading, _)| heading.to_uppercase()));
    for item in items {
        table.add_row(columns.iter().map(|(_, path)| field(item, path)));
    }
    for row in table.lines() {
        line(row.trim_end());
    }
    if let Some(cursor) = answer.get("next_cursor").and_then(Value::as_str) {
        line(&format!("\nThere are more: add --cursor {cursor}"));
    }
}

/// Prints every field of one thing, one per line.
pub fn fields(answer: &Value) {
    let Value::Object(map) = answer else { return json(answer) };
    let width = map.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in map {
        match value {
            Value::Object(_) | Value::Array(_) if !is_flat(value) => {
                line(&format!("{name}:"));
                for row in serde_json::to_string_pretty(value).unwrap_or_default().lines() {
                    line(&format!("  {row}"));
                }
            }
            _ => line(&format!("{name:width$}  {}", text(value))),
        }
    }
}

/// The items of a list, or of a bare array.
pub fn items(answer: &Value) -> &[Value] {
    answer.get("items").unwrap_or(answer).as_array().map_or(&[], Vec::as_slice)
}

/// One field as text; empty when it is absent.
pub fn field(item: &Value, path: &str) -> String {
    path.split('.').try_fold(item, |value, name| value.get(name)).map_or_else(String::new, text)
}

/// A value as a person would write it.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(name, value)| format!("{name}={}", text(value))).collect::<Vec<_>>().join(" ")
        }
        Value::Number(number) => number.to_string(),
    }
}

fn is_flat(value: &Value) -> bool {
    let simple = |value: &Value| !value.is_object() && !value.is_array();
    match value {
        Value::Array(values) => values.iter().all(simple),
        Value::Object(map) => map.len() <= 4 && map.values().all(simple),
        _ => true,
    }
}
