//! `settle status`: the state of the inbox, Temporal, the sweep and the destinations, and the recent alarms.

use super::client::{Client, Remote, segment};
use super::destination::notable_state;
use super::layout;
use super::table::{self, field, items};
use crate::clock;
use crate::resources::destinations::shown_state_for_people;
use crate::resources::overview;
use crate::stores::name;
use crate::times;
use domain::Timestamp;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use storage::{RunningProcess, ShownState};

/// An alarm is recent for 24 hours.
const RECENT_MS: i64 = 24 * 3600 * 1000;
/// Maximum number of alarms that are read, the last raised first.
const MAX_ALARMS: usize = 20;
/// The state of a destination to which the settings of the service allow no request.
const REFUSED: &str = "not allowed by the settings";
const UNTRIED: &str = shown_state_for_people(ShownState::NotTried);
const SKIPPING: &str = shown_state_for_people(ShownState::SkipsEverything);
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

/// Collects and prints the status.
pub async fn status(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let found = collect(&client).await?;
    if options.remote.json {
        table::json(&found);
    } else {
        for (name, text) in sentences(&found) {
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
    Ok(if found["ok"] == true {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The status as data.
async fn collect(client: &Client) -> anyhow::Result<Value> {
    // The first request fails if no service answers, or if it does not accept the token.
    let destinations = destinations(client).await?;
    let alarms = client
        .get("/v1/alarms", &[("limit", Some(MAX_ALARMS.to_string()))])
        .await?;
    let (inbox, ready) = match client.get("/readyz", &[]).await {
        Ok(ready) => (json!("ok"), ready),
        Err(error) => (json!(error.to_string()), Value::Null),
    };
    let overview = client.get("/v1/overview", &[]).await.unwrap_or_default();
    let processes = processes(&overview);
    let (temporal, sweep, workers) = (&ready["temporal"], &ready["sweep"], &ready["workers"]);
    let since = clock::now().plus_millis(-RECENT_MS);
    let is_recent = |alarm: &&Value| {
        alarm["last_at"]
            .as_str()
            .and_then(time)
            .is_some_and(|at| at > since)
    };
    let recent: Vec<&Value> = items(&alarms).iter().filter(is_recent).collect();
    let is_running = temporal != "unreachable" && sweep != "late" && *workers != 0;
    let is_ok = inbox == "ok" && is_running && !destinations.iter().any(is_in_trouble);
    Ok(json!({
        "ok": is_ok,
        "inbox": inbox,
        "temporal": temporal,
        "workers": workers,
        "processes": processes,
        "silent_stores": overview["silent_stores"],
        "sweep": sweep,
        "last_sweep_at": ready["last_sweep_at"],
        "destinations": destinations,
        "alarms": recent,
    }))
}

/// The running processes, each with how long ago it was seen; null if the service shows none.
fn processes(overview: &Value) -> Value {
    let now = overview["now"].as_str().and_then(time);
    let mut processes = overview["processes"].clone();
    for one in processes.as_array_mut().into_iter().flatten() {
        let seen_at = one["seen_at"].as_str().and_then(time);
        let ago = now
            .zip(seen_at)
            .map(|(now, seen_at)| now.since(seen_at).as_secs());
        one["seen_seconds_ago"] = json!(ago);
    }
    processes
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The destinations of all apps, each with its health.
async fn destinations(client: &Client) -> anyhow::Result<Vec<Value>> {
    let mut found = Vec::new();
    for app in all(client, "/v1/apps").await? {
        for listed in all(
            client,
            &format!("/v1/apps/{}/destinations", segment(&field(&app, "id"))),
        )
        .await?
        {
            let shown = client
                .get(
                    &format!("/v1/destinations/{}", segment(&field(&listed, "id"))),
                    &[],
                )
                .await?;
            let health = &shown["health"];
            let mut one = json!({ "app": app["name"], "pending": health["pending"], "failed": health["failed"] });
            for name in [
                "id",
                "name",
                "kind",
                "enabled",
                "state",
                "shown_state",
                "since",
                "reason",
                "refusal",
            ] {
                one[name] = shown[name].clone();
            }
            for name in ["last_error", "skipped"] {
                one[name] = shown["health"][name].clone();
            }
            found.push(one);
        }
    }
    Ok(found)
}

/// All pages of a list.
async fn all(client: &Client, path: &str) -> anyhow::Result<Vec<Value>> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = client
            .get(
                path,
                &[("cursor", cursor), ("limit", Some("500".to_owned()))],
            )
            .await?;
        found.extend(items(&page).iter().cloned());
        cursor = page["next_cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(found);
        }
    }
}

/// Whether the breaker of a destination is open, or the settings allow no request to one for which something is
/// pending. A disabled destination is no trouble here: an admin disabled it, or an alarm reports that it was disabled
/// automatically.
fn is_in_trouble(destination: &Value) -> bool {
    let is_pending = destination["pending"]
        .as_i64()
        .is_some_and(|pending| pending > 0);
    destination["state"] == "open" || (is_pending && is_refused(destination))
}

/// Whether it is enabled, and the settings allow no request to it.
fn is_refused(destination: &Value) -> bool {
    destination["enabled"] == true && destination["refusal"].is_string()
}

/// The status as lines, each with the label of its section. A line with an empty label continues the section above it.
fn sentences(found: &Value) -> Vec<(&'static str, String)> {
    let inbox = match found["inbox"].as_str() {
        Some("ok") => "accepts notifications".to_owned(),
        why => format!("does not accept: {}", why.unwrap_or("it does not answer")),
    };
    let temporal = match found["temporal"].as_str() {
        Some("connected") => "connected",
        Some(_) => "does not answer: notifications are accepted, and settled once it does",
        None => "unknown",
    };
    let mut lines = vec![("Inbox", inbox), ("Temporal", temporal.to_owned())];
    if found["workers"] == 0 {
        lines.push((
            "Workers",
            "none is running: nothing is settled or sent until `settle worker` is started"
                .to_owned(),
        ));
    }
    lines.extend(process_lines(&found["processes"]));
    lines.push(("Sweep", sweep(found)));
    lines.extend(
        items(&found["silent_stores"])
            .iter()
            .map(|one| ("Store", silent(one))),
    );
    let destinations = items(&found["destinations"]);
    lines.push(("Destinations", counts_by_state(destinations)));
    lines.extend(destinations.iter().map(|one| ("", destination(one))));
    let alarms = items(&found["alarms"]);
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

/// The lines about the running processes; none without any.
fn process_lines(found: &Value) -> Vec<(&'static str, String)> {
    let running = serde_json::from_value::<Option<Vec<RunningProcess>>>(found.clone());
    let running = running.ok().flatten().unwrap_or_default();
    if running.is_empty() {
        return Vec::new();
    }
    let summary = overview::older(&running)
        .unwrap_or_else(|| format!("{} running, all of one release", running.len()));
    let lines = running.iter().zip(items(found)).map(|(one, shown)| {
        let ago = shown["seen_seconds_ago"]
            .as_u64()
            .map(|seconds| times::compact(Duration::from_secs(seconds)));
        let seen = ago.map_or_else(String::new, |ago| format!(", seen {ago} ago"));
        ("", format!("{}{seen}", overview::process(one)))
    });
    std::iter::once(("Processes", summary))
        .chain(lines)
        .collect()
}

/// The line about a store that does not answer, at all or about some purchases.
fn silent(one: &Value) -> String {
    let number = one["purchases"].as_i64().unwrap_or_default();
    let (purchases, wait, have) = match number {
        1 => ("1 purchase".to_owned(), "waits", "has"),
        _ => (format!("{number} purchases"), "wait", "have"),
    };
    let because = one["because"]
        .as_str()
        .map_or_else(String::new, |because| format!(" ({because})"));
    let (store, platform) = (field(one, "store"), field(one, "platform"));
    let (store, since) = (name(&store), field(one, "since"));
    if one["answered_at"].is_null() {
        return format!(
            "{store} has not answered since {since}{because}; {purchases} {wait} for {platform}"
        );
    }
    let next = one["next_at"].as_str().map_or_else(String::new, |_| {
        format!("; the next query is at {}", field(one, "next_at"))
    });
    format!(
        "{purchases} of {platform} {have} had no answer from {store} since {since}{because}{next}"
    )
}

/// The line about the sweep.
fn sweep(found: &Value) -> String {
    let last = match found["last_sweep_at"].as_str() {
        Some(_) => format!("the last one finished at {}", field(found, "last_sweep_at")),
        None => "none has finished yet".to_owned(),
    };
    match found["sweep"].as_str() {
        Some("late") => format!(
            "late, {last}: lost signals are not repaired; it restarts by itself if a worker runs and Temporal \
             answers"
        ),
        Some(_) => format!("repairs lost signals; {last}"),
        None => "unknown".to_owned(),
    }
}

/// The number of destinations in each state.
fn counts_by_state(destinations: &[Value]) -> String {
    if destinations.is_empty() {
        return "none: `settle destination create --help`".to_owned();
    }
    let of = |name: &str| destinations.iter().filter(|one| state(one) == name).count();
    let states = [
        "healthy", UNTRIED, SKIPPING, "failing", "open", "disabled", REFUSED,
    ]
    .map(|state| (state, of(state)));
    let states = states.into_iter().filter(|(_, count)| *count > 0);
    let states = states.map(|(state, count)| match state {
        "open" => format!("{count} with an open breaker"),
        SKIPPING => format!("{count} skipping everything"),
        state => format!("{count} {state}"),
    });
    states.collect::<Vec<_>>().join(", ")
}

/// The state of a destination as people see it. One to which the settings allow no request has a name of its own.
fn state(one: &Value) -> &str {
    if is_refused(one) {
        REFUSED
    } else {
        notable_state(one)
            .or(one["state"].as_str())
            .unwrap_or_default()
    }
}

/// The line about one destination.
fn destination(one: &Value) -> String {
    let shown = if one["state"] == "open" {
        "breaker open"
    } else {
        state(one)
    };
    let mut text = format!("{} {}: {shown}", field(one, "name"), field(one, "id"));
    let is_healthy = ["healthy", UNTRIED, SKIPPING].contains(&shown);
    if !is_healthy && shown != REFUSED {
        text.push_str(&format!(" since {}", field(one, "since")));
    }
    let refusal = if is_refused(one) {
        &one["refusal"]
    } else {
        &Value::Null
    };
    let reasons = [refusal, &one["reason"], &one["last_error"]];
    let reason = reasons
        .into_iter()
        .find_map(Value::as_str)
        .filter(|_| !is_healthy);
    if let Some(reason) = reason {
        text.push_str(&format!(" ({reason})"));
    }
    match one["pending"].as_i64().unwrap_or_default() {
        0 => text.push_str(", nothing pending"),
        pending => text.push_str(&format!(", {pending} pending")),
    }
    let failed = one["failed"].as_i64().unwrap_or_default();
    if failed > 0 {
        text.push_str(&format!(", {failed} failed"));
    }
    let skipped = one["skipped"].as_i64().unwrap_or_default();
    if skipped > 0 {
        text.push_str(&format!(", {skipped} skipped"));
    }
    if shown == SKIPPING {
        text.push_str(&format!(
            "; `settle explain destination {}` shows why",
            field(one, "id")
        ));
    }
    if one["state"] == "open" {
        text.push_str(&format!(
            "; `settle destination retry {}` retries now",
            field(one, "id")
        ));
    }
    text
}

/// The line about one alarm.
fn alarm(one: &Value) -> String {
    let count = match one["count"].as_i64() {
        Some(count) if count > 1 => format!(", {count} times"),
        _ => String::new(),
    };
    let customers = match one["customers"].as_i64() {
        Some(1) => ", 1 customer now".to_owned(),
        Some(number) => format!(", {number} customers now"),
        None => String::new(),
    };
    let detail = field(one, "detail");
    let about = one["about"]
        .as_str()
        .filter(|about| !detail.contains(about));
    let about = about.map_or_else(String::new, |about| format!(" of {about}"));
    let closed = one["acknowledged_by"]
        .as_str()
        .map_or_else(String::new, |by| format!(", acknowledged by {by}"));
    format!(
        "{} {}{about}{count}{customers}{closed}: {detail}",
        field(one, "last_at"),
        field(one, "kind")
    )
}

#[cfg(test)]
mod tests {
    use super::{counts_by_state, destination, is_in_trouble, sentences, sweep};
    use crate::stores;
    use serde_json::json;

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
                {"last_at": "2026-01-31T12:00:00.5Z", "kind": "destination", "count": 3, "detail": "billing: it is off",
                 "about": "billing"},
                {"last_at": "2026-01-31T12:00:00.5Z", "kind": "destination_failing", "count": 1, "detail": "it fails",
                 "about": "billing", "acknowledged_by": "settle"},
                {"last_at": "2026-01-31T12:00:00.5Z", "kind": "product_unlisted", "count": 1, "detail": "it is missing",
                 "about": "Fire TV", "customers": 2},
            ],
        });
        let lines: Vec<String> = sentences(&found)
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
            sentences(&found)
                .into_iter()
                .find(|(name, _)| *name == "Workers")
                .map(|(_, text)| text)
        };
        assert!(named(json!(0)).is_some_and(|text| text.contains("none is running")));
        assert_eq!((named(json!(1)), named(json!(null))), (None, None));
    }

    #[test]
    fn the_running_processes_are_listed_and_an_older_one_is_named() {
        let process = |role: &str, version: &str, is_older: bool| {
            json!({ "role": role, "version": version, "host": "a", "pid": 7, "seen_at": "2026-01-31T12:00:00Z",
                "is_older": is_older })
        };
        let lines = |all: &[serde_json::Value]| {
            let overview = json!({ "now": "2026-01-31T12:00:12Z", "processes": all });
            super::process_lines(&super::processes(&overview))
        };
        let all = [
            process("serve", "0.2.0", false),
            process("worker", "0.1.1", true),
        ];
        let line = |name, text: &str| (name, text.to_owned());
        let expected = [
            line(
                "Processes",
                "an older process runs: worker 0.1.1 at a (process 7); upgrade or stop it",
            ),
            line("", "serve 0.2.0 at a (process 7), seen 12s ago"),
            line("", "worker 0.1.1 at a (process 7), seen 12s ago"),
        ];
        assert_eq!(lines(&all), expected);
        let of_one = lines(&all[..1]);
        assert_eq!(of_one[0].1, "1 running, all of one release");
        assert!(lines(&[]).is_empty());
        assert!(super::process_lines(&super::processes(&json!({}))).is_empty());
    }

    #[test]
    fn a_store_that_does_not_answer_is_named_with_what_waits() {
        let store = &stores::ALL[0];
        let one = json!({ "store": store.name, "platform": "Fire TV", "since": "2026-01-31T06:53:00.5Z", "purchases": 8,
            "because": "HTTP 500" });
        let found = json!({ "inbox": "ok", "temporal": "connected", "silent_stores": [one] });
        let lines: Vec<_> = sentences(&found)
            .into_iter()
            .filter(|(name, _)| *name == "Store")
            .collect();
        let sentence = format!(
            "{} has not answered since 2026-01-31T06:53:00Z (HTTP 500); 8 purchases wait for Fire TV",
            store.title
        );
        assert_eq!(lines, [("Store", sentence)]);
        let answering = json!({ "store": store.name, "platform": "Fire TV", "since": "2026-01-31T06:53:00.5Z",
            "purchases": 1, "because": "HTTP 500", "answered_at": "2026-01-31T06:55:00Z",
            "next_at": "2026-01-31T06:56:00.5Z" });
        let sentence = format!(
            "1 purchase of Fire TV has had no answer from {} since 2026-01-31T06:53:00Z (HTTP 500); the next query is at \
             2026-01-31T06:56:00Z",
            store.title
        );
        assert_eq!(super::silent(&answering), sentence);
    }

    #[test]
    fn the_line_about_the_sweep_names_its_last_end() {
        let on_time = json!({ "sweep": "on_time", "last_sweep_at": "2026-01-31T11:00:00.5Z" });
        assert_eq!(
            sweep(&on_time),
            "repairs lost signals; the last one finished at 2026-01-31T11:00:00Z"
        );
        let new = json!({ "sweep": "on_time", "last_sweep_at": null });
        assert_eq!(sweep(&new), "repairs lost signals; none has finished yet");
        assert_eq!(sweep(&json!({})), "unknown");
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
                is_in_trouble(&json!({ "state": state })),
                trouble,
                "{state}"
            );
        }
    }

    #[test]
    fn a_destination_that_the_settings_refuse_is_never_healthy() {
        let refused = |pending: i64, enabled: bool| {
            json!({
                "id": "d1", "name": "hook", "state": "healthy", "enabled": enabled, "pending": pending,
                "refusal": "needs SETTLE_X",
            })
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
