//! The reviewed file, one line per cell, and the laws that its table must satisfy.

use super::cells::{Cell, Store};
use domain::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Line {
    pub cell: [String; 3],
    /// The events of the first settling.
    pub first: Vec<String>,
    pub then: Vec<String>,
    /// Revenue that Amplitude counts, in the order of the events.
    pub revenue: Vec<String>,
    /// Final outcome of the notification.
    pub outcome: String,
    /// Why there is no event, or why the result with an absent store differs from that with one that agrees. Written by
    /// hand.
    pub why: String,
}

const NOTHING: &str = "-";

fn parts(text: &str) -> Vec<String> {
    text.split_whitespace()
        .filter(|part| *part != NOTHING)
        .map(str::to_owned)
        .collect()
}

fn text(parts: &[String]) -> String {
    if parts.is_empty() {
        NOTHING.to_owned()
    } else {
        parts.join(" ")
    }
}

impl Line {
    pub fn events(&self) -> Vec<&str> {
        self.first
            .iter()
            .chain(&self.then)
            .map(String::as_str)
            .collect()
    }

    pub fn because(&self, why: &str) -> Self {
        Self {
            why: why.to_owned(),
            ..self.clone()
        }
    }

    fn fields(&self) -> [String; 8] {
        let [kind, state, store] = self.cell.clone();
        let (first, then, revenue) = (text(&self.first), text(&self.then), text(&self.revenue));
        [
            kind,
            state,
            store,
            first,
            then,
            revenue,
            self.outcome.clone(),
            self.why.clone(),
        ]
    }
}

/// Parses the file.
///
/// # Panics
/// When a line does not have eight fields.
pub fn read(file: &str) -> BTreeMap<[String; 3], Line> {
    let is_line = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split('|').map(str::trim).collect();
        let [kind, state, store, first, then, revenue, outcome, why] = fields[..] else {
            panic!("a line of the matrix has eight fields: {line}");
        };
        let cell = [kind, state, store].map(str::to_owned);
        let (outcome, why) = (outcome.to_owned(), why.to_owned());
        let line = Line {
            cell,
            first: parts(first),
            then: parts(then),
            revenue: parts(revenue),
            outcome,
            why,
        };
        (line.cell.clone(), line)
    };
    file.lines().filter(is_line).map(parse).collect()
}

/// Returns the text of the file with these lines.
pub fn write(head: &str, lines: &[Line]) -> String {
    let rows: Vec<_> = lines.iter().map(Line::fields).collect();
    let mut widths = [0; 8];
    for row in &rows {
        for (width, field) in widths.iter_mut().zip(row) {
            *width = field.chars().count().max(*width);
        }
    }
    let mut file = head.to_owned();
    let mut last = String::new();
    for row in &rows {
        if row[0] != last {
            file.push('\n');
            last.clone_from(&row[0]);
        }
        let padded = row
            .iter()
            .zip(widths)
            .map(|(field, width)| format!("{field:width$}"));
        let line = padded.collect::<Vec<_>>().join(" | ");
        writeln!(file, "{}", line.trim_end()).expect("a string takes everything");
    }
    file
}

/// Pairs of events that undo each other. Both may come from one settling, if the notification between them was lost; in
/// two settlings they contradict each other.
const OPPOSITES: [(&str, &str); 4] = [
    ("cancelled", "resumed"),
    ("in_grace_period", "renewal_in_grace_period"),
    ("in_grace_period", "renewed"),
    ("pending_sku_change", "sku_change"),
];
/// Pairs of events that one notification never announces together.
const NEVER: [(&str, &str); 9] = [
    ("expired", "renewed"),
    ("expired", "renewal_in_grace_period"),
    ("expired", "resumed"),
    ("expired", "cancelled"),
    ("expired", "purchased"),
    ("purchased", "sku_change"),
    ("renewed", "renewal_in_grace_period"),
    ("journey.trial.converted", "journey.trial.did_not_convert"),
    ("resumed", "purchased"),
];

/// Returns the violations that concern a single line each.
pub fn broken(lines: &[Line]) -> Vec<String> {
    lines
        .iter()
        .flat_map(|line| {
            of_line(line)
                .into_iter()
                .map(|why| format!("{}: {why}", line.cell.join(" ")))
        })
        .collect()
}

