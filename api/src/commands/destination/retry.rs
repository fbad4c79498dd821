//! `settle destination retry`: sends what is owed now, and prints the result.

use super::path;
use crate::commands::client::Client;
use crate::commands::table::{self, field};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Maximum time to wait for the result.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Time between two checks.
const POLL: Duration = Duration::from_millis(250);

/// The result of a retry.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing is owed any more.
    Sent,
    /// An attempt failed, for this reason.
    Failed(String),
    /// Deliveries are still on their way.
    Underway,
}

/// Sends what is owed, and waits until nothing is owed, an attempt failed, or the time is up.
pub async fn retry(client: &Client, id: &str, reason: Option<String>) -> anyhow::Result<ExitCode> {
    let before = client.get(&path(id), &[]).await?;
    let answer = client.post(&format!("{}/retry", path(id)), &json!({ "reason": reason })).await?;
    if client.json {
        return Ok(table::answer(client, &answer));
    }
    let owed = answer["owed"].as_i64().unwrap_or_default();
    if owed == 0 {
        table::line("Nothing is owed to it.");
        return Ok(ExitCode::SUCCESS);
    }
    table::line(&format!("{} owed; sending now.", deliveries(owed)));
    let began = Instant::now();
    loop {
        let now = client.get(&path(id), &[]).await?;
        let left = now["health"]["owed"].as_i64().unwrap_or_default();
        match verdict(&before, &now) {
            Verdict::Sent => table::line("All of it arrived."),
            Verdict::Failed(why) => {
                table::line(&format!("It failed again: {why}. {} still owed and tried later.", deliveries(left)));
                return Ok(ExitCode::FAILURE);
            }
            Verdict::Underway if began.elapsed() < TIMEOUT => {
                sleep(POLL).await;
                continue;
            }
            Verdict::Underway => table::line(&format!(
                "{} still owed, nothing failed so far: `settle destination show {id}` shows the progress.",
                deliveries(left)
            )),
        }
        return Ok(ExitCode::SUCCESS);
    }
}

fn deliveries(count: i64) -> String {
    if count == 1 { "1 delivery is".to_owned() } else { format!("{count} deliveries are") }
}

/// The result until now: compares the destination's health with its health before the retry.
fn verdict(before: &Value, now: &Value) -> Verdict {
    let failed_at = |destination: &Value| field(destination, "health.last_failure_at");
    let is_newer = now["health"]["last_failure_at"] != before["health"]["last_failure_at"];
    if now["health"]["owed"] == 0 {
        Verdict::Sent
    } else if is_newer && !failed_at(now).is_empty() {
        Verdict::Failed(field(now, "health.last_error"))
    } else {
        Verdict::Underway
    }
}

#[cfg(test)]
mod tests {
    use super::{Verdict, verdict};
    use serde_json::{Value, json};

    fn destination(owed: i64, failed_at: &Value) -> Value {
        json!({"health": {"owed": owed, "last_failure_at": failed_at, "last_error": "answered 503"}})
    }

    #[test]
    fn what_came_of_it_is_seen_by_the_health() {
        let (old, new) = (json!("2026-01-31T12:00:00.000001Z"), json!("2026-01-31T12:00:00.000002Z"));
        let before = destination(3, &old);
        assert_eq!(verdict(&before, &destination(2, &old)), Verdict::Underway);
        assert_eq!(verdict(&before, &destination(0, &old)), Verdict::Sent);
        assert_eq!(verdict(&before, &destination(3, &new)), Verdict::Failed("answered 503".to_owned()));
        assert_eq!(verdict(&destination(1, &Value::Null), &destination(1, &Value::Null)), Verdict::Underway);
    }
}
