//! The views of the lists of apps and platforms, and the form of a new platform. This module is pure.

use super::of_app;
use super::progress::{ConnectStep, Facts};
use crate::cell::{Cell, CellPart};
use crate::change::{Mistakes, Refused};
use crate::described::Group;
use crate::destinations::{StateTimes, lasts_since, state};
use crate::form::Sent;
use crate::frame::Frame;
use crate::lists::{Column, Table};
use crate::parts::{Badge, Code, Tone};
use crate::text::{capital, escaped};
use crate::visit::Visit;
use api::resources::connections::ConnectedPlatform;
use api::resources::forms::Form;
use api::stores::LAST_WITHOUT_SIGNS;
use askama::Template;
use storage::{App, Paged, Platform, Role, ShownDestination};

/// The field for confirming that no process is running that does not know the store.
pub const CONFIRMATION: &str = "no_older_process";

/// A platform, and its connection progress.
pub struct Connecting {
    pub platform: Platform,
    pub facts: Facts,
}

impl From<ConnectedPlatform> for Connecting {
    fn from(of: ConnectedPlatform) -> Self {
        let ConnectedPlatform {
            platform,
            progress,
            has_destination,
            takes_samples,
            has_topics,
        } = of;
        Self {
            platform,
            facts: Facts {
                progress,
                has_destination,
                takes_samples,
                is_without_topics: !has_topics,
            },
        }
    }
}

impl Connecting {
    /// Returns the address of one of the platform's pages.
    fn page(&self, visit: &Visit, rest: &str) -> String {
        of_app(
            visit,
            self.platform.app_id,
            &format!("/ui/connect/platforms/{}{rest}", self.platform.id),
        )
    }

    fn state(&self) -> Badge {
        match self.facts.next() {
            None => Badge::new(Tone::Good, "connected"),
            Some(ConnectStep::Topic) if self.facts.pending() > 0 => {
                Badge::new(Tone::Warn, "topic waiting for approval")
            }
            Some(_) => Badge::new(Tone::Busy, "not connected yet"),
        }
    }
}

const PLATFORMS: &[Column<Connecting>] = &[
    Column::head("Platform", |one, visit| {
        let settings = &one.platform.settings;
        let link = CellPart::link(one.page(visit, ""), settings.name.as_str());
        Cell::from(link).under(vec![settings.package_name.as_str().into()])
    }),
    Column::new("Environment", |one, _| {
        one.platform.settings.environment.as_str().into()
    }),
    Column::new("State", |one, _| one.state().into()),
    Column::new("Last accepted", |one, _| {
        Cell::or(one.facts.accepted().map(|last| last.last_at), "nothing yet")
    }),
    Column::new("Next", |one, visit| {
        let next = one.facts.next();
        let path = one.page(visit, next.map_or("/first", ConnectStep::path));
        CellPart::link(path, next.map_or("see the latest event", ConnectStep::next)).into()
    }),
];

/// Returns the table of an app's platforms; `None` if it has none.
fn platforms(visit: &Visit, app: &App, all: &[Connecting]) -> Option<Table> {
    (!all.is_empty())
        .then(|| Table::of(&format!("Platforms of {}", app.name), PLATFORMS, all, visit))
}

const DESTINATIONS: &[Column<ShownDestination>] = &[
    Column::head("Destination", |one, visit| {
        Cell::from(CellPart::link(
            of_destination(visit, one, ""),
            one.name.as_str(),
        ))
        .under(vec![one.kind.as_str().into()])
    }),
    Column::new("State", |one, visit| {
        let times = StateTimes {
            since: one.since,
            created_at: one.created_at,
            first_failure_at: one.first_failure_at,
        };
        let since = lasts_since(one.shown_state, times);
        state(one.shown_state, since, |end| {
            of_destination(visit, one, end)
        })
    }),
];

/// Returns the address of one of a destination's pages.
fn of_destination(visit: &Visit, one: &ShownDestination, end: &str) -> String {
    of_app(
        visit,
        one.app_id,
        &format!("/ui/destinations/{}{end}", one.id),
    )
}

/// Returns the table of an app's destinations; `None` if it has none.
pub fn destinations(visit: &Visit, all: &[ShownDestination]) -> Option<Table> {
    (!all.is_empty()).then(|| Table::of("Destinations, oldest first", DESTINATIONS, all, visit))
}

pub struct AppCard {
    id: String,
    path: String,
    new_path: String,
    name: String,
    platforms: Option<Table>,
    /// Whether the app's own page lists more platforms.
    has_more: bool,
}

impl AppCard {
    pub fn new(visit: &Visit, app: &App, all: &[Connecting], has_more: bool) -> Self {
        let path = format!("/ui/connect/apps/{}", app.id);
        Self {
            id: app.id.to_string(),
            new_path: of_app(visit, app.id, &format!("{path}/platforms/new")),
            path: of_app(visit, app.id, &path),
            name: app.name.clone(),
            platforms: platforms(visit, app, all),
            has_more,
        }
    }
}

