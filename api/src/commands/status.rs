//! `settle status`: the state of the inbox, Temporal, the sweep and the destinations, and the recent alarms.

use super::client::{Client, Remote, known, read_as, segment};
use super::destination::notable_state;
use super::{layout, names, processes, table};
use api::clock;
use api::resources::destinations::shown_state_for_people;
use api::resources::health::{Connection, Sweep};
use api::stores::name;
use domain::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use storage::{Alarm, DutyCounts, ShownState, SilentStore};

/// Age up to which an alarm is recent: 24 hours.
const RECENT_MS: i64 = 24 * 3600 * 1000;
/// Maximum number of alarms that are read, the latest first.
const MAX_ALARMS: usize = 20;
/// The displayed state of a destination that the service's settings forbid.
const REFUSED: &str = "not allowed by the settings";
const UNTRIED: &str = shown_state_for_people(ShownState::NotTried);
const SKIPPING: &str = shown_state_for_people(ShownState::SkipsEverything);
/// The state name of a destination whose breaker is open.
const OPEN: &str = ShownState::Open.as_str();
/// Width of the section labels.
const LABEL_WIDTH: usize = 12;

/// Show settle's health: inbox, Temporal, processes, sweep, destinations with pending deliveries, alarms of the last day.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The exit code is 1 if the inbox does not accept, Temporal does not answer, no worker runs, no sweep finished for five
minutes, a destination's breaker is open, or the settings forbid requests to a destination with pending deliveries. A
store that does not answer, a destination that fails with a closed breaker, and open alarms are shown, and leave it 0.

Example:
  settle status
Next: `settle explain destination ID` shows why something did not arrive, `settle destination retry ID` sends it now.")]
pub struct Options {
    #[command(flatten)]
    remote: Remote,
}

/// The status, parsed from the JSON that `--json` prints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    /// `ok`, or why notifications are not accepted.
    inbox: String,
    #[serde(deserialize_with = "known")]
    temporal: Option<Connection>,
    workers: Option<u64>,
    /// `None` if the service does not show them to this key.
    processes: Option<Vec<processes::SeenProcess>>,
    /// `None` if the service does not report them.
    silent_stores: Option<Vec<SilentStore>>,
    /// `None` if there are none, or if the service does not report them.
    duties: Option<DutyCounts>,
    #[serde(deserialize_with = "known")]
    sweep: Option<Sweep>,
    last_sweep_at: Option<Timestamp>,
    destinations: Vec<DestinationStatus>,
    /// The alarms of the last 24 hours.
    alarms: Vec<Alarm>,
}

/// A destination with its health.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DestinationStatus {
    id: String,
    name: String,
    enabled: Option<bool>,
    /// The state in the settings, even if this version does not know it.
    state: String,
    #[serde(deserialize_with = "known")]
    shown_state: Option<ShownState>,
    since: String,
    reason: Option<String>,
    refusal: Option<String>,
    last_error: Option<String>,
    pending: Option<i64>,
    failed: Option<i64>,
    skipped: Option<i64>,
}

