//! The view of the home page. This module is pure.

use super::AppStatus;
use super::headline::{headline, waiting};
use crate::alarms::{About, AlarmText, customers, missing_product};
use crate::cell::Cell;
use crate::chart::{Chart, Counted, Spark, duration};
use crate::destinations::{lasts_since, state, times};
use crate::frame::Frame;
use crate::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::text::{amount, exact};
use crate::visit::Visit;
use api::resources::first_steps::FirstSteps;
use api::resources::series::SeriesPoints;
use askama::Template;
use storage::{Alarm, DestinationOverview, Overview};

/// The number of Temporal actions per day, which Temporal Cloud bills.
#[derive(Debug, Clone, Copy)]
pub struct EngineUse {
    pub actions: i64,
}

impl EngineUse {
    fn tile(self) -> Tile {
        Tile {
            label: "Temporal actions",
            figure: exact(self.actions),
            tone: if self.actions == 0 {
                "zero"
            } else {
                Tone::Idle.as_str()
            },
            note: Some("last 24 hours".to_owned()),
            moment: None,
            path: None,
        }
    }
}

/// The requests to one destination or to all destinations, minute by minute.
#[derive(Debug)]
pub struct Requests {
    pub delivered: SeriesPoints,
    pub failed: SeriesPoints,
    pub latency: SeriesPoints,
}

/// The last hour, minute by minute.
#[derive(Debug)]
pub struct Hour {
    pub accepted: SeriesPoints,
    pub refused: SeriesPoints,
    /// Time between the end of each window and the beginning of its settling.
    pub lag: SeriesPoints,
    /// Requests to all destinations.
    pub all: Requests,
    /// Requests to the first destinations of the overview, in its order.
    pub destinations: Vec<Requests>,
}

impl Hour {
    fn charts(&self) -> [Chart; 4] {
        let one = |name, tone, points| Counted { name, tone, points };
        [
            Chart::counts(
                "notifications",
                "Notifications per minute",
                &[
                    one("accepted", "busy", &self.accepted),
                    one("refused", "warn", &self.refused),
                ],
            ),
            Chart::counts("events", "Events sent per minute", &self.all.counted()),
            Chart::times("lag", "Settling delay", &self.lag),
            Chart::times("latency", "Response time", &self.all.latency),
        ]
    }
}

impl Requests {
    fn counted(&self) -> [Counted<'_>; 2] {
        [
            Counted {
                name: "delivered",
                tone: "good",
                points: &self.delivered,
            },
            Counted {
                name: "failed attempts",
                tone: "bad",
                points: &self.failed,
            },
        ]
    }

    /// Returns the average response time, if there were responses.
    fn average(&self) -> Option<String> {
        let answered = self
            .latency
            .items
            .iter()
            .filter_map(|point| Some((point.count, point.average_ms?)));
        let (count, total) = answered.fold((0, 0), |(count, total), (more, ms)| {
            (count + more, total + more * ms)
        });
        (count > 0).then(|| duration(total / count))
    }
}

/// Returns the first steps with their commands, in order.
fn list(of: FirstSteps) -> Vec<FirstStep> {
    let step = |is_done, title, (what, command), path| FirstStep {
        is_done,
        title,
        what,
        command,
        path,
    };
    vec![
        step(
            of.has_app,
            "Create an app",
            (
                "An app owns its purchases and destinations.",
                "settle app create --help",
            ),
            "/ui/connect",
        ),
        step(
            of.has_platform,
            "Connect its store",
            (
                "You get the URL to paste into the store's console.",
                "settle platform create --help",
            ),
            "/ui/connect",
        ),
        step(
            of.has_destination,
            "Add a destination",
            (
                "A service that receives the events: your own or another.",
                "settle destination create --help",
            ),
            "/ui/destinations/new",
        ),
        step(
            of.has_notification,
            "Wait for the first notification",
            (
                "The store sends it after a purchase. Under settle run, send a sample.",
                "settle sample --help",
            ),
            "/ui/connect",
        ),
    ]
}

pub struct FirstStep {
    is_done: bool,
    title: &'static str,
    what: &'static str,
    command: &'static str,
    path: &'static str,
}

/// A number on the home page.
pub struct Tile {
    label: &'static str,
    figure: String,
    tone: &'static str,
    note: Option<String>,
    moment: Option<Moment>,
    /// Path of the list of the counted items.
    path: Option<String>,
}

pub struct HealthListRow {
    path: String,
    name: String,
    kind: String,
    state: Cell,
    pending: String,
    oldest: Option<Moment>,
    failed: String,
    bars: Option<Spark>,
    latency: Option<String>,
    last_failure: Option<Moment>,
    error: Option<Sentence>,
}

pub struct Raised {
    kind: String,
    about: Option<About>,
    detail: AlarmText,
    customers: Option<String>,
    add: Option<String>,
    times: i64,
    last: Moment,
}

