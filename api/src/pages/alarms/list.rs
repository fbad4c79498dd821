//! The list of audit entries: its filters and columns. This module is pure.

use super::SCREEN;
use crate::cell::{Cell, CellPart, FieldChange};
use crate::lists::{Column, Filter, FilterKind, List, ListHead};
use crate::parts::{Code, Moment, Tab, Tabs};
use crate::text::with_query;
use crate::visit::Visit;
use domain::CollapseKey;
use serde_json::Value;
use std::collections::BTreeSet;
use storage::AuditEntryView;

/// Maximum number of characters of a changed value.
const VALUE_CHARS: usize = 120;

const PATH: &str = "/ui/audit-log";
/// The address of all alarms.
pub const ALL: &str = "/ui/alarms?which=all";

pub const FILTERS: &[Filter<AuditEntryView>] = &[
    Filter::new(
        "operation",
        "Operation (such as destination.update)",
        FilterKind::Drawn,
    ),
    Filter::new("subject", "Id of the changed item", FilterKind::Drawn),
];

const COLUMNS: &[Column<AuditEntryView>] = &[
    Column::new("When", |one, _| Moment::at(one.at).into()),
    Column::new("Who", |one, _| {
        let key = one
            .key_id
            .map(|id| vec!["Key".into(), Code::short(id).into()]);
        Cell::from(one.actor.as_str()).under(key.unwrap_or_default())
    }),
    Column::head("What", |one, visit| {
        let subject = visit.to(&with_query(PATH, &[("subject", &one.subject)]));
        let subject = CellPart::link(subject, Code::short(&one.subject));
        let page = page(one)
            .map(|(thing, path)| CellPart::link(visit.to(&path), format!("Open the {thing}")));
        Cell::from(one.operation.as_str()).under(std::iter::once(subject).chain(page).collect())
    }),
    Column::new("Why", |one, _| Cell::or(one.reason.as_deref(), "–")),
    Column::new("Changed", |one, _| {
        let changes = changes(one);
        if changes.is_empty() {
            Cell::none()
        } else {
            CellPart::Changes(changes).into()
        }
    }),
];

/// Returns the list of audit entries.
pub fn audit_log(visit: &Visit) -> List<AuditEntryView> {
    List {
        screen: SCREEN.path,
        title: "Audit log".to_owned(),
        path: PATH.to_owned(),
        api: "/v1/audit-log",
        command: "settle audit-log",
        nouns: ["entry", "entries"],
        order: "newest first",
        live: "audit_log",
        fixed: None,
        ids: &["id", "subject", "key_id"],
        filters: FILTERS,
        columns: COLUMNS,
        head: ListHead::Tabs(tabs(visit, PATH)),
        nothing: ("No changes yet.", None),
    }
}

/// Returns the tabs for the open alarms, all alarms and the audit log.
pub fn tabs(visit: &Visit, current: &str) -> Tabs {
    let all = [
        ("Open alarms", SCREEN.path),
        ("All alarms", ALL),
        ("Audit log", PATH),
    ];
    let tab = |(label, path): (&'static str, &str)| Tab {
        label,
        path: visit.to(path),
        is_current: path == current,
    };
    Tabs::new("Alarms and audit log", all.map(tab))
}

/// Returns the changed fields of an entry.
fn changes(entry: &AuditEntryView) -> Vec<FieldChange> {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (before, after) = (fields(&entry.old_fields), fields(&entry.new_fields));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let change = |name: &String| FieldChange {
        field: name.clone(),
        before: value(before.get(name)),
        after: value(after.get(name)),
    };
    names.into_iter().map(change).collect()
}

/// Returns the changed resource and the path of its page; `None` if it has no page.
fn page(entry: &AuditEntryView) -> Option<(&str, String)> {
    let (thing, verb) = entry.operation.split_once('.')?;
    if verb == "delete" || entry.subject.parse::<CollapseKey>().is_err() {
        return None;
    }
    let folder = match thing {
        "app" => "/ui/connect/apps",
        "platform" => "/ui/connect/platforms",
        "destination" => "/ui/destinations",
        "purchase" => "/ui/purchases",
        _ => return None,
    };
    Some((thing, format!("{folder}/{}", entry.subject)))
}

fn value(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return "–".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    match text.char_indices().nth(VALUE_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