fn of_line(line: &Line) -> Vec<String> {
    let mut wrong = Vec::new();
    let events = line.events();
    let has = |event: &str| events.contains(&event);
    for (place, event) in events.iter().enumerate() {
        if events[..place].contains(event) {
            wrong.push(format!("{event} is announced twice"));
        }
    }
    let is_split = |(one, other): &(&str, &str)| {
        let in_first = |event: &str| line.first.iter().any(|known| known == event);
        has(one) && has(other) && in_first(one) != in_first(other)
    };
    for (one, other) in OPPOSITES.iter().filter(|pair| is_split(pair)) {
        wrong.push(format!(
            "{one} and {other} are announced one after the other"
        ));
    }
    for (one, other) in NEVER.iter().filter(|(one, other)| has(one) && has(other)) {
        wrong.push(format!("{one} and {other} contradict each other"));
    }
    if events.is_empty() && line.why.is_empty() {
        wrong.push("nothing is announced, and no reason is written for it".to_owned());
    }
    wrong
}

/// The final records of a cell's receipts: `data` of each.
pub type Record = Vec<Value>;

/// Returns the fields in which two records differ, with both values.
fn differences(one: &Record, other: &Record) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    for (number, (one, other)) in one.iter().zip(other).enumerate() {
        for (field, value) in one.as_object().into_iter().flatten() {
            let (value, other) = (shown(value), shown(&other[field]));
            // The new receipt of a change of plan contains the old one's SKU only if the old one is settled first.
            if value != other && field != "previous_sku_ref_id" {
                found.push((format!("{field} of receipt {number}"), value, other));
            }
        }
    }
    found
}

/// Returns a value prepared for comparison. A time with a fraction of a second comes from settle's clock, when settle
/// first saw something, and is replaced: the stories' own times are whole minutes. (One in a thousand times of a clock
/// has whole milliseconds.)
fn shown(value: &Value) -> Value {
    let text = value.as_str().unwrap_or_default();
    let time = text.parse::<Timestamp>().ok();
    if time.is_some_and(|time| time.micros() % 1_000_000 != 0) {
        json!("[first seen]")
    } else {
        value.clone()
    }
}

/// Returns the lines of an absent store without a reason whose events or revenue differ from those of a store that
/// agrees.
pub fn unexplained(lines: &BTreeMap<[String; 3], Line>) -> Vec<String> {
    let of_absence = lines
        .values()
        .filter(|line| line.cell[2] == Store::Absent.to_string() && line.why.is_empty());
    let other = |line: &Line| {
        let [kind, state, _] = line.cell.clone();
        let agreed = lines.get(&[kind, state, Store::Agrees.to_string()])?;
        let is_alike = line.events() == agreed.events() && line.revenue == agreed.revenue;
        (!is_alike).then(|| {
            format!(
                "{}: unlike a store that agrees, and no reason is written",
                line.cell.join(" ")
            )
        })
    };
    of_absence.filter_map(other).collect()
}

/// Returns the cells that violate the law for a lagging store: over both settlings, the result must equal that of a
/// store that agrees at once.
pub fn unlike(lines: &BTreeMap<Cell, (Line, Record)>) -> Vec<String> {
    let mut wrong = Vec::new();
    for (cell, (line, record)) in lines.iter().filter(|(cell, _)| cell.store == Store::Behind) {
        let (agreed, agreed_record) = &lines[&Cell {
            store: Store::Agrees,
            ..*cell
        }];
        let name = format!("{} {}", cell.kind, cell.state);
        if line.events() != agreed.events() {
            wrong.push(format!(
                "{name}: behind announces {:?}, agreeing {:?}",
                line.events(),
                agreed.events()
            ));
        }
        if line.revenue != agreed.revenue {
            wrong.push(format!(
                "{name}: behind earns {:?}, agreeing {:?}",
                line.revenue, agreed.revenue
            ));
        }
        for (field, one, other) in differences(record, agreed_record) {
            wrong.push(format!(
                "{name}: behind ends with {field} {one}, agreeing with {other}"
            ));
        }
    }
    wrong
}
