//! What the screens of alarms and the audit log show. Pure.

use super::About;
use crate::pages::frame::Frame;
use crate::pages::parts::{Code, Moment, Sentence};
use crate::pages::text::{escaped, with_query};
use crate::pages::visit::Visit;
use askama::Template;
use domain::{AlarmId, CollapseKey};
use serde_json::Value;
use std::collections::BTreeSet;
use storage::{Alarm, AuditEntryView, AuditLogFilter, Paged, Role};

/// Maximum number of characters of a changed value.
const VALUE_CHARS: usize = 120;

/// What is wrong with the form of an alarm.
#[derive(Debug)]
pub struct Mistake {
    pub alarm: AlarmId,
    /// What was expected as its note.
    pub expected: Option<String>,
    /// What stands against it, if the note is right.
    pub detail: Option<String>,
    /// The note as it was entered.
    pub entered: String,
}

/// The list that the visitor sees, or comes back to.
pub fn list(visit: &Visit) -> String {
    within(visit, "/ui/alarms")
}

/// A path with what of the alarms is shown.
fn within(visit: &Visit, path: &str) -> String {
    let (which, cursor) = (visit.query("which").unwrap_or_default(), visit.query("cursor").unwrap_or_default());
    visit.to(&with_query(path, &[("which", &which), ("cursor", &cursor)]))
}

pub struct Raised {
    id: AlarmId,
    acknowledged: Option<Moment>,
    note: String,
    path: String,
    seen: String,
    is_wrong: bool,
    expected: Option<String>,
    refused: Option<String>,
    entered: String,
    about: Option<About>,
    kind: String,
    detail: Sentence,
    times: i64,
    first: Moment,
    last: Moment,
}

#[derive(Template)]
#[template(path = "alarms/alarms.html")]
pub struct AlarmsPage<'a> {
    frame: &'a Frame,
    rows: Vec<Raised>,
    older: Option<String>,
    audit_log: String,
    is_all: bool,
    open: String,
    all: String,
}

impl<'a> AlarmsPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, found: &Paged<Alarm>, is_all: bool, mistake: Option<Mistake>) -> Self {
        let of = |one: &Alarm| mistake.as_ref().filter(|wrong| wrong.alarm == one.id);
        let raised = |one: &Alarm| Raised {
            id: one.id,
            acknowledged: one.acknowledged_at.map(Moment::ago),
            note: match (&one.acknowledged_by, &one.note) {
                (Some(by), Some(note)) => format!("{by}: {note}"),
                (by, note) => by.clone().or_else(|| note.clone()).unwrap_or_default(),
            },
            path: within(visit, &format!("/ui/alarms/{}/acknowledge", one.id)),
            seen: one.last_at.to_string(),
            is_wrong: of(one).is_some(),
            expected: of(one).and_then(|wrong| wrong.expected.clone()),
            refused: of(one).and_then(|wrong| wrong.detail.clone()),
            entered: of(one).map(|wrong| wrong.entered.clone()).unwrap_or_default(),
            about: About::of(one, visit),
            kind: one.kind.replace('_', " "),
            detail: Sentence::new(&one.detail),
            times: one.count,
            first: Moment::at(one.at),
            last: Moment::ago(one.last_at),
        };
        let which = if is_all { "which=all&" } else { "" };
        let older = |cursor: &String| visit.to(&format!("/ui/alarms?{which}cursor={}", escaped(cursor)));
        Self {
            frame,
            rows: found.items.iter().map(raised).collect(),
            older: found.next_cursor.as_ref().map(older),
            audit_log: visit.to("/ui/audit-log"),
            is_all,
            open: visit.to("/ui/alarms"),
            all: visit.to("/ui/alarms?which=all"),
        }
    }

    fn can_acknowledge(&self) -> bool {
        self.frame.may(Role::Support)
    }
}

pub struct AuditListRow {
    at: Moment,
    actor: String,
    key: Option<Code>,
    operation: String,
    subject: Code,
    of_subject: String,
    page: Option<String>,
    reason: String,
    changes: Vec<Changed>,
}

pub struct Changed {
    field: String,
    before: String,
    after: String,
}

#[derive(Template)]
#[template(path = "alarms/audit_log.html")]
pub struct AuditLogPage<'a> {
    frame: &'a Frame,
    rows: Vec<AuditListRow>,
    older: Option<String>,
    alarms: String,
    all: String,
    operation: String,
    subject: String,
}

impl<'a> AuditLogPage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, filter: &AuditLogFilter, found: &Paged<AuditEntryView>) -> Self {
        let operation = filter.operation.clone().unwrap_or_default();
        let subject = filter.subject.clone().unwrap_or_default();
        let older = |cursor: &String| {
            let query = [("operation", &operation), ("subject", &subject), ("cursor", cursor)];
            let query = query.into_iter().filter(|(_, value)| !value.is_empty());
            let query: Vec<String> = query.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
            visit.to(&format!("/ui/audit-log?{}", query.join("&")))
        };
        Self {
            frame,
            older: found.next_cursor.as_ref().map(older),
            rows: found.items.iter().map(|entry| row(entry, visit)).collect(),
            alarms: visit.to("/ui/alarms"),
            all: visit.to("/ui/audit-log"),
            operation,
            subject,
        }
    }
}

fn row(entry: &AuditEntryView, visit: &Visit) -> AuditListRow {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (before, after) = (fields(&entry.old_fields), fields(&entry.new_fields));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed =
        |name: &String| Changed { field: name.clone(), before: value(before.get(name)), after: value(after.get(name)) };
    AuditListRow {
        at: Moment::at(entry.at),
        actor: entry.actor.clone(),
        key: entry.key_id.map(Code::short),
        operation: entry.operation.clone(),
        subject: Code::short(&entry.subject),
        of_subject: visit.to(&format!("/ui/audit-log?subject={}", escaped(&entry.subject))),
        page: page(entry).map(|path| visit.to(&path)),
        reason: entry.reason.clone().unwrap_or_default(),
        changes: names.into_iter().map(changed).collect(),
    }
}

/// The page of what was changed, where there is one.
fn page(entry: &AuditEntryView) -> Option<String> {
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
    Some(format!("{folder}/{}", entry.subject))
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
