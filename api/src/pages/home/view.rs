//! What the first screen shows. Pure.

use super::AppStatus;
use crate::pages::alarms::About;
use crate::pages::chart::{Chart, Counted, Spark, duration};
use crate::pages::frame::Frame;
use crate::pages::parts::{Badge, Code, Moment, Sentence, Tone};
use crate::pages::text::{amount, capital, counted, destination_state};
use crate::pages::visit::Visit;
use crate::resources::series::SeriesPoints;
use askama::Template;
use domain::DestinationId;
use domain::health::State;
use storage::{Alarm, DestinationOverview, NamedDestination, Overview};

#[derive(Debug, Clone, Copy)]
pub struct Health {
    pub is_connected: bool,
    /// Whether no sweep finished for a while.
    pub is_sweep_late: bool,
}

/// The requests to one destination or to all, minute by minute.
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
    /// How long after its window each settling began.
    pub lag: SeriesPoints,
    /// What was sent to all destinations.
    pub all: Requests,
    /// What was sent to the first destinations of the overview, in its order.
    pub destinations: Vec<Requests>,
}

impl Hour {
    fn charts(&self) -> [Chart; 4] {
        let one = |name, tone, points| Counted { name, tone, points };
        [
            Chart::counts(
                "notifications",
                "Notifications a minute",
                &[one("accepted", "busy", &self.accepted), one("refused", "warn", &self.refused)],
            ),
            Chart::counts("events", "Events sent a minute", &self.all.counted()),
            Chart::times("lag", "From the end of a window to its settling", &self.lag),
            Chart::times("latency", "Answers of destinations", &self.all.latency),
        ]
    }
}

impl Requests {
    fn counted(&self) -> [Counted<'_>; 2] {
        [
            Counted { name: "delivered", tone: "good", points: &self.delivered },
            Counted { name: "failed", tone: "bad", points: &self.failed },
        ]
    }

    /// How long the answers took on average, if there were some.
    fn average(&self) -> Option<String> {
        let answered = self.latency.items.iter().filter_map(|point| Some((point.count, point.average_ms?)));
        let (count, total) = answered.fold((0, 0), |(count, total), (more, ms)| (count + more, total + more * ms));
        (count > 0).then(|| duration(total / count))
    }
}

/// The steps of connecting that are done.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    pub has_app: bool,
    /// It is connected to a store.
    pub has_platform: bool,
    pub has_notification: bool,
    pub has_destination: bool,
}

impl Steps {
    /// Whether nothing is left to do.
    pub const fn are_done(self) -> bool {
        self.has_app && self.has_platform && self.has_notification && self.has_destination
    }

    /// The steps with their commands, in order.
    fn list(self) -> Vec<Step> {
        let step = |is_done, title, (what, command), path| Step { is_done, title, what, command, path };
        vec![
            step(
                self.has_app,
                "Create an app",
                ("An app owns its purchases and destinations.", "settle app create --help"),
                "/ui/connect",
            ),
            step(
                self.has_platform,
                "Connect its store",
                ("The answer has the address that the store's console needs.", "settle platform create --help"),
                "/ui/connect",
            ),
            step(
                self.has_destination,
                "Add a destination",
                ("A webhook or an integration that receives the events.", "settle destination create --help"),
                "/ui/destinations/new",
            ),
            step(
                self.has_notification,
                "Wait for the first notification",
                (
                    "The store sends it after a purchase. Under settle run, send a sample from the platform.",
                    "settle sample",
                ),
                "/ui/connect",
            ),
        ]
    }
}

pub struct Step {
    is_done: bool,
    title: &'static str,
    what: &'static str,
    command: &'static str,
    path: &'static str,
}

/// A number of the first screen.
pub struct Tile {
    label: &'static str,
    figure: String,
    tone: &'static str,
    note: Option<&'static str>,
    moment: Option<Moment>,
    /// Where those that it counts are listed.
    path: Option<String>,
}

pub struct HealthListRow {
    id: DestinationId,
    name: String,
    kind: String,
    state: Badge,
    since: Moment,
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
    detail: Sentence,
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
    steps: Vec<Step>,
    query: String,
}

