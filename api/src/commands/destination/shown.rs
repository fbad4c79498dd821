//! Prints one destination: its settings and its health.

use crate::commands::layout::short_times;
use crate::commands::table::{self, field, text};
use crate::resources::destinations::{CHECKED, shown_state_for_people};
use crate::times;
use protocols::destinations::shown_kind;
use serde_json::Value;
use std::time::Duration;
use storage::ShownState;

/// Fields that have a fixed place in the output, or are part of another line.
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
/// Fields that only the answer to the request that created them has.
const SHOWN_ONCE: [&str; 2] = ["secret", "private_key"];
const LAST: [&str; 2] = ["health", "created_at"];

/// Prints a destination, one line per fact.
pub fn show(destination: &Value) {
    let lines = lines(destination);
    let width = lines
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    for (name, value) in lines {
        table::named(&name, width, &value);
    }
}

fn lines(destination: &Value) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: String| lines.push((name.to_owned(), value));
    for name in ["id", "app_id", "name", "kind"] {
        put(name, field(destination, name));
    }
    put("state", state(destination));
    if let Some(why) = destination["refusal"].as_str() {
        put("not allowed", why.to_owned());
    }
    put("events", field(destination, "events"));
    put("platforms", all_or(&destination["filter"]["platforms"]));
    put(
        "environments",
        all_or(&destination["filter"]["environments"]),
    );
    put("rate", rate(&destination["rate"]));
    put(
        "concurrency",
        format!(
            "at most {} concurrent requests",
            field(destination, "concurrency")
        ),
    );
    put("schedule", schedule(destination));
    // Where the secret itself is shown, its `has_` field is left out.
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
    let health = &destination["health"];
    put("pending", pending(health));
    put("last success", at_or_never(health, "last_success_at"));
    put("last failure", failure(health));
    put("created", field(destination, "created_at"));
    lines
}

fn shown_state(destination: &Value) -> Option<ShownState> {
    destination["shown_state"].as_str()?.parse().ok()
}

/// The state of a healthy destination that is more than healthy or less.
pub fn notable_state(destination: &Value) -> Option<&'static str> {
    let is_notable =
        |state: &ShownState| matches!(state, ShownState::NotTried | ShownState::SkipsEverything);
    shown_state(destination)
        .filter(is_notable)
        .map(shown_state_for_people)
}

/// Replaces the states in a list by their readable form.
pub fn humanize_states(answer: &mut Value) {
    for destination in answer["items"].as_array_mut().into_iter().flatten() {
        if let Some(state) = shown_state(destination) {
            destination["shown_state"] = shown_state_for_people(state).into();
        }
    }
}

fn state(destination: &Value) -> String {
    let health = &destination["health"];
    let is_open = health["opened_at"].is_string();
    let mut text = match notable_state(destination) {
        Some(state) => state.to_owned(),
        None if is_open && health["first_failure_at"].is_string() => {
            format!("failing since {}", field(health, "first_failure_at"))
        }
        None => format!(
            "{} since {}",
            if is_open {
                "failing".to_owned()
            } else {
                field(destination, "state")
            },
            field(destination, "since")
        ),
    };
    if let Some(reason) = destination["reason"].as_str() {
        text.push_str(&format!(": {reason}"));
    }
    if is_open {
        text.push_str(&format!("; {CHECKED}"));
    }
    if let Some(at) = health["paused_until"].as_str() {
        text.push_str(&format!("; paused until {}", short_times(at)));
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

fn rate(rate: &Value) -> String {
    rate.as_i64().map_or_else(
        || "unlimited".to_owned(),
        |rate| format!("at most {rate} requests per second"),
    )
}

fn schedule(destination: &Value) -> String {
    let kind = destination["kind"].as_str().unwrap_or_default();
    let text = shown_kind(kind).schedule_text();
    let Some(waits) = destination["schedule"].as_array() else {
        return text.usual.to_owned();
    };
    let waits: Vec<String> = waits
        .iter()
        .filter_map(Value::as_u64)
        .map(|seconds| times::compact(Duration::from_secs(seconds)))
        .collect();
    format!("{}{}", waits.join(", "), text.end)
}

fn pending(health: &Value) -> String {
    let count = |name: &str| health[name].as_i64().unwrap_or_default();
    let mut text = match count("pending") {
        1 => "1 delivery".to_owned(),
        pending => format!("{pending} deliveries"),
    };
    for (name, phrase) in [
        ("waiting", "waiting for login"),
        ("failed", "failed"),
        ("skipped", "skipped"),
    ] {
        if count(name) > 0 {
            text.push_str(&format!("; {} {phrase}", count(name)));
        }
    }
    text
}

fn at_or_never(health: &Value, name: &str) -> String {
    short_times(health[name].as_str().unwrap_or("never"))
}

fn failure(health: &Value) -> String {
    let at = at_or_never(health, "last_failure_at");
    let failures = health["failures"].as_i64().unwrap_or_default();
    let mut text = at;
    if failures > 0 {
        text.push_str(&format!(
            ", {failures} in a row, counting each purchase or device once"
        ));
    }
    if let Some(why) = health["last_error"].as_str() {
        text.push_str(&format!(": {why}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{humanize_states, lines};
    use serde_json::json;

    fn line(destination: &serde_json::Value, name: &str) -> String {
        let lines = lines(destination);
        lines
            .into_iter()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value)
            .unwrap_or_default()
    }

    #[test]
    fn a_destination_is_shown_with_its_limits_and_health() {
        let destination = json!({
            "id": "d", "name": "hook", "kind": "k", "state": "open", "since": "noon", "reason": "503", "enabled": true,
            "events": ["*"], "filter": {"platforms": [], "environments": ["sandbox"]}, "rate": 5, "concurrency": 32,
            "schedule": [5, 5400, 90061], "url": "https://example.com/", "has_secret": true, "has_other": false,
            "health": {
                "pending": 3, "waiting": 1, "failed": 0, "failures": 11, "last_failure_at": "noon", "last_error": "503",
                "last_success_at": null, "first_failure_at": "11:59", "opened_at": "noon", "paused_until": null,
            },
        });
        for (name, text) in [
            (
                "state",
                "failing since 11:59: 503; settle checks it every 30 s and sends what waits by itself",
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
                "noon, 11 in a row, counting each purchase or device once: 503",
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
