//! Prints responses of the HTTP API: a list as a table, an object as one line per field, and `--json` unchanged.

use super::client::{Client, as_started};
use super::layout::{self, short_times};
use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use serde_json::Value;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// A column: its heading, and the path of the field in each item (`destination.state`).
pub type Column<'a> = (&'a str, &'a str);

/// Minimum width of a column whose text is wrapped.
const MIN_WIDTH: usize = 16;
/// Width of the gap between two columns.
const GAP: usize = 2;
/// Separator between two facts of one record.
const BETWEEN: &str = " · ";

/// Writes one sentence to standard output. On a terminal, it is wrapped at spaces, except for indented text, such as a
/// command to copy.
pub fn line(text: &str) {
    for text in as_started(text).split('\n') {
        match layout::width() {
            Some(width) if !text.starts_with(' ') => layout::wrap(text, width, 0)
                .iter()
                .for_each(|text| plain(text)),
            _ => plain(text),
        }
    }
}

/// Writes one line to standard output, unwrapped, with escapes for anything that a terminal could interpret as a
/// command. A closed pipe (as with `| head`) is not an error.
pub fn plain(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", layout::harmless(text));
}

/// Prints a response: unchanged with `--json`, else one line per field.
pub fn answer(client: &Client, answer: &Value) -> ExitCode {
    match answer {
        answer if client.json => json(answer),
        Value::Null => line("Done."),
        answer => fields(answer),
    }
    ExitCode::SUCCESS
}

/// Prints a response: unchanged with `--json`, else as this sentence.
pub fn answer_line(client: &Client, answer: &Value, sentence: &str) -> ExitCode {
    if client.json {
        json(answer);
    } else {
        line(sentence);
    }
    ExitCode::SUCCESS
}

