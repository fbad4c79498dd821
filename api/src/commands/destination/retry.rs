//! `settle destination retry`: sends the pending deliveries now, and prints the result.

use super::path;
use crate::client::{Client, read_as};
use crate::layout::short_times;
use crate::table;
use api::resources::destinations::{CHECKED, Retrying};
use domain::Timestamp;
use domain::health::Health;
use serde::Deserialize;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;
use storage::{DestinationHealth, Paged};
use tokio::time::{Instant, sleep};

/// Maximum time to wait for the result.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two checks.
const POLL: Duration = Duration::from_millis(250);

/// The result of a retry.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing was pending.
    NothingPending,
    /// Nothing is pending any more.
    Sent,
    /// An attempt failed; the text is the reason.
    Failed(String),
    /// Deliveries are still being sent.
    Underway,
}

/// The health in a response about a destination.
#[derive(Debug, Deserialize)]
struct Recorded {
    health: DestinationHealth,
}

/// The time of the next attempt in a response about a delivery.
#[derive(Debug, Deserialize)]
struct PendingDelivery {
    next_due_at: Option<Timestamp>,
}

/// Sends the pending deliveries, and waits until none is pending, an attempt fails, or the time limit is reached.
pub async fn retry(client: &Client, id: &str, reason: Option<String>) -> anyhow::Result<ExitCode> {
    let before = health(client, id).await?;
    let mut answer = client
        .post(&format!("{}/retry", path(id)), &json!({ "reason": reason }))
        .await?;
    let Retrying { pending, .. } = read_as(&answer)?;
    if pending > 0 && !client.json {
        table::line(&format!("{} pending; sending now.", deliveries(pending)));
    }
    let (verdict, now) = if pending == 0 {
        (Verdict::NothingPending, before)
    } else {
        result(client, id, &before).await?
    };
    let left = now.health.pending;
    let now = &now.health.health;
    let next_attempt_at = match &verdict {
        Verdict::Failed(_) => next_attempt(client, id, now).await?,
        _ => None,
    };
    if client.json {
        answer["result"] = verdict.name().into();
        answer["left"] = left.into();
        answer["error"] = verdict.error().into();
        answer["next_attempt_at"] = next_attempt_at.into();
        table::json(&answer);
    } else {
        match &verdict {
            Verdict::NothingPending => table::line("Nothing is pending."),
            Verdict::Sent => table::line("All deliveries arrived."),
            Verdict::Failed(why) => {
                let later = later(now, next_attempt_at.as_deref());
                table::line(&format!(
                    "It failed again: {why}. {} still pending; {later}.",
                    deliveries(left)
                ));
            }
            Verdict::Underway => table::line(&format!(
                "{} still pending; nothing has failed so far: `settle destination show {id}` shows the progress.",
                deliveries(left)
            )),
        }
    }
    Ok(if verdict.error().is_some() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Returns the health of a destination.
async fn health(client: &Client, id: &str) -> anyhow::Result<DestinationHealth> {
    let Recorded { health } = read_as(&client.get(&path(id), &[]).await?)?;
    Ok(health)
}

/// Waits for the result. Returns it with the destination's health at that time.
async fn result(
    client: &Client,
    id: &str,
    before: &DestinationHealth,
) -> anyhow::Result<(Verdict, DestinationHealth)> {
    let began = Instant::now();
    loop {
        let now = health(client, id).await?;
        let verdict = verdict(before, &now);
        if verdict != Verdict::Underway || began.elapsed() >= TIMEOUT {
            return Ok((verdict, now));
        }
        sleep(POLL).await;
    }
}

/// Returns when the next attempt is due, if a delivery's own schedule decides that; `None` if the breaker is open,
/// because then the endpoint is probed instead.
async fn next_attempt(client: &Client, id: &str, now: &Health) -> anyhow::Result<Option<String>> {
    if now.opened_at.is_some() {
        return Ok(None);
    }
    let filter = [
        ("destination_id", id),
        ("status", "pending"),
        ("limit", "500"),
    ];
    let filter = filter.map(|(name, value)| (name, Some(value.to_owned())));
    let pending: Paged<PendingDelivery> = read_as(&client.get("/v1/deliveries", &filter).await?)?;
    // A delivery that was due earlier is being sent right now.
    let due = pending.items.iter().filter_map(|one| one.next_due_at);
    let earliest = due.filter(|at| Some(*at) > now.last_failure_at).min();
    Ok(earliest.map(|at| {
        let paused_until = now.paused_until;
        paused_until.map_or(at, |until| until.max(at)).to_string()
    }))
}

/// Returns when pending deliveries are tried again, as a phrase.
fn later(now: &Health, next_attempt_at: Option<&str>) -> String {
    match next_attempt_at {
        _ if now.opened_at.is_some() => CHECKED.to_owned(),
        Some(at) => format!("the next attempt will be at {}", short_times(at)),
        None => "it will be retried later".to_owned(),
    }
}

impl Verdict {
    /// Returns the name of the result in JSON.
    fn name(&self) -> &'static str {
        match self {
            Self::NothingPending => "nothing_pending",
            Self::Sent => "sent",
            Self::Failed(_) => "failed",
            Self::Underway => "underway",
        }
    }

    fn error(&self) -> Option<&str> {
        match self {
            Self::Failed(why) => Some(why),
            _ => None,
        }
    }
}

fn deliveries(count: i64) -> String {
    if count == 1 {
        "1 delivery is".to_owned()
    } else {
        format!("{count} deliveries are")
    }
}

/// Returns the result so far, from the destination's health now and before the retry.
fn verdict(before: &DestinationHealth, now: &DestinationHealth) -> Verdict {
    let failed_at = |of: &DestinationHealth| of.health.health.last_failure_at;
    if now.health.pending == 0 {
        Verdict::Sent
    } else if failed_at(now).is_some() && failed_at(now) != failed_at(before) {
        let error = now.health.health.last_error.as_ref();
        Verdict::Failed(table::shown_or_dash(error))
    } else {
        Verdict::Underway
    }
}

#[cfg(test)]
mod tests {
    use super::{DestinationHealth, Recorded, Verdict, later, read_as, verdict};
    use serde_json::{Value, json};

    fn destination(pending: i64, failed_at: &Value) -> DestinationHealth {
        let health = json!({
            "pending": pending, "waiting": 0, "failed": 0, "skipped": 0, "failures": 1, "last_failure_at": failed_at,
            "last_error": "answered 503",
        });
        let Recorded { health } =
            read_as(&json!({ "id": "d1", "health": health })).expect("a destination");
        health
    }

    #[test]
    fn what_came_of_it_is_seen_by_the_health() {
        let (old, new) = (
            json!("2026-01-31T12:00:00.000001Z"),
            json!("2026-01-31T12:00:00.000002Z"),
        );
        let before = destination(3, &old);
        assert_eq!(verdict(&before, &destination(2, &old)), Verdict::Underway);
        assert_eq!(verdict(&before, &destination(0, &old)), Verdict::Sent);
        assert_eq!(
            verdict(&before, &destination(3, &new)),
            Verdict::Failed("answered 503".to_owned())
        );
        assert_eq!(
            verdict(&destination(1, &Value::Null), &destination(1, &Value::Null)),
            Verdict::Underway
        );
    }

    #[test]
    fn the_next_attempt_has_a_time_or_a_reason() {
        let mut now = destination(3, &Value::Null).health.health;
        assert_eq!(
            later(&now, Some("noon")),
            "the next attempt will be at noon"
        );
        assert_eq!(later(&now, None), "it will be retried later");
        now.opened_at = "2026-01-31T12:00:00Z".parse().ok();
        assert!(later(&now, None).contains("every 30 s"));
    }
}
