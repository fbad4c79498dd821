//! Compares the telemetry reference with the sources: every metric, and every log line with its fields; and checks that
//! the alerting rules and the dashboard use existing metrics.

use super::{Source, none, root, sources};
use api::metrics::METRICS;
use serde_json::Value;
use std::collections::BTreeSet;
use system_tests::documents::Document;

const REFERENCE: &str = "api/src/telemetry/README.md";
const RULES: &str = "api/src/telemetry/alerts.yml";
const DASHBOARD: &str = "api/src/telemetry/dashboard.json";
/// The suffixes of a histogram's samples.
const SUFFIXES: [&str; 3] = ["_bucket", "_count", "_sum"];
/// Fields that the log adds by itself.
const ADDED: [&str; 2] = ["trace_id", "span_id"];

/// Returns the sources other than tests.
fn code() -> impl Iterator<Item = Source> {
    sources()
        .into_iter()
        .filter(|source| !source.is_test())
        .map(|source| {
            let text = source
                .text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default()
                .to_owned();
            Source { text, ..source }
        })
}

/// Returns the rows of the reference's tables between two headings, without their header rows.
fn rows(from: &str, to: &str) -> Vec<String> {
    let text = Document::read(REFERENCE).text;
    let part = text
        .split(from)
        .nth(1)
        .unwrap_or_else(|| panic!("no `{from}`"));
    let part = part.split(to).next().unwrap_or_default();
    part.lines()
        .filter(|line| line.starts_with("| "))
        .skip(1)
        .map(str::to_owned)
        .collect()
}

/// Returns the inline code in a cell.
fn codes(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn differences(reference: BTreeSet<String>, found: BTreeSet<String>) -> Vec<String> {
    let missing = found
        .difference(&reference)
        .map(|row| format!("missing: {row}"));
    let surplus = reference
        .difference(&found)
        .map(|row| format!("surplus: {row}"));
    missing.chain(surplus).collect()
}

#[test]
fn the_reference_has_every_metric() {
    let row = |metric: &api::metrics::Metric| {
        let labels: Vec<String> = metric
            .labels
            .iter()
            .map(|label| format!("`{label}`"))
            .collect();
        let (name, kind, labels) = (metric.name, metric.kind.as_str(), labels.join(", "));
        format!(
            "| `{name}` | {kind} | {} | {labels} | {} |",
            metric.unit, metric.help
        )
        .replace("|  |", "| |")
        .replace("|  |", "| |")
    };
    let reference = rows("## Metrics", "## Alerts").into_iter().collect();
    none(
        REFERENCE,
        differences(reference, METRICS.iter().map(row).collect()),
    );
}

#[test]
fn every_metric_of_the_sources_is_described_and_no_other() {
    let macros = ["counter!(", "gauge!(", "histogram!(", "family("];
    let mut found = BTreeSet::new();
    for source in code() {
        for name in macros {
            let calls = source
                .text
                .split(name)
                .skip(1)
                .filter_map(|rest| rest.trim_start().strip_prefix('"'));
            found.extend(
                calls
                    .filter_map(|rest| rest.split('"').next())
                    .map(str::to_owned),
            );
        }
    }
    let described = METRICS
        .iter()
        .map(|metric| metric.name.to_owned())
        .collect();
    none("api/src/metrics/table.rs", differences(described, found));
    let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
    assert!(
        names.is_sorted() && names.iter().all(|name| name.starts_with("settle_")),
        "{names:?}"
    );
}

/// A log line: its level, text and fields.
type Line = (String, String, Vec<String>);

/// Returns the arguments of a macro, from the text after its opening bracket.
fn arguments(text: &str) -> Vec<&str> {
    let (mut found, mut depth, mut start) = (Vec::new(), 1_usize, 0);
    let (mut is_text, mut is_escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        if is_text {
            is_text = letter != '"' || is_escaped;
            is_escaped = letter == '\\' && !is_escaped;
            continue;
        }
        match letter {
            '"' => is_text = true,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            found.push(text[start..at].trim());
            break;
        }
    }
    found.retain(|argument| !argument.is_empty());
    found
}

/// Returns the log lines in the sources.
fn lines() -> BTreeSet<Line> {
    let mut found = BTreeSet::new();
    for source in code() {
        for level in ["error", "warn", "info", "debug", "trace"] {
            for call in source.text.split(&format!("tracing::{level}!(")).skip(1) {
                let mut arguments = arguments(call);
                let text = arguments.pop().unwrap_or_default().trim_matches('"');
                let parts: Vec<&str> = text.split("\\\n").map(str::trim_start).collect();
                let name = |argument: &&str| {
                    let name = argument.split('=').next().unwrap_or_default();
                    name.trim().trim_start_matches(['%', '?']).to_owned()
                };
                found.insert((
                    level.to_owned(),
                    parts.concat(),
                    arguments.iter().map(name).collect(),
                ));
            }
        }
    }
    assert!(found.len() > 50, "only {} lines", found.len());
    found
}

fn row((level, text, fields): &Line) -> String {
    let fields: Vec<String> = fields.iter().map(|field| format!("`{field}`")).collect();
    let text = if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    };
    format!("| {level} | {text} | {} |", fields.join(", ")).replace("|  |", "| |")
}