#[derive(Template)]
#[template(path = "connect/list.html")]
pub struct ListPage<'a> {
    frame: &'a Frame,
    cards: Vec<AppCard>,
    older: Option<String>,
    may_create: bool,
    may_connect: bool,
    name: String,
    wrong_name: Option<String>,
    reason: String,
    wrong_reason: Option<String>,
    refused: Refused,
}

impl<'a> ListPage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        cards: Vec<AppCard>,
        cursor: Option<&str>,
        mistakes: &Mistakes,
    ) -> Self {
        let Mistakes { sent, refused, .. } = mistakes;
        Self {
            older: cursor
                .map(|cursor| visit.to(&format!("/ui/connect?cursor={}", escaped(cursor)))),
            may_create: frame.may(Role::Admin) && visit.sign_in.app_id.is_none(),
            may_connect: frame.may(Role::Operator),
            name: entered(sent, "name"),
            wrong_name: refused.wrong("name"),
            reason: entered(sent, "reason"),
            wrong_reason: refused.wrong("reason"),
            refused: refused.clone(),
            frame,
            cards,
        }
    }
}

/// Returns the entered value of a field; empty if there is none.
pub fn entered(sent: &Sent, name: &str) -> String {
    sent.get(name).unwrap_or_default().to_owned()
}

#[derive(Template)]
#[template(path = "connect/app.html")]
pub struct AppPage<'a> {
    frame: &'a Frame,
    name: String,
    id: Code,
    new_path: String,
    may_connect: bool,
    platforms: Option<Table>,
    more: Option<String>,
    destinations: Option<Table>,
    more_destinations: Option<String>,
}

impl<'a> AppPage<'a> {
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        app: &App,
        all: &[Connecting],
        cursor: Option<&str>,
        destinations: &Paged<ShownDestination>,
    ) -> Self {
        let path = format!("/ui/connect/apps/{}", app.id);
        let more =
            |cursor: &str| of_app(visit, app.id, &format!("{path}?cursor={}", escaped(cursor)));
        let of_destinations = format!("/ui/destinations?app_id={}", app.id);
        Self {
            name: app.name.clone(),
            id: Code::short(app.id),
            new_path: of_app(visit, app.id, &format!("{path}/platforms/new")),
            may_connect: frame.may(Role::Operator),
            more: cursor.map(more),
            more_destinations: destinations
                .next_cursor
                .is_some()
                .then_some(of_destinations),
            destinations: self::destinations(visit, &destinations.items),
            platforms: platforms(visit, app, all),
            frame,
        }
    }
}

/// A store that can be chosen.
pub struct StoreChoice {
    path: String,
    name: &'static str,
    label: String,
    summary: &'static str,
}

/// The form of a new platform.
#[derive(Template)]
#[template(path = "connect/platform.html")]
pub struct PlatformPage<'a> {
    frame: &'a Frame,
    app: String,
    app_path: String,
    path: String,
    stores: Vec<StoreChoice>,
    store: Option<&'static str>,
    label: &'static str,
    summary: &'static str,
    groups: Vec<Group>,
    /// Whether a visitor must confirm that no process is running whose version records no signs of life.
    needs_confirmation: bool,
    is_confirmed: bool,
    mistakes: Vec<api::error::Field>,
    refused: Refused,
    reason: String,
    wrong_reason: Option<String>,
}

impl<'a> PlatformPage<'a> {
    /// The last version that records no signs of life.
    const WITHOUT_SIGNS: &'static str = LAST_WITHOUT_SIGNS;

    /// Returns the page of an app, with the form of a store if one is selected.
    pub fn new(
        frame: &'a Frame,
        visit: &Visit,
        app: &App,
        forms: &[Form],
        form: Option<&Form>,
    ) -> Self {
        let path = format!("/ui/connect/apps/{}/platforms/new", app.id);
        let choice = |form: &Form| StoreChoice {
            path: of_app(visit, app.id, &format!("{path}?store={}", form.name)),
            name: form.name,
            label: capital(form.label),
            summary: form.summary,
        };
        Self {
            app: app.name.clone(),
            app_path: of_app(visit, app.id, &format!("/ui/connect/apps/{}", app.id)),
            stores: forms.iter().map(choice).collect(),
            store: form.map(|form| form.name),
            label: form.map_or("a store", |form| form.label),
            summary: form.map_or("", |form| form.summary),
            path: of_app(visit, app.id, &path),
            groups: Vec::new(),
            needs_confirmation: false,
            is_confirmed: false,
            mistakes: Vec::new(),
            refused: Refused::default(),
            reason: String::new(),
            wrong_reason: None,
            frame,
        }
    }

    /// Adds the form's fields, and whether a confirmation is required.
    #[must_use]
    pub fn with(self, groups: Vec<Group>, needs_confirmation: bool) -> Self {
        Self {
            groups,
            needs_confirmation,
            ..self
        }
    }

    #[must_use]
    pub fn refused(self, sent: &Sent, refused: &Refused) -> Self {
        Self {
            is_confirmed: sent.get(CONFIRMATION) == Some("true"),
            mistakes: refused.fields.clone(),
            reason: entered(sent, "reason"),
            wrong_reason: refused.wrong("reason"),
            refused: Refused {
                fields: Vec::new(),
                ..refused.clone()
            },
            ..self
        }
    }
}
