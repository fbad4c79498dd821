//! The views of the list of destinations, the form of a new one and the page with its secrets. This module is pure.

use super::state::{lasts_since, state, times};
use crate::action::Action;
use crate::cell::Cell;
use crate::change::Mistakes;
use crate::described::Group;
use crate::frame::Frame;
use crate::once::Once;
use crate::parts::{Moment, Sentence};
use crate::text::{amount, capital, with_query};
use crate::visit::Visit;
use api::error::Field;
use api::resources::destinations::CreatedDestination;
use api::resources::forms::{Form, Step};
use askama::Template;
use domain::{AppId, Timestamp};
use protocols::destinations::{TestNotes, shown_kind};
use serde_json::Value;
use storage::{DestinationOverview, Role};

pub struct DestinationListRow {
    path: String,
    name: String,
    kind: &'static str,
    state: Cell,
    pending: String,
    oldest: Option<Moment>,
    failed: String,
    last_failure: Option<Moment>,
    error: Option<Sentence>,
}

pub struct OfApp {
    name: String,
    rows: Vec<DestinationListRow>,
}

/// A kind of destination that can be added.
pub struct Kind {
    label: &'static str,
    summary: &'static str,
    path: String,
}

#[derive(Template)]
#[template(path = "destinations/list.html")]
pub struct ListPage<'a> {
    frame: &'a Frame,
    apps: Vec<OfApp>,
    kinds: Vec<Kind>,
    is_new: bool,
}

impl<'a> ListPage<'a> {
    /// Returns the list of these destinations.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        found: &[DestinationOverview],
        forms: &[Form],
    ) -> Self {
        let mut ids: Vec<AppId> = found.iter().map(|one| one.destination.app_id).collect();
        ids.sort();
        ids.dedup();
        let name = |id: AppId| {
            frame
                .apps
                .iter()
                .find(|app| app.id == id.to_string())
                .map(|app| app.name.clone())
        };
        let of_app = |id: AppId| OfApp {
            name: name(id).unwrap_or_else(|| id.to_string()),
            rows: found
                .iter()
                .filter(|one| one.destination.app_id == id)
                .map(|one| row(one, visit, forms))
                .collect(),
        };
        let mut apps: Vec<OfApp> = ids.into_iter().map(of_app).collect();
        apps.sort_by(|a, b| a.name.cmp(&b.name));
        let kinds = if frame.may(Role::Operator) {
            kinds(visit, forms)
        } else {
            Vec::new()
        };
        Self {
            frame,
            is_new: apps.is_empty(),
            apps,
            kinds,
        }
    }
}

fn kinds(visit: &Visit, forms: &[Form]) -> Vec<Kind> {
    let kind = |form: &Form| Kind {
        label: form.label,
        summary: form.summary,
        path: visit.to(&with_query("/ui/destinations/new", &[("kind", form.name)])),
    };
    forms.iter().map(kind).collect()
}

fn row(one: &DestinationOverview, visit: &Visit, forms: &[Form]) -> DestinationListRow {
    let named = &one.destination;
    let page = |end: &str| visit.to(&format!("/ui/destinations/{}{end}", named.id));
    DestinationListRow {
        path: page(""),
        name: named.name.clone(),
        kind: forms
            .iter()
            .find(|form| form.name == named.kind)
            .map_or("", |form| form.label),
        state: state(
            one.shown_state,
            lasts_since(one.shown_state, times(one)),
            page,
        ),
        pending: amount(one.pending),
        oldest: one.oldest_pending_at.map(Moment::ago),
        failed: amount(one.failed),
        last_failure: one.last_failure_at.map(Moment::ago),
        error: one.last_error.as_deref().map(Sentence::new),
    }
}

/// A described form, filled with values.
pub struct Sheet {
    pub groups: Vec<Group>,
    pub form: Form,
    pub path: String,
    pub reason: String,
    pub mistakes: Vec<Field>,
    /// Reason for the refusal, if no single field is wrong.
    pub detail: Option<String>,
}

impl Sheet {
    /// Returns the expected value of the reason, if the entered one is wrong.
    pub fn wrong_reason(&self) -> Option<&str> {
        self.mistakes
            .iter()
            .find(|one| one.field == "reason")
            .map(|one| one.expected.as_str())
    }
}

/// A setup step in the other system.
pub struct GuideStep {
    title: &'static str,
    text: Sentence,
    place: &'static str,
    url: Option<&'static str>,
}

fn guide(steps: &[Step]) -> Vec<GuideStep> {
    let step = |one: &Step| GuideStep {
        title: one.title,
        text: Sentence::new(one.text),
        place: one.place,
        url: one.url,
    };
    steps.iter().map(step).collect()
}