/// Collects and prints the status.
pub async fn status(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let mut found = collect(&client).await?;
    let status: Status = read_as(&found)?;
    let is_ok = status.is_ok();
    if options.remote.json {
        found["ok"] = is_ok.into();
        table::json(&found);
    } else {
        for (name, text) in sentences(&status) {
            match (name.is_empty(), layout::width()) {
                (true, Some(width)) => {
                    layout::wrap(&format!("  {text}"), width, 4)
                        .iter()
                        .for_each(|line| table::plain(line));
                }
                (true, None) => table::plain(&format!("  {text}")),
                (false, _) => table::named(name, LABEL_WIDTH, &text),
            }
        }
    }
    Ok(if is_ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Status {
    /// Returns whether everything that the exit code covers works.
    fn is_ok(&self) -> bool {
        let is_running = self.temporal != Some(Connection::Unreachable)
            && self.sweep != Some(Sweep::Late)
            && self.workers != Some(0);
        self.inbox == "ok" && is_running && !self.destinations.iter().any(is_in_trouble)
    }
}

/// Returns the status as data, with the fields as the service sent them.
async fn collect(client: &Client) -> anyhow::Result<Value> {
    // The first request fails if no service responds, or if the service does not accept the token.
    let destinations = destinations(client).await?;
    let alarms = client
        .get("/v1/alarms", &[("limit", Some(MAX_ALARMS.to_string()))])
        .await?;
    let (inbox, ready) = match client.get("/readyz", &[]).await {
        Ok(ready) => ("ok".to_owned(), ready),
        Err(error) => (error.to_string(), Value::Null),
    };
    let overview = client.get("/v1/overview", &[]).await.unwrap_or_default();
    let since = clock::now().plus_millis(-RECENT_MS);
    let is_recent =
        |alarm: &&Value| read_as::<Alarm>(alarm).is_ok_and(|alarm| alarm.last_at > since);
    let recent: Vec<&Value> = table::items(&alarms).iter().filter(is_recent).collect();
    let mut found = copied(&ready, &["temporal", "workers", "sweep", "last_sweep_at"]);
    found.extend(copied(&overview, &["silent_stores", "duties"]));
    found.insert("processes".to_owned(), processes::seen(&overview));
    found.insert("inbox".to_owned(), inbox.into());
    found.insert("destinations".to_owned(), destinations.into());
    found.insert("alarms".to_owned(), json!(recent));
    Ok(Value::Object(found))
}

/// Returns these fields of a response unchanged; null for a missing field.
fn copied(answer: &Value, fields: &[&str]) -> Map<String, Value> {
    let field = |name: &&str| {
        let value = answer.get(*name).cloned().unwrap_or_default();
        ((*name).to_owned(), value)
    };
    fields.iter().map(field).collect()
}

/// Returns the destinations of all apps, each with its health.
async fn destinations(client: &Client) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for app in names::every_named(client, "/v1/apps").await? {
        let listed = format!("/v1/apps/{}/destinations", segment(&app.id));
        for listed in names::every_named(client, &listed).await? {
            let path = format!("/v1/destinations/{}", segment(&listed.id));
            let shown = client.get(&path, &[]).await?;
            let mut one = copied(
                &shown,
                &[
                    "id",
                    "name",
                    "kind",
                    "enabled",
                    "state",
                    "shown_state",
                    "since",
                    "reason",
                    "refusal",
                ],
            );
            let health = shown.get("health").unwrap_or(&Value::Null);
            one.extend(copied(
                health,
                &["pending", "failed", "last_error", "skipped"],
            ));
            one.insert("app".to_owned(), app.name.clone().into());
            found.push(Value::Object(one));
        }
    }
    Ok(found)
}

/// Returns whether a destination's breaker is open, or deliveries are pending for it while the settings forbid it. A
/// disabled destination does not count: an admin disabled it, or an alarm reports that it was disabled automatically.
fn is_in_trouble(destination: &DestinationStatus) -> bool {
    let is_pending = destination.pending.is_some_and(|pending| pending > 0);
    destination.state == OPEN || (is_pending && is_refused(destination))
}

/// Returns whether the destination is enabled but the settings forbid it.
fn is_refused(destination: &DestinationStatus) -> bool {
    destination.enabled == Some(true) && destination.refusal.is_some()
}

/// Returns the status as lines, each with the label of its section. A line with an empty label belongs to the section
/// above it.
fn sentences(found: &Status) -> Vec<(&'static str, String)> {
    let inbox = match found.inbox.as_str() {
        "ok" => "accepts notifications".to_owned(),
        why => format!("does not accept: {why}"),
    };
    let temporal = match found.temporal {
        Some(Connection::Connected) => "connected",
        Some(Connection::Unreachable) => {
            "does not answer: notifications are accepted, and settled once it does"
        }
        None => "unknown",
    };
    let mut lines = vec![("Inbox", inbox), ("Temporal", temporal.to_owned())];
    if found.workers == Some(0) {
        lines.push((
            "Workers",
            "none is running: nothing is settled or sent until `settle worker` is started"
                .to_owned(),
        ));
    }
    lines.extend(processes::lines(
        found.processes.as_deref().unwrap_or_default(),
    ));
    lines.push(("Sweep", sweep(found)));
    let silent_stores = found.silent_stores.iter().flatten();
    lines.extend(silent_stores.map(|one| ("Store", silent(one))));
    lines.extend(found.duties.map(|counts| ("Duties", duties(counts))));
    let destinations = found.destinations.as_slice();
    lines.push(("Destinations", counts_by_state(destinations)));
    lines.extend(destinations.iter().map(|one| ("", destination(one))));
    let alarms = found.alarms.as_slice();
    lines.push(match alarms.len() {
        0 => ("Alarms", "none in the last 24 hours".to_owned()),
        MAX_ALARMS => (
            "Alarms",
            format!("at least {MAX_ALARMS} in the last 24 hours; `settle alarm list` shows all"),
        ),
        count => (
            "Alarms",
            format!("{count} in the last 24 hours; `settle alarm list` shows all"),
        ),
    });
    lines.extend(alarms.iter().map(|one| ("", alarm(one))));
    lines
}

/// Returns the line about a store that does not respond, either at all or for some purchases.
fn silent(one: &SilentStore) -> String {
    let (purchases, wait, have) = match one.purchases {
        1 => ("1 purchase".to_owned(), "waits", "has"),
        number => (format!("{number} purchases"), "wait", "have"),
    };
    let because = one
        .because
        .as_ref()
        .map_or_else(String::new, |because| format!(" ({because})"));
    let platform = table::shown(&one.platform);
    let (store, since) = (name(&one.store), table::shown(&one.since));
    if one.is_silent() {
        return format!(
            "{store} has not answered since {since}{because}; {purchases} {wait} for {platform}"
        );
    }
    let next = one.next_at.map_or_else(String::new, |at| {
        format!("; the next query is at {}", table::shown(&at))
    });
    format!(
        "{purchases} of {platform} {have} had no answer from {store} since {since}{because}{next}"
    )
}

/// Returns the line about open duties to stores.
fn duties(counts: DutyCounts) -> String {
    let overdue = match counts.overdue {
        0 => String::new(),
        overdue => format!(", {overdue} past the deadline"),
    };
    format!(
        "{} open{overdue}; `settle duty list PLATFORM_ID` shows those of a platform",
        counts.open
    )
}

/// Returns the line about the sweep.
fn sweep(found: &Status) -> String {
    let last = match found.last_sweep_at {
        Some(at) => format!("the last one finished at {}", table::shown(&at)),
        None => "none has finished yet".to_owned(),
    };
    match found.sweep {
        Some(Sweep::Late) => format!(
            "late, {last}: lost signals are not repaired; it restarts by itself if a worker runs and Temporal \
             answers"
        ),
        Some(Sweep::OnTime) => format!("repairs lost signals; {last}"),
        None => "unknown".to_owned(),
    }
}

/// Returns the number of destinations in each state, as text.
fn counts_by_state(destinations: &[DestinationStatus]) -> String {
    if destinations.is_empty() {
        return "none: `settle destination create --help`".to_owned();
    }
    let of = |name: &str| destinations.iter().filter(|one| state(one) == name).count();
    let states = [
        "healthy", UNTRIED, SKIPPING, "failing", OPEN, "disabled", REFUSED,
    ]
    .map(|state| (state, of(state)));
    let states = states.into_iter().filter(|(_, count)| *count > 0);
    let states = states.map(|(state, count)| match state {
        OPEN => format!("{count} with an open breaker"),
        SKIPPING => format!("{count} skipping everything"),
        state => format!("{count} {state}"),
    });
    states.collect::<Vec<_>>().join(", ")
}

/// Returns a destination's displayed state. A destination that the settings forbid has its own state.
fn state(one: &DestinationStatus) -> &str {
    if is_refused(one) {
        REFUSED
    } else {
        notable_state(one.shown_state).unwrap_or(one.state.as_str())
    }
}

/// Returns the line about one destination.
fn destination(one: &DestinationStatus) -> String {
    let is_open = one.state == OPEN;
    let shown = if is_open { "breaker open" } else { state(one) };
    let (id, name) = (table::shown(&one.id), table::shown(&one.name));
    let mut text = format!("{name} {id}: {shown}");
    let is_healthy = ["healthy", UNTRIED, SKIPPING].contains(&shown);
    if !is_healthy && shown != REFUSED {
        text.push_str(&format!(" since {}", table::shown(&one.since)));
    }
    let refusal = one.refusal.as_ref().filter(|_| is_refused(one));
    let reason = refusal
        .or(one.reason.as_ref())
        .or(one.last_error.as_ref())
        .filter(|_| !is_healthy);
    if let Some(reason) = reason {
        text.push_str(&format!(" ({reason})"));
    }
    match one.pending.unwrap_or_default() {
        0 => text.push_str(", nothing pending"),
        pending => text.push_str(&format!(", {pending} pending")),
    }
    let failed = one.failed.unwrap_or_default();
    if failed > 0 {
        text.push_str(&format!(", {failed} failed"));
    }
    let skipped = one.skipped.unwrap_or_default();
    if skipped > 0 {
        text.push_str(&format!(", {skipped} skipped"));
    }
    if shown == SKIPPING {
        text.push_str(&format!("; `settle explain destination {id}` shows why"));
    }
    if is_open {
        text.push_str(&format!("; `settle destination retry {id}` retries now"));
    }
    text
}

/// Returns the line about one alarm.
fn alarm(one: &Alarm) -> String {
    let count = match one.count {
        count if count > 1 => format!(", {count} times"),
        _ => String::new(),
    };
    let customers = match one.customers {
        Some(1) => ", 1 customer now".to_owned(),
        Some(number) => format!(", {number} customers now"),
        None => String::new(),
    };
    let detail = table::shown(&one.detail);
    let about = one
        .about
        .as_ref()
        .filter(|about| !detail.contains(about.as_str()));
    let about = about.map_or_else(String::new, |about| format!(" of {about}"));
    let closed = one
        .acknowledged_by
        .as_ref()
        .map_or_else(String::new, |by| format!(", acknowledged by {by}"));
    format!(
        "{} {}{about}{count}{customers}{closed}: {detail}",
        table::shown(&one.last_at),
        table::shown(&one.kind)
    )
}

#[cfg(test)]
mod tests {
    use super::{
        DestinationStatus, Status, counts_by_state, destination, is_in_trouble, read_as, sentences,
        sweep,
    };
    use api::stores;
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    fn read<T: DeserializeOwned>(value: Value) -> T {
        read_as(&value).expect("a part of a status")
    }

    /// Returns an alarm whose fields are replaced by these.
    fn alarm(fields: Value) -> Value {
        let mut alarm = json!({
            "id": "6b275a67-0bbb-4f3a-99b9-6600bf711993", "at": "2026-01-30T12:00:00Z",
            "last_at": "2026-01-31T12:00:00.5Z", "count": 1, "customers": null, "app_id": null, "platform_id": null,
            "destination_id": null, "acknowledged_at": null, "acknowledged_by": null, "note": null,
        });
        for (name, value) in fields.as_object().into_iter().flatten() {
            alarm[name] = value.clone();
        }
        alarm
    }

    #[test]
    fn every_part_of_the_status_is_a_sentence() {
        let found = json!({
            "inbox": "ok", "temporal": "unreachable", "sweep": "late", "last_sweep_at": "2026-01-31T11:00:00.5Z",
            "destinations": [
                {"id": "d1", "name": "billing", "state": "open", "since": "2026-01-31T12:00:00.5Z", "reason": "503",
                 "pending": 12, "failed": 1},
                {"id": "d2", "name": "analytics", "state": "healthy", "pending": 0, "failed": 0, "skipped": 2,
                 "last_error": "old"},
                {"id": "d3", "name": "new", "state": "healthy", "shown_state": "not_tried", "pending": 0},
                {"id": "d4", "name": "test", "state": "healthy", "shown_state": "skips_everything", "skipped": 17,
                 "last_error": "old"},
            ],
            "alarms": [
                alarm(json!({"kind": "destination", "count": 3, "detail": "billing: it is off", "about": "billing"})),
                alarm(json!({"kind": "destination_failing", "detail": "it fails", "about": "billing",
                    "acknowledged_by": "settle"})),
                alarm(json!({"kind": "product_unlisted", "detail": "it is missing", "about": "Fire TV",
                    "customers": 2})),
            ],
        });
        let lines: Vec<String> = sentences(&read(found))
            .into_iter()
            .map(|(name, text)| format!("{name}|{text}"))
            .collect();
        let expected = [
            "Inbox|accepts notifications",
            "Temporal|does not answer: notifications are accepted, and settled once it does",
            "Sweep|late, the last one finished at 2026-01-31T11:00:00Z: lost signals are not repaired; it restarts by \
             itself if a worker runs and Temporal answers",
            "Destinations|1 healthy, 1 no event sent yet, 1 skipping everything, 1 with an open breaker",
            "|billing d1: breaker open since 2026-01-31T12:00:00Z (503), 12 pending, 1 failed; `settle \
             destination retry d1` retries now",
            "|analytics d2: healthy, nothing pending, 2 skipped",
            "|new d3: no event sent yet, nothing pending",
            "|test d4: skips everything, nothing pending, 17 skipped; `settle explain destination d4` shows why",
            "Alarms|3 in the last 24 hours; `settle alarm list` shows all",
            "|2026-01-31T12:00:00Z destination, 3 times: billing: it is off",
            "|2026-01-31T12:00:00Z destination_failing of billing, acknowledged by settle: it fails",
            "|2026-01-31T12:00:00Z product_unlisted of Fire TV, 2 customers now: it is missing",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_missing_worker_is_named() {
        let named = |workers: serde_json::Value| {
            let found = json!({ "inbox": "ok", "temporal": "connected", "workers": workers });
            sentences(&read(found))
                .into_iter()
                .find(|(name, _)| *name == "Workers")
                .map(|(_, text)| text)
        };
        assert!(named(json!(0)).is_some_and(|text| text.contains("none is running")));
        assert_eq!((named(json!(1)), named(json!(null))), (None, None));
    }

    #[test]
    fn a_store_that_does_not_answer_is_named_with_what_waits() {
        let store = &stores::ALL[0];
        let platform = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
        let one = json!({ "platform_id": platform, "store": store.name, "platform": "Fire TV",
            "since": "2026-01-31T06:53:00.5Z", "purchases": 8, "because": "HTTP 500" });
        let found = json!({ "inbox": "ok", "temporal": "connected", "silent_stores": [one] });
        let lines: Vec<_> = sentences(&read(found))
            .into_iter()
            .filter(|(name, _)| *name == "Store")
            .collect();
        let sentence = format!(
            "{} has not answered since 2026-01-31T06:53:00Z (HTTP 500); 8 purchases wait for Fire TV",
            store.title
        );
        assert_eq!(lines, [("Store", sentence)]);
        let answering = json!({ "platform_id": platform, "store": store.name, "platform": "Fire TV",
            "since": "2026-01-31T06:53:00.5Z", "purchases": 1, "because": "HTTP 500",
            "answered_at": "2026-01-31T06:55:00Z", "next_at": "2026-01-31T06:56:00.5Z" });
        let sentence = format!(
            "1 purchase of Fire TV has had no answer from {} since 2026-01-31T06:53:00Z (HTTP 500); the next query is at \
             2026-01-31T06:56:00Z",
            store.title
        );
        assert_eq!(super::silent(&read(answering)), sentence);
    }

    #[test]
    fn open_duties_to_stores_are_counted() {
        let found = json!({ "inbox": "ok", "temporal": "connected", "duties": { "open": 3, "overdue": 1 } });
        let status: Status = read(found);
        assert!(status.is_ok(), "an alarm reports them");
        let line = sentences(&status)
            .into_iter()
            .find(|(name, _)| *name == "Duties");
        let text =
            "3 open, 1 past the deadline; `settle duty list PLATFORM_ID` shows those of a platform";
        assert_eq!(line, Some(("Duties", text.to_owned())));
        let none: Status = read(json!({ "duties": null }));
        assert!(!sentences(&none).iter().any(|(name, _)| *name == "Duties"));
    }

    #[test]
    fn an_answer_of_0_1_0_and_one_of_a_newer_version_are_read() {
        // Version 0.1.0 sends neither `workers` nor `silent_stores` nor `duties`.
        let old = json!({ "inbox": "ok", "temporal": "connected", "workers": null, "silent_stores": null,
            "sweep": "on_time", "last_sweep_at": null, "alarms": [], "destinations": [{
                "app": "reader", "id": "d1", "name": "hook", "kind": "webhook", "enabled": true, "state": "healthy",
                "shown_state": "healthy", "since": "2026-01-31T12:00:00.000000Z", "reason": null, "refusal": null,
                "pending": 0, "failed": 0, "last_error": null, "skipped": 0,
            }] });
        let status: Status = read(old);
        assert!(status.is_ok());
        assert_eq!(
            destination(&status.destinations[0]),
            "hook d1: healthy, nothing pending"
        );
        let new = json!({ "inbox": "ok", "temporal": "connecting", "sweep": "early", "new": 1,
            "destinations": [{ "id": "d1", "name": "hook", "state": "idle", "shown_state": "idle", "since": "noon" }] });
        let status: Status = read(new);
        assert!(status.is_ok());
        assert_eq!(
            destination(&status.destinations[0]),
            "hook d1: idle since noon, nothing pending"
        );
    }

    #[test]
    fn the_line_about_the_sweep_names_its_last_end() {
        let on_time = json!({ "sweep": "on_time", "last_sweep_at": "2026-01-31T11:00:00.5Z" });
        assert_eq!(
            sweep(&read(on_time)),
            "repairs lost signals; the last one finished at 2026-01-31T11:00:00Z"
        );
        let new = json!({ "sweep": "on_time", "last_sweep_at": null });
        assert_eq!(
            sweep(&read(new)),
            "repairs lost signals; none has finished yet"
        );
        assert_eq!(sweep(&Status::default()), "unknown");
    }

    #[test]
    fn an_open_breaker_alone_is_trouble() {
        for (state, trouble) in [
            ("open", true),
            ("failing", false),
            ("healthy", false),
            ("disabled", false),
        ] {
            assert_eq!(
                is_in_trouble(&read(json!({ "state": state }))),
                trouble,
                "{state}"
            );
        }
    }

    #[test]
    fn a_destination_that_the_settings_refuse_is_never_healthy() {
        let refused = |pending: i64, enabled: bool| -> DestinationStatus {
            read(json!({
                "id": "d1", "name": "hook", "state": "healthy", "enabled": enabled, "pending": pending,
                "refusal": "needs SETTLE_X",
            }))
        };
        assert_eq!(
            destination(&refused(2, true)),
            "hook d1: not allowed by the settings (needs SETTLE_X), 2 pending"
        );
        assert_eq!(
            counts_by_state(&[refused(0, true)]),
            "1 not allowed by the settings"
        );
        for (pending, enabled, trouble) in [(2, true, true), (0, true, false), (2, false, false)] {
            assert_eq!(
                is_in_trouble(&refused(pending, enabled)),
                trouble,
                "{pending} {enabled}"
            );
        }
    }
}
