//! What the screens of alarms and acts show. Pure.

use crate::pages::frame::Frame;
use crate::pages::parts::{Code, Moment, Sentence};
use crate::pages::text::escaped;
use crate::pages::visit::Visit;
use askama::Template;
use domain::AlarmId;
use serde_json::Value;
use std::collections::BTreeSet;
use storage::{ActFilter, ActView, Alarm, Paged, Role};

/// Maximum number of characters of a changed value.
const VALUE_CHARS: usize = 120;

/// What is wrong with the form of an alarm.
#[derive(Debug, Default)]
pub struct Mistake {
    /// Whose form it is.
    pub alarm: Option<AlarmId>,
    /// What was expected as its note.
    pub expected: String,
}

/// An alarm.
pub struct Raised {
    id: AlarmId,
    acknowledged: Option<Moment>,
    note: String,
    is_wrong: bool,
    kind: String,
    detail: Sentence,
    times: i64,
    first: Moment,
    last: Moment,
}

/// The alarms.
#[derive(Template)]
#[template(path = "alarms/alarms.html")]
pub struct AlarmsPage<'a> {
    frame: &'a Frame,
    rows: Vec<Raised>,
    older: Option<String>,
    acts: String,
    is_all: bool,
    open: String,
    all: String,
    expected: String,
}

impl<'a> AlarmsPage<'a> {
    /// The page of these alarms.
    #[must_use]
    pub fn new((frame, visit): (&'a Frame, &Visit), (found, is_all): (&Paged<Alarm>, bool), mistake: Mistake) -> Self {
        let raised = |one: &Alarm| Raised {
            id: one.id,
            acknowledged: one.acknowledged_at.map(Moment::ago),
            note: match (&one.acknowledged_by, &one.note) {
                (Some(by), Some(note)) => format!("{by}: {note}"),
                (by, note) => by.clone().or_else(|| note.clone()).unwrap_or_default(),
            },
            is_wrong: mistake.alarm == Some(one.id),
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
            acts: visit.to("/ui/acts"),
            is_all,
            open: visit.to("/ui/alarms"),
            all: visit.to("/ui/alarms?which=all"),
            expected: mistake.expected,
        }
    }

    fn can_acknowledge(&self) -> bool {
        self.frame.may(Role::Support)
    }
}

/// An act.
pub struct Row {
    at: Moment,
    actor: String,
    operation: String,
    subject: Code,
    of_subject: String,
    reason: String,
    changes: Vec<Changed>,
}

/// A changed field.
pub struct Changed {
    field: String,
    before: String,
    after: String,
}

/// The acts.
#[derive(Template)]
#[template(path = "alarms/acts.html")]
pub struct ActsPage<'a> {
    frame: &'a Frame,
    rows: Vec<Row>,
    older: Option<String>,
    alarms: String,
    all: String,
    operation: String,
    subject: String,
}

impl<'a> ActsPage<'a> {
    /// The page of these acts.
    #[must_use]
    pub fn new((frame, visit): (&'a Frame, &Visit), filter: &ActFilter, found: &Paged<ActView>) -> Self {
        let operation = filter.operation.clone().unwrap_or_default();
        let subject = filter.subject.clone().unwrap_or_default();
        let older = |cursor: &String| {
            let query = [("operation", &operation), ("subject", &subject), ("cursor", cursor)];
            let query = query.into_iter().filter(|(_, value)| !value.is_empty());
            let query: Vec<String> = query.map(|(name, value)| format!("{name}={}", escaped(value))).collect();
            visit.to(&format!("/ui/acts?{}", query.join("&")))
        };
        Self {
            frame,
            older: found.next_cursor.as_ref().map(older),
            rows: found.items.iter().map(|act| row(act, visit)).collect(),
            alarms: visit.to("/ui/alarms"),
            all: visit.to("/ui/acts"),
            operation,
            subject,
        }
    }
}

fn row(act: &ActView, visit: &Visit) -> Row {
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (before, after) = (fields(&act.old_fields), fields(&act.new_fields));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed =
        |name: &String| Changed { field: name.clone(), before: value(before.get(name)), after: value(after.get(name)) };
    Row {
        at: Moment::at(act.at),
        actor: act.actor.clone(),
        operation: act.operation.clone(),
        subject: Code::short(&act.subject),
        of_subject: visit.to(&format!("/ui/acts?subject={}", escaped(&act.subject))),
        reason: act.reason.clone().unwrap_or_default(),
        changes: names.into_iter().map(changed).collect(),
    }
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
