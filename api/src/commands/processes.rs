//! The running processes in `settle status`.

use api::resources::overview;
use api::times;
use domain::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use storage::RunningProcess;

/// A running process, and how long ago it was seen.
#[derive(Debug, Deserialize)]
pub struct SeenProcess {
    #[serde(flatten)]
    process: RunningProcess,
    seen_seconds_ago: Option<u64>,
}

/// Returns the running processes as the service sent them, each with how long ago it was seen; null if the service
/// shows none.
pub fn seen(overview: &Value) -> Value {
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

/// Returns the lines about the running processes; empty if there are none.
pub fn lines(seen: &[SeenProcess]) -> Vec<(&'static str, String)> {
    if seen.is_empty() {
        return Vec::new();
    }
    let running: Vec<_> = seen.iter().map(|one| one.process.clone()).collect();
    let summary = overview::older(&running)
        .unwrap_or_else(|| format!("{} running, all of one release", running.len()));
    let lines = seen.iter().map(|one| {
        let ago = one
            .seen_seconds_ago
            .map(|seconds| times::compact(Duration::from_secs(seconds)));
        let ago = ago.map_or_else(String::new, |ago| format!(", seen {ago} ago"));
        ("", format!("{}{ago}", overview::process(&one.process)))
    });
    std::iter::once(("Processes", summary))
        .chain(lines)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{SeenProcess, seen};
    use serde_json::json;

    #[test]
    fn the_running_processes_are_listed_and_an_older_one_is_named() {
        let process = |role: &str, version: &str, is_older: bool| {
            json!({ "role": role, "version": version, "host": "a", "pid": 7, "seen_at": "2026-01-31T12:00:00Z",
                "is_older": is_older })
        };
        let lines = |all: &[serde_json::Value]| {
            let overview = json!({ "now": "2026-01-31T12:00:12Z", "processes": all });
            let found: Vec<SeenProcess> =
                serde_json::from_value(seen(&overview)).expect("processes");
            super::lines(&found)
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
        assert!(seen(&json!({})).is_null());
    }
}