impl<'a> HomePage<'a> {
    pub fn new(frame: &'a Frame, visit: &Visit, status: &AppStatus) -> Self {
        let AppStatus { found, alarms, health, steps, hour } = status;
        let (tone, sentence) = in_a_sentence(found, *health, alarms.len());
        let label = match tone {
            Tone::Good => "All is well",
            Tone::Busy => "Under way",
            Tone::Idle => "Ready",
            Tone::Warn => "Needs attention",
            Tone::Bad => "Needs a person",
        };
        let query = frame.app.as_ref().map_or_else(String::new, |app| format!("?app_id={app}"));
        let window = |one: &storage::OpenWindow| Window {
            path: format!("/ui/purchases/{}{query}", one.collapse_key),
            key: Code::short(one.collapse_key),
            ends: Moment::until(one.ends_at),
        };
        let raised = |one: &Alarm| Raised {
            kind: one.kind.replace('_', " "),
            about: About::of(one, visit),
            detail: Sentence::new(&one.detail),
            times: one.count,
            last: Moment::ago(one.last_at),
        };
        Self {
            frame,
            tone: Badge::new(tone, label),
            sentence: Sentence::new(&capital(&sentence)),
            second: format!("{} open, {} pending.", counted(found.windows, "window"), deliveries(found.pending)),
            tiles: tiles(found, &query),
            windows: found.next_windows.iter().map(window).collect(),
            // Before the first notification there is nothing to draw.
            charts: if found.last_accepted_at.is_some() { hour.charts().into() } else { Vec::new() },
            rows: found.destinations.iter().enumerate().map(|(at, one)| row(one, hour.destinations.get(at))).collect(),
            alarms: alarms.iter().map(raised).collect(),
            steps: steps.map(Steps::list).unwrap_or_default(),
            query,
        }
    }
}

/// How everything stands, in one sentence: what matters most comes first.
fn in_a_sentence(found: &Overview, health: Health, alarms: usize) -> (Tone, String) {
    if !health.is_connected {
        let sentence =
            "the workflow engine does not answer: notifications are accepted and stored, and settled once it does";
        return (Tone::Bad, sentence.to_owned());
    }
    if let Some(worst) = found.destinations.iter().find(|one| one.destination.state == State::Open) {
        return (Tone::Bad, trouble(worst, "does not answer"));
    }
    if health.is_sweep_late {
        let sentence = "no sweep finished for five minutes: what is lost is not repaired until one does";
        return (Tone::Warn, sentence.to_owned());
    }
    if let Some(worst) = found.destinations.iter().find(|one| one.destination.state == State::Failing) {
        return (Tone::Warn, trouble(worst, "fails"));
    }
    let idle = found.destinations.iter().find(|one| one.destination.state == State::Disabled && one.pending > 0);
    if let Some(idle) = idle {
        return (Tone::Warn, trouble(idle, "is disabled"));
    }
    if alarms > 0 {
        let sentence = if alarms == 1 { "an alarm is open: see below" } else { "alarms are open: see below" };
        return (Tone::Warn, sentence.to_owned());
    }
    if found.last_accepted_at.is_none() {
        return (Tone::Idle, "nothing was received yet".to_owned());
    }
    if found.destinations.is_empty() {
        return (Tone::Idle, "notifications are settled, and nobody receives their events yet".to_owned());
    }
    if found.failed > 0 {
        let failed = counted(found.failed, "event");
        return (Tone::Warn, format!("{failed} could not be delivered, and will not be tried again by themselves"));
    }
    if found.waiting > 0 {
        return (Tone::Warn, format!("{} for the store to answer", counted_wait(found.waiting)));
    }
    if found.held > 0 {
        return (Tone::Warn, format!("{}: what arrives for them waits", held(found.held)));
    }
    if found.pending > 0 {
        return (Tone::Busy, "events are on their way".to_owned());
    }
    (Tone::Good, "everything that was announced has arrived".to_owned())
}

fn held(number: i64) -> String {
    if number == 1 { "1 purchase is held".to_owned() } else { format!("{} purchases are held", amount(number)) }
}

fn deliveries(number: i64) -> String {
    if number == 1 { "1 delivery".to_owned() } else { format!("{} deliveries", amount(number)) }
}

fn counted_wait(number: i64) -> String {
    if number == 1 { "1 purchase waits".to_owned() } else { format!("{} purchases wait", amount(number)) }
}

/// The sentence about a destination in trouble.
fn trouble(one: &DestinationOverview, what: &str) -> String {
    let oldest = one.oldest_pending_at.map_or_else(String::new, |at| format!(", the oldest since {at}"));
    let NamedDestination { name, since, .. } = &one.destination;
    format!("`{name}` {what} since {since}: {} pending{oldest}", deliveries(one.pending))
}

