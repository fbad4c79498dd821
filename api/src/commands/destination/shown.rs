//! Prints one destination: its settings and its health.

use crate::client::{known, read_as};
use crate::table::{self, field, text};
use api::resources::destinations::{CHECKED, shown_state_for_people};
use api::times;
use domain::Timestamp;
use domain::health::Health;
use protocols::destinations::shown_kind;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use storage::{DestinationHealth, Filter, ShownState};

/// Fields that have a fixed place in the output, or that are part of another line.
const PLACED: [&str; 15] = [
    "id",
    "app_id",
    "name",
    "kind",
    "enabled",
    "state",
    "shown_state",
    "since",
    "reason",
    "refusal",
    "events",
    "filter",
    "rate",
    "concurrency",
    "schedule",
];
/// Fields that occur only in the response to the request that created them.
const SHOWN_ONCE: [&str; 2] = ["secret", "private_key"];
const LAST: [&str; 2] = ["health", "created_at"];

/// The fields of a destination that are printed as sentences.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Described {
    kind: String,
    /// The state in the settings, even if this version does not know it.
    state: String,
    #[serde(deserialize_with = "known")]
    shown_state: Option<ShownState>,
    since: String,
    reason: Option<String>,
    refusal: Option<String>,
    filter: Filter,
    rate: Option<i64>,
    /// The waits between attempts, in seconds; `None` for the kind's default schedule.
    schedule: Option<Vec<u64>>,
    health: DestinationHealth,
}

/// Prints a destination, one line per fact. A destination of another version that this one cannot parse is printed
/// field by field.
pub fn show(destination: &Value) {
    let Ok(described) = read_as::<Described>(destination) else {
        return table::fields(destination);
    };
    let lines = lines(destination, &described);
    let width = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, value) in lines {
        table::named(&name, width, &value);
    }
}

/// Returns the lines of a destination. Fields that only its kind has are shown as the service sent them.
fn lines(destination: &Value, described: &Described) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| lines.push((name.to_owned(), value));
    for name in ["id", "app_id", "name", "kind"] {
        put(name, field(destination, name));
    }
    put("state", state(described));
    if let Some(why) = &described.refusal {
        put("not allowed", why.clone());
    }
    put("events", field(destination, "events"));
    let Filter {
        platforms,
        environments,
    } = &described.filter;
    put("platforms", all_or(&json!(platforms)));
    put("environments", all_or(&json!(environments)));
    put("rate", rate(described.rate));
    put(
        "concurrency",
        format!(
            "at most {} concurrent requests",
            field(destination, "concurrency")
        ),
    );
    put("schedule", schedule(described));
    // If the secret itself is shown, its `has_` field is left out.
    let is_shown = |name: &str| {
        name.strip_prefix("has_")
            .is_some_and(|name| destination.get(name).is_some())
    };
    let is_own = |name: &str| !PLACED.contains(&name) && !LAST.contains(&name) && !is_shown(name);
    for (name, value) in destination
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_own(name))
    {
        match name.strip_prefix("has_") {
            Some(name) => put(
                name,
                if value == true {
                    "stored, not shown"
                } else {
                    "none"
                }
                .to_owned(),
            ),
            None if SHOWN_ONCE.contains(&name.as_str()) => {
                put(name, format!("{}  (shown only here)", text(value)))
            }
            None => put(name, text(value)),
        }
    }
    let health = &described.health.health.health;
    put("pending", pending(&described.health));
    put("last success", at_or_never(health.last_success_at));
    put("last failure", failure(health));
    put("created", field(destination, "created_at"));
    lines
}

/// Returns the displayed state of a healthy destination that has not been tried yet or skips everything; `None` for any
/// other state.
pub fn notable_state(shown_state: Option<ShownState>) -> Option<&'static str> {
    let is_notable =
        |state: &ShownState| matches!(state, ShownState::NotTried | ShownState::SkipsEverything);
    shown_state.filter(is_notable).map(shown_state_for_people)
}

/// Replaces the states in a list by their displayed form.
pub fn humanize_states(answer: &mut Value) {
    let states = table::items_mut(answer)
        .iter_mut()
        .filter_map(|destination| destination.get_mut("shown_state"));
    for state in states {
        if let Some(named) = state.as_str().and_then(|name| name.parse().ok()) {
            *state = shown_state_for_people(named).into();
        }
    }
}

fn state(destination: &Described) -> String {
    let health = &destination.health.health.health;
    let is_open = health.opened_at.is_some();
    let mut text = match (
        notable_state(destination.shown_state),
        health.first_failure_at,
    ) {
        (Some(state), _) => state.to_owned(),
        (None, Some(at)) if is_open => format!("failing since {}", table::shown(&at)),
        (None, _) => {
            let state = if is_open {
                "failing".to_owned()
            } else {
                table::shown(&destination.state)
            };
            format!("{state} since {}", table::shown(&destination.since))
        }
    };
    if let Some(reason) = &destination.reason {
        text.push_str(&format!(": {reason}"));
    }
    if is_open {
        text.push_str(&format!("; {CHECKED}"));
    }
    if let Some(at) = health.paused_until {
        text.push_str(&format!("; paused until {}", table::shown(&at)));
    }
    text
}