/// Prints a list: unchanged with `--json`, else as a table.
pub fn answer_list(
    client: &Client,
    answer: &Value,
    columns: &[Column<'_>],
    nothing: &str,
) -> ExitCode {
    if client.json {
        json(answer)
    } else {
        list(answer, columns, nothing)
    }
    ExitCode::SUCCESS
}

/// Prints a value as indented JSON.
pub fn json(value: &Value) {
    plain(&layout::harmless_json(
        &serde_json::to_string_pretty(value).unwrap_or_default(),
    ));
}

/// Prints these columns of a list's items, or `nothing` if there are none.
pub fn list(answer: &Value, columns: &[Column<'_>], nothing: &str) {
    let items = items(answer);
    let cursor = answer.get("next_cursor").and_then(Value::as_str);
    if items.is_empty() {
        return line(&cursor.map_or_else(
            || nothing.to_owned(),
            |cursor| format!("None on this page: add --cursor {cursor}"),
        ));
    }
    let rows = items
        .iter()
        .map(|item| columns.iter().map(|(_, path)| field(item, path)).collect())
        .collect();
    let headings = columns.iter().map(|(heading, _)| *heading).collect();
    for row in lay_out(headings, rows, layout::width()) {
        plain(&row);
    }
    if let Some(cursor) = cursor {
        line(&format!("\nMore rows: add --cursor {cursor}"));
    }
}

/// Returns the lines of a table. If a width is given, empty columns are left out. If the table is still too wide, its
/// texts are wrapped at spaces; if even that does not suffice, each row becomes a record of several lines.
fn lay_out(
    mut headings: Vec<&str>,
    mut rows: Vec<Vec<String>>,
    width: Option<usize>,
) -> Vec<String> {
    let Some(width) = width else {
        return draw(&headings, &rows, None);
    };
    let is_filled = |at: usize| rows.iter().any(|row| !is_nothing(&row[at]));
    let filled: Vec<bool> = (0..headings.len())
        .map(|at| at == 0 || is_filled(at))
        .collect();
    keep(&mut headings, &filled);
    rows.iter_mut().for_each(|row| keep(row, &filled));
    let widest = |at: usize| {
        rows.iter()
            .map(|row| row[at].chars().count())
            .chain([headings[at].len()])
            .max()
    };
    let is_text = |at: usize| rows.iter().any(|row| row[at].contains(' '));
    let widths: Vec<usize> = (0..headings.len())
        .map(|at| widest(at).unwrap_or_default() + GAP)
        .collect();
    let least: usize = widths
        .iter()
        .enumerate()
        .map(|(at, width)| if is_text(at) { MIN_WIDTH } else { *width })
        .sum();
    if widths.iter().sum::<usize>() <= width {
        return draw(&headings, &rows, None);
    }
    if least <= width {
        let fixed = (0..headings.len()).map(|at| !is_text(at)).collect();
        return draw(&headings, &rows, Some((width, fixed)));
    }
    rows.iter()
        .flat_map(|row| record(&headings, row, width))
        .collect()
}

fn keep<T>(cells: &mut Vec<T>, wanted: &[bool]) {
    let mut wanted = wanted.iter();
    cells.retain(|_| wanted.next().copied().unwrap_or(true));
}

fn is_nothing(cell: &str) -> bool {
    matches!(cell, "" | "-")
}

/// Returns the lines of a table. `fit` holds its width and, for each column, whether its text must stay on one line.
fn draw(headings: &[&str], rows: &[Vec<String>], fit: Option<(usize, Vec<bool>)>) -> Vec<String> {
    let mut table = Table::new();
    table
        .load_preset(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|heading| heading.to_uppercase()));
    for row in rows {
        table.add_row(row);
    }
    if let Some((width, fixed)) = fit {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        for (column, is_fixed) in table.column_iter_mut().zip(fixed) {
            if is_fixed {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    table.lines().map(|row| row.trim_end().to_owned()).collect()
}

/// Returns one row as a record: the first cell, and below it the other cells, each after its heading.
fn record(headings: &[&str], row: &[String], width: usize) -> Vec<String> {
    let mut lines = row.first().cloned().into_iter().collect::<Vec<_>>();
    let mut line = String::new();
    let facts = headings
        .iter()
        .zip(row)
        .skip(1)
        .filter(|(_, cell)| !is_nothing(cell));
    for fact in facts.map(|(heading, cell)| format!("{heading} {cell}")) {
        if line.is_empty() {
            line = format!("  {fact}");
        } else if line.chars().count() + BETWEEN.chars().count() + fact.chars().count() <= width {
            line.push_str(BETWEEN);
            line.push_str(&fact);
        } else {
            lines.extend(layout::wrap(&line, width, 4));
            line = format!("  {fact}");
        }
    }
    lines.extend(
        layout::wrap(&line, width, 4)
            .into_iter()
            .filter(|line| !line.is_empty()),
    );
    lines
}

/// The fields that are printed before the others.
const FIRST: [&str; 3] = ["id", "app_id", "name"];

/// Prints the fields of an object, one per line.
pub fn fields(answer: &Value) {
    let Value::Object(map) = answer else {
        return json(answer);
    };
    let width = map.keys().map(String::len).max().unwrap_or(0);
    let mut fields: Vec<(&String, &Value)> = map.iter().collect();
    fields.sort_by_key(|(name, _)| {
        FIRST
            .iter()
            .position(|first| first == name)
            .unwrap_or(FIRST.len())
    });
    for (name, value) in fields {
        match value {
            Value::Object(_) | Value::Array(_) if !is_flat(value) => {
                plain(&format!("{name}:"));
                for row in serde_json::to_string_pretty(value)
                    .unwrap_or_default()
                    .lines()
                {
                    plain(&format!("  {row}"));
                }
            }
            _ => named(name, width, &text(value)),
        }
    }
}

/// Prints a name, padded to `width`, and its value. A long value is wrapped, with its further lines indented.
pub fn named(name: &str, width: usize, value: &str) {
    let value = &as_started(value);
    let text = format!("{name:width$}  {value}");
    let Some(screen) = layout::width() else {
        return plain(&text);
    };
    let lines = layout::wrap(value, screen.saturating_sub(width + GAP).max(MIN_WIDTH), 0);
    for (at, line) in lines.iter().enumerate() {
        plain(&format!(
            "{:width$}  {line}",
            if at == 0 { name } else { "" }
        ));
    }
}

/// Returns the items of a list, or of a bare array.
pub fn items(answer: &Value) -> &[Value] {
    answer
        .get("items")
        .unwrap_or(answer)
        .as_array()
        .map_or(&[], Vec::as_slice)
}

/// Returns the items of a list, to be changed.
pub fn items_mut(answer: &mut Value) -> &mut [Value] {
    answer
        .get_mut("items")
        .and_then(Value::as_array_mut)
        .map(Vec::as_mut_slice)
        .unwrap_or_default()
}

/// Prints a list of warnings, one line each.
pub fn warnings(list: &Value) {
    for warning in list.as_array().into_iter().flatten() {
        line(&format!("Warning: {}.", raw(warning)));
    }
}

/// Returns one field as text; empty if it is absent.
pub fn field(item: &Value, path: &str) -> String {
    path.split('.')
        .try_fold(item, |value, name| value.get(name))
        .map_or_else(String::new, text)
}

/// Returns a value as it is sent, but a text without quotation marks.
pub fn raw(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// Returns a text, an id or a time in readable form, as [`text`] does for JSON.
pub fn shown(value: &impl Display) -> String {
    text(&Value::String(value.to_string()))
}

/// Returns a value as [`shown`] does; a dash if it is absent.
pub fn shown_or_dash(value: Option<&impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), shown)
}

/// Returns a JSON value in readable form.
pub fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // A line break in the text would make its rest look like a line of settle's own.
        Value::String(text) => short_times(&layout::harmless(&text.replace('\n', "\\n"))),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(map) => map
            .iter()
            .map(|(name, value)| format!("{name}={}", text(value)))
            .collect::<Vec<_>>()
            .join(" "),
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

#[cfg(test)]
mod tests {
    use super::lay_out;

    #[test]
    fn no_answer_of_an_endpoint_reaches_the_terminal_raw() {
        let answer =
            serde_json::json!("a\u{1b}]52;c;Zm9v\u{7}\u{9b}2J\nfaked: line\u{202e}\u{7f} b");
        let shown = super::text(&answer);
        assert_eq!(
            shown,
            "a\\u{1b}]52;c;Zm9v\\u{7}\\u{9b}2J\\nfaked: line\\u{202e}\\u{7f} b"
        );
        let json = serde_json::to_string_pretty(&answer).unwrap();
        let json = crate::layout::harmless_json(&json);
        assert!(!json.chars().any(domain::text::is_commanding), "{json}");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&json).unwrap(),
            answer,
            "it is the same JSON"
        );
    }

    const KEY: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";

    fn drawn(width: Option<usize>) -> Vec<String> {
        let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
        let headings = vec!["name", "key", "held until", "why", "at"];
        let rows = vec![
            row([
                "one",
                KEY,
                "-",
                "its endpoint answers with nothing but errors",
                "2026-01-31T12:00:00Z",
            ]),
            row(["two", KEY, "-", "-", "2026-01-31T12:00:00Z"]),
        ];
        lay_out(headings, rows, width)
    }

    #[test]
    fn a_table_that_is_too_wide_is_fitted_without_cutting_an_id() {
        assert_eq!(drawn(None).len(), 3, "one line per row for programs");
        let wrapped = drawn(Some(90));
        assert!(
            wrapped[0].contains("KEY") && !wrapped[0].contains("HELD UNTIL"),
            "{wrapped:#?}"
        );
        assert!(
            wrapped.len() > 3 && wrapped.iter().all(|line| line.chars().count() <= 90),
            "{wrapped:#?}"
        );
        let records = drawn(Some(60));
        let expected = [
            "one",
            "  key 6b275a67-0bbb-4f3a-99b9-6600bf711993",
            "  why its endpoint answers with nothing but errors",
            "  at 2026-01-31T12:00:00Z",
            "two",
            "  key 6b275a67-0bbb-4f3a-99b9-6600bf711993",
            "  at 2026-01-31T12:00:00Z",
        ];
        assert_eq!(records, expected);
        for lines in [wrapped, records] {
            assert_eq!(
                lines.iter().filter(|line| line.contains(KEY)).count(),
                2,
                "{lines:#?}"
            );
        }
    }
}
