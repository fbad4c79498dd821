//! The view of alarms. This module is pure.

use super::list::{ALL, tabs};
use super::{About, AlarmText, SCREEN, customers, missing_product};
use crate::change::Mistakes;
use crate::frame::Frame;
use crate::parts::{Moment, Tabs};
use crate::text::{escaped, with_query};
use crate::visit::Visit;
use askama::Template;
use domain::AlarmId;
use storage::{Alarm, Paged, Role};

/// Returns a path with the query of the alarms that are shown: the tab and the cursor.
fn within(visit: &Visit, path: &str) -> String {
    let (which, cursor) = (
        visit.query("which").unwrap_or_default(),
        visit.query("cursor").unwrap_or_default(),
    );
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
    detail: AlarmText,
    customers: Option<String>,
    add: Option<String>,
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
    tabs: Tabs,
    is_all: bool,
    all: String,
}

impl<'a> AlarmsPage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        found: &Paged<Alarm>,
        is_all: bool,
        mistakes: &Mistakes,
    ) -> Self {
        let of = |one: &Alarm| {
            Some(mistakes).filter(|of| of.path.starts_with(&format!("/ui/alarms/{}/", one.id)))
        };
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
            expected: of(one)
                .and_then(|of| of.refused.wrong("reason").or(of.refused.wrong("note"))),
            refused: of(one).and_then(|of| of.refused.detail.clone()),
            entered: of(one)
                .and_then(|of| of.sent.get("reason"))
                .unwrap_or_default()
                .to_owned(),
            about: About::of(one, visit),
            kind: one.kind.replace('_', " "),
            detail: AlarmText::of(&one.detail),
            customers: customers(one),
            add: missing_product(one, visit, frame),
            times: one.count,
            first: Moment::at(one.at),
            last: Moment::ago(one.last_at),
        };
        let which = if is_all { "which=all&" } else { "" };
        let older =
            |cursor: &String| visit.to(&format!("/ui/alarms?{which}cursor={}", escaped(cursor)));
        Self {
            frame,
            rows: found.items.iter().map(raised).collect(),
            older: found.next_cursor.as_ref().map(older),
            tabs: tabs(visit, if is_all { ALL } else { SCREEN.path }),
            is_all,
            all: visit.to(ALL),
        }
    }

    fn can_acknowledge(&self) -> bool {
        self.frame.may(Role::Support)
    }
}