/// The progress of adding a destination.
pub enum Entry {
    /// The kind must still be selected.
    Kind(Vec<Form>),
    /// The app must still be selected.
    App(Form),
    /// The form must still be filled in.
    Sheet(Sheet),
}

#[derive(Template)]
#[template(path = "destinations/new.html")]
pub struct NewPage<'a> {
    frame: &'a Frame,
    title: &'static str,
    summary: &'static str,
    kind: &'static str,
    kinds: Vec<Kind>,
    sheet: Option<Sheet>,
    groups: Vec<Group>,
    mistakes: Vec<Field>,
    detail: Option<String>,
    guide: Vec<GuideStep>,
}

impl<'a> NewPage<'a> {
    /// Returns the page of a new destination.
    pub fn new(frame: &'a Frame, visit: &Visit, entry: Entry) -> Self {
        let empty = Self {
            frame,
            title: "New destination",
            summary: "",
            kind: "",
            kinds: Vec::new(),
            sheet: None,
            groups: Vec::new(),
            mistakes: Vec::new(),
            detail: None,
            guide: Vec::new(),
        };
        match entry {
            Entry::Kind(forms) => Self {
                kinds: kinds(visit, &forms),
                ..empty
            },
            Entry::App(form) => Self {
                title: form.label,
                summary: form.summary,
                kind: form.name,
                ..empty
            },
            Entry::Sheet(mut sheet) => Self {
                title: sheet.form.label,
                summary: sheet.form.summary,
                kind: sheet.form.name,
                groups: std::mem::take(&mut sheet.groups),
                mistakes: sheet.mistakes.clone(),
                detail: sheet.detail.clone(),
                guide: guide(&sheet.form.guide),
                sheet: Some(sheet),
                ..empty
            },
        }
    }
}

/// Returns until when replaced secrets sign too, as a sentence; `None` if none does.
pub fn old_secret(settings: &Value, now: Timestamp) -> Option<Sentence> {
    let until: Timestamp = settings["old_secret_signs_until"].as_str()?.parse().ok()?;
    if until <= now {
        return None;
    }
    Some(Sentence::new(&format!(
        "Replaced secrets also sign until {until}."
    )))
}

/// The page with secrets that are shown only once.
#[derive(Template)]
#[template(path = "destinations/once.html")]
pub struct OncePage<'a> {
    frame: &'a Frame,
    name: String,
    path: String,
    /// The next step of connecting a platform, if that led to the form.
    connect_path: Option<String>,
    secrets: Vec<Once>,
    warnings: &'a [String],
    guide: Vec<GuideStep>,
    actions: Vec<Action>,
}

impl<'a> OncePage<'a> {
    /// Returns the page of a destination that was created or changed.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        created: &'a CreatedDestination,
        form: Form,
    ) -> Self {
        let values = serde_json::to_value(created).unwrap_or_default();
        let text = |name: &str| {
            values
                .get(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let label = |name: &str| {
            let field = form.fields.iter().find(|field| field.name == name);
            field.map_or_else(
                || capital(&name.replace('_', " ")),
                |field| field.label.to_owned(),
            )
        };
        let secrets = created
            .shown_once
            .iter()
            .map(|name| Once {
                label: label(name),
                value: text(name),
                note: old_secret(&values, visit.now),
            })
            .collect();
        let id = created.id().to_string();
        Self {
            frame,
            name: text("name"),
            path: visit.to(&format!("/ui/destinations/{id}")),
            connect_path: super::connected_from(visit)
                .map(|id| visit.to(&format!("/ui/connect/platforms/{id}/first"))),
            secrets,
            warnings: &created.warnings,
            actions: vec![test(
                visit,
                &id,
                &shown_kind(form.name).test_notes(&values),
                &Mistakes::default(),
            )],
            guide: guide(&form.guide),
        }
    }
}

pub fn test(visit: &Visit, id: &str, notes: &TestNotes, mistakes: &Mistakes) -> Action {
    let TestNotes { what, lacks, .. } = notes;
    let what = lacks.map_or_else(
        || (*what).to_owned(),
        |key| format!("{what} The test needs the {key}, which is missing."),
    );
    let action = Action::new(
        format!("/ui/destinations/{id}/test"),
        "test",
        "Send a test",
        &what,
        mistakes,
    );
    let settings = || {
        (
            "Settings",
            visit.to(&format!("/ui/destinations/{id}/settings")),
        )
    };
    if lacks.is_some() {
        action.after(settings())
    } else {
        action
    }
}