fn all_or(list: &Value) -> String {
    if list.as_array().is_none_or(Vec::is_empty) {
        "all".to_owned()
    } else {
        text(list)
    }
}

fn rate(rate: Option<i64>) -> String {
    rate.map_or_else(
        || "unlimited".to_owned(),
        |rate| format!("at most {rate} requests per second"),
    )
}

fn schedule(destination: &Described) -> String {
    let text = shown_kind(&destination.kind).schedule_text();
    let Some(waits) = &destination.schedule else {
        return text.usual.to_owned();
    };
    let waits: Vec<String> = waits
        .iter()
        .map(|seconds| times::compact(Duration::from_secs(*seconds)))
        .collect();
    format!("{}{}", waits.join(", "), text.end)
}

fn pending(health: &DestinationHealth) -> String {
    let mut text = match health.health.pending {
        1 => "1 delivery".to_owned(),
        pending => format!("{pending} deliveries"),
    };
    for (count, phrase) in [
        (health.backlog.waiting, "waiting for login"),
        (health.backlog.failed, "failed"),
        (health.backlog.skipped, "skipped"),
    ] {
        if count > 0 {
            text.push_str(&format!("; {count} {phrase}"));
        }
    }
    text
}

fn at_or_never(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| table::shown(&at))
}

fn failure(health: &Health) -> String {
    let mut text = at_or_never(health.last_failure_at);
    if health.failures > 0 {
        text.push_str(&format!(
            ", {} in a row, counting each purchase or device once",
            health.failures
        ));
    }
    if let Some(why) = &health.last_error {
        text.push_str(&format!(": {why}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{humanize_states, lines, read_as};
    use serde_json::json;

    fn line(destination: &serde_json::Value, name: &str) -> String {
        let described = read_as(destination).expect("a destination");
        let lines = lines(destination, &described);
        lines
            .into_iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value)
            .unwrap_or_default()
    }

    #[test]
    fn a_destination_is_shown_with_its_limits_and_health() {
        let destination = json!({
            "id": "d", "name": "hook", "kind": "k", "state": "open", "since": "2026-01-31T12:00:00Z",
            "reason": "503", "enabled": true,
            "events": ["*"], "filter": {"platforms": [], "environments": ["sandbox"]}, "rate": 5, "concurrency": 32,
            "schedule": [5, 5400, 90061], "url": "https://example.com/", "has_secret": true, "has_other": false,
            "health": {
                "pending": 3, "waiting": 1, "failed": 0, "skipped": 0, "failures": 11,
                "last_failure_at": "2026-01-31T12:00:00.5Z", "last_error": "503", "last_success_at": null,
                "first_failure_at": "2026-01-31T11:59:00Z", "opened_at": "2026-01-31T12:00:00Z", "paused_until": null,
            },
        });
        for (name, text) in [
            (
                "state",
                "failing since 2026-01-31T11:59:00Z: 503; settle checks it every 30 s and sends what waits by itself",
            ),
            ("platforms", "all"),
            ("environments", "sandbox"),
            ("rate", "at most 5 requests per second"),
            ("schedule", "5s, 1h 30m, 1d 1h 1m 1s"),
            ("url", "https://example.com/"),
            ("secret", "stored, not shown"),
            ("other", "none"),
            ("pending", "3 deliveries; 1 waiting for login"),
            ("last success", "never"),
            (
                "last failure",
                "2026-01-31T12:00:00Z, 11 in a row, counting each purchase or device once: 503",
            ),
        ] {
            assert_eq!(line(&destination, name), text, "{name}");
        }
    }

    #[test]
    fn an_untried_destination_is_not_called_healthy() {
        let state =
            |shown: &str| json!({ "state": "healthy", "since": "noon", "shown_state": shown });
        for (shown, text) in [
            ("healthy", "healthy since noon"),
            ("not_tried", "no event sent yet"),
            ("skips_everything", "skips everything"),
        ] {
            assert_eq!(line(&state(shown), "state"), text);
        }
        let mut list = json!({ "items": [state("not_tried"), state("open")] });
        humanize_states(&mut list);
        let shown = ["/items/0/shown_state", "/items/1/shown_state"].map(|path| list.pointer(path));
        assert_eq!(
            shown,
            [
                Some(&json!("no event sent yet")),
                Some(&json!("failing, checked every 30 s"))
            ]
        );
    }

    #[test]
    fn a_schedule_is_shown_as_durations_or_as_the_default() {
        let own = json!([5, 5400]);
        for (kind, waits, text) in [
            ("webhook", json!(null), "10 attempts over 75 h 35 m"),
            ("webhook", own.clone(), "5s, 1h 30m"),
            (
                "amplitude",
                json!(null),
                "5s, 5m, 30m, 2h, 5h, 10h, 14h, 20h, 24h, then daily, until 6d 23h after the first attempt",
            ),
            (
                "amplitude",
                own,
                "5s, 1h 30m; never later than 6d 23h after the first attempt",
            ),
        ] {
            assert_eq!(
                line(&json!({ "kind": kind, "schedule": waits }), "schedule"),
                text,
                "{kind}"
            );
        }
    }
}