pub struct Window {
    path: String,
    key: Code,
    ends: Moment,
}

#[derive(Template)]
#[template(path = "home/page.html")]
pub struct HomePage<'a> {
    frame: &'a Frame,
    tone: Badge,
    sentence: Sentence,
    second: String,
    tiles: Vec<Tile>,
    windows: Vec<Window>,
    charts: Vec<Chart>,
    rows: Vec<HealthListRow>,
    alarms: Vec<Raised>,
    steps: Vec<FirstStep>,
    query: String,
}

impl<'a> HomePage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, status: &AppStatus) -> Self {
        let AppStatus {
            found,
            alarms,
            health,
            steps,
            hour,
            engine_use,
        } = status;
        let (tone, sentence) = headline(found, *health, alarms.len());
        let label = match tone {
            Tone::Good => "All is well",
            Tone::Busy => "Under way",
            Tone::Idle => "Ready",
            Tone::Warn => "Needs attention",
            Tone::Bad => "Action needed",
        };
        let query = frame
            .app
            .as_ref()
            .map_or_else(String::new, |app| format!("?app_id={app}"));
        let window = |one: &storage::OpenWindow| Window {
            path: format!("/ui/purchases/{}{query}", one.collapse_key),
            key: Code::short(one.collapse_key),
            ends: Moment::until(one.ends_at),
        };
        let raised = |one: &Alarm| Raised {
            kind: one.kind.replace('_', " "),
            about: About::of(one, visit),
            detail: AlarmText::of(&one.detail),
            customers: customers(one),
            add: missing_product(one, visit, frame),
            times: one.count,
            last: Moment::ago(one.last_at),
        };
        Self {
            frame,
            tone: Badge::new(tone, label),
            sentence: Sentence::new(&sentence),
            second: waiting(found),
            tiles: tiles(found, &query)
                .into_iter()
                .chain(engine_use.map(EngineUse::tile))
                .collect(),
            windows: found.next_windows.iter().map(window).collect(),
            // Before the first notification, there is nothing to chart.
            charts: if found.last_accepted_at.is_some() {
                hour.charts().into()
            } else {
                Vec::new()
            },
            rows: found
                .destinations
                .iter()
                .enumerate()
                .map(|(at, one)| row(one, visit, hour.destinations.get(at)))
                .collect(),
            alarms: alarms.iter().map(raised).collect(),
            steps: steps.map(list).unwrap_or_default(),
            query,
        }
    }
}

fn tiles(found: &Overview, query: &str) -> Vec<Tile> {
    let tile = |label, number: i64, tone: Tone| Tile {
        label,
        figure: amount(number),
        tone: if number == 0 { "zero" } else { tone.as_str() },
        note: None,
        moment: None,
        path: None,
    };
    let only = |filter: &str| {
        Some(format!(
            "/ui/purchases{}{filter}=true",
            if query.is_empty() {
                "?".to_owned()
            } else {
                format!("{query}&")
            }
        ))
    };
    let destinations = || Some(format!("/ui/destinations{query}"));
    let last = Tile {
        label: "Last notification",
        figure: if found.last_accepted_at.is_some() {
            String::new()
        } else {
            "none yet".to_owned()
        },
        tone: "idle",
        note: None,
        moment: found.last_accepted_at.map(Moment::ago),
        path: None,
    };
    let oldest = found.oldest_pending_at;
    let pending = Tile {
        note: oldest.map(|_| "oldest".to_owned()),
        ..tile("Pending deliveries", found.pending, Tone::Busy)
    };
    vec![
        last,
        tile("Waiting to settle", found.windows, Tone::Busy),
        Tile {
            path: only("held"),
            ..tile("Held purchases", found.held, Tone::Warn)
        },
        tile("Waiting for the store", found.waiting, Tone::Warn),
        Tile {
            moment: oldest.map(Moment::ago),
            path: destinations(),
            ..pending
        },
        Tile {
            path: destinations(),
            ..tile("Failed deliveries", found.failed, Tone::Bad)
        },
    ]
}

fn row(one: &DestinationOverview, visit: &Visit, hour: Option<&Requests>) -> HealthListRow {
    let named = &one.destination;
    let page = |end: &str| visit.to(&format!("/ui/destinations/{}{end}", named.id));
    HealthListRow {
        path: page(""),
        name: named.name.clone(),
        kind: named.kind.clone(),
        state: state(
            one.shown_state,
            lasts_since(one.shown_state, times(one)),
            page,
        ),
        pending: amount(one.pending),
        oldest: one.oldest_pending_at.map(Moment::ago),
        failed: amount(one.failed),
        bars: hour.map(|hour| Spark::counts(&hour.counted())),
        latency: hour.and_then(Requests::average),
        last_failure: one.last_failure_at.map(Moment::ago),
        error: one.last_error.as_deref().map(Sentence::new),
    }
}