#[test]
fn the_reference_has_every_line_of_the_log() {
    let reference = rows("## Log", "### Fields").into_iter().collect();
    none(
        REFERENCE,
        differences(reference, lines().iter().map(row).collect()),
    );
}

#[test]
fn the_reference_explains_every_field() {
    let first = |row: String| row.split(" | ").next().map(codes).unwrap_or_default();
    let reference = rows("### Fields", "\u{0}")
        .into_iter()
        .flat_map(first)
        .collect();
    let fields = lines()
        .into_iter()
        .flat_map(|(_, _, fields)| fields)
        .chain(ADDED.map(str::to_owned))
        .collect();
    none(REFERENCE, differences(reference, fields));
}

#[test]
fn an_argument_of_a_log_line_may_have_commas_and_brackets() {
    let call = "error = chain(&error, [1, 2]), %id, \"a text, (with) \\\"marks\\\"\"); more(\"x\")";
    let wanted = [
        "error = chain(&error, [1, 2])",
        "%id",
        "\"a text, (with) \\\"marks\\\"\"",
    ];
    assert_eq!(arguments(call), wanted);
}

/// Returns the names of settle's metrics in an expression that do not exist.
fn unknown(expression: &str) -> Vec<String> {
    let names = expression.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let names: Vec<&str> = names.filter(|name| name.starts_with("settle_")).collect();
    assert!(!names.is_empty(), "{expression} names no metric");
    let is_known = |name: &str| {
        METRICS.iter().any(|metric| {
            let is_histogram = metric.kind == api::metrics::MetricKind::Histogram;
            let samples = SUFFIXES.map(|suffix| format!("{}{suffix}", metric.name));
            if is_histogram {
                samples.contains(&name.to_owned())
            } else {
                metric.name == name
            }
        })
    };
    names
        .into_iter()
        .filter(|name| !is_known(name))
        .map(str::to_owned)
        .collect()
}

fn file(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).expect(path)
}

#[test]
fn every_rule_names_metrics_that_exist_a_summary_and_a_runbook() {
    let rules: Value = serde_saphyr::from_str(&file(RULES)).expect("YAML");
    let groups = rules["groups"].as_array().expect("groups");
    let rules: Vec<&Value> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().expect("rules"))
        .collect();
    let reference = Document::read(REFERENCE).text;
    let headings: BTreeSet<&str> = reference
        .lines()
        .filter_map(|line| line.strip_prefix("### Settle"))
        .collect();
    let mut wrong = Vec::new();
    for rule in &rules {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = text(&rule["alert"]);
        wrong.extend(
            unknown(&text(&rule["expr"]))
                .into_iter()
                .map(|metric| format!("{name}: {metric}")),
        );
        let page =
            "{{ or $externalLabels.settle_docs \"https://settle.example.com\" }}/telemetry.html";
        let runbook = format!("{page}#{}", name.to_lowercase());
        let heading = name.strip_prefix("Settle").unwrap_or_default();
        let is_complete = !text(&rule["annotations"]["summary"]).is_empty()
            && text(&rule["annotations"]["runbook_url"]) == runbook
            && ["critical", "warning", "info"]
                .contains(&text(&rule["labels"]["severity"]).as_str());
        if !is_complete || !headings.contains(heading) {
            wrong.push(format!(
                "{name} lacks a summary, a severity, or the heading of {runbook}"
            ));
        }
    }
    none(RULES, wrong);
    assert_eq!(rules.len(), headings.len(), "each heading is of one rule");
}

#[test]
fn every_panel_of_the_dashboard_shows_metrics_that_exist() {
    let dashboard: Value = serde_json::from_str(&file(DASHBOARD)).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    assert!(
        panels.len() > 10 && dashboard["schemaVersion"].is_u64() && dashboard["title"] == "settle"
    );
    let (mut ids, mut wrong) = (BTreeSet::new(), Vec::new());
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_u64().expect("an id")),
            "an id is used twice"
        );
        let title = panel["title"].as_str().expect("a title");
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
        for target in panel["targets"].as_array().expect("targets") {
            let found = unknown(target["expr"].as_str().expect("an expression"));
            wrong.extend(found.into_iter().map(|metric| format!("{title}: {metric}")));
        }
    }
    none(DASHBOARD, wrong);
}

#[test]
fn a_metric_that_does_not_exist_is_noticed() {
    assert_eq!(
        unknown("rate(settle_nothing_total[5m]) / settle_connections"),
        ["settle_nothing_total"]
    );
    assert_eq!(
        unknown("settle_settling_lag_seconds > settle_settling_lag_seconds_sum"),
        ["settle_settling_lag_seconds"]
    );
}