fn tiles(found: &Overview, query: &str) -> Vec<Tile> {
    let tile = |label, number: i64, tone: Tone| Tile {
        label,
        figure: amount(number),
        tone: if number == 0 { "idle" } else { tone.as_str() },
        note: None,
        moment: None,
        path: None,
    };
    let only = |filter: &str| {
        Some(format!(
            "/ui/purchases{}{filter}=true",
            if query.is_empty() { "?".to_owned() } else { format!("{query}&") }
        ))
    };
    let destinations = || Some(format!("/ui/destinations{query}"));
    let last = Tile {
        label: "Last notification",
        figure: if found.last_accepted_at.is_some() { String::new() } else { "none yet".to_owned() },
        tone: "idle",
        note: None,
        moment: found.last_accepted_at.map(Moment::ago),
        path: None,
    };
    let oldest = found.oldest_pending_at;
    let pending = Tile { note: oldest.map(|_| "oldest"), ..tile("Deliveries pending", found.pending, Tone::Busy) };
    vec![
        last,
        tile("Windows open", found.windows, Tone::Busy),
        Tile { path: only("held"), ..tile("Purchases held", found.held, Tone::Warn) },
        tile("Waiting for the store", found.waiting, Tone::Warn),
        Tile { moment: oldest.map(Moment::ago), path: destinations(), ..pending },
        Tile { path: destinations(), ..tile("Deliveries failed", found.failed, Tone::Bad) },
    ]
}

fn row(one: &DestinationOverview, hour: Option<&Requests>) -> HealthListRow {
    let named = &one.destination;
    HealthListRow {
        id: named.id,
        name: named.name.clone(),
        kind: named.kind.clone(),
        state: destination_state(named.state),
        since: Moment::ago(named.since),
        pending: amount(one.pending),
        oldest: one.oldest_pending_at.map(Moment::ago),
        failed: amount(one.failed),
        bars: hour.map(|hour| Spark::counts(&hour.counted())),
        latency: hour.and_then(Requests::average),
        last_failure: one.last_failure_at.map(Moment::ago),
        error: one.last_error.as_deref().map(Sentence::new),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;

    fn overview(destinations: Vec<DestinationOverview>) -> Overview {
        Overview {
            now: Timestamp::from_micros(0),
            last_accepted_at: Some(Timestamp::from_micros(0)),
            windows: 0,
            next_windows: Vec::new(),
            held: 0,
            waiting: 0,
            pending: 0,
            oldest_pending_at: None,
            failed: 0,
            destinations,
        }
    }

    fn destination(state: State, pending: i64) -> DestinationOverview {
        let id = domain::DestinationId::new(uuid::Uuid::nil());
        let destination = NamedDestination {
            id,
            app_id: domain::AppId::new(uuid::Uuid::nil()),
            kind: "kind".to_owned(),
            name: "Billing".to_owned(),
            state,
            since: Timestamp::from_micros(0),
            reason: None,
        };
        DestinationOverview {
            destination,
            pending,
            oldest_pending_at: None,
            failed: 0,
            last_success_at: None,
            last_failure_at: None,
            last_error: None,
        }
    }

    #[test]
    fn what_matters_most_is_the_sentence() {
        let well = Health { is_connected: true, is_sweep_late: false };
        let of = |found: &Overview, health| in_a_sentence(found, health, 0).0;
        let here = || vec![destination(State::Healthy, 0)];
        assert_eq!(of(&overview(here()), well), Tone::Good);
        assert_eq!(of(&overview(Vec::new()), well), Tone::Idle, "nobody receives anything");
        assert_eq!(of(&Overview { pending: 1, ..overview(here()) }, well), Tone::Busy);
        assert_eq!(of(&Overview { failed: 1, pending: 1, ..overview(here()) }, well), Tone::Warn);
        assert_eq!(in_a_sentence(&overview(here()), well, 1).0, Tone::Warn, "an alarm is open");
        assert_eq!(of(&Overview { held: 1, ..overview(here()) }, well), Tone::Warn);
        assert_eq!(of(&Overview { waiting: 2, ..overview(here()) }, well), Tone::Warn);
        assert_eq!(of(&Overview { last_accepted_at: None, ..overview(here()) }, well), Tone::Idle);
        assert_eq!(of(&overview(Vec::new()), Health { is_connected: false, ..well }), Tone::Bad);
        assert_eq!(of(&overview(Vec::new()), Health { is_sweep_late: true, ..well }), Tone::Warn);
        let (tone, sentence) = in_a_sentence(&overview(vec![destination(State::Open, 412)]), well, 0);
        assert_eq!(tone, Tone::Bad);
        assert_eq!(sentence, "`Billing` does not answer since 1970-01-01T00:00:00.000000Z: 412 deliveries pending");
        assert_eq!(of(&overview(vec![destination(State::Disabled, 0)]), well), Tone::Good);
        assert_eq!(of(&overview(vec![destination(State::Disabled, 1)]), well), Tone::Warn);
    }
}
