//! `settle purchase explain`: the story of one purchase in words, from what was told to us to what was told on.

use super::client::{Client, Remote, segment};
use super::table::{self, field};
use serde_json::{Value, json};
use std::fmt::Write;
use std::process::ExitCode;

/// What the API knows of one purchase.
struct Facts {
    purchase: Value,
    notifications: Value,
    events: Value,
    /// Each delivery with its `attempts` filled in.
    deliveries: Vec<Value>,
}

/// Prints the story.
pub async fn explain(client: &Client, remote: &Remote, key: &str) -> anyhow::Result<ExitCode> {
    let facts = facts(client, key).await?;
    if remote.json {
        table::json(&json!({
            "purchase": facts.purchase,
            "notifications": table::items(&facts.notifications),
            "events": table::items(&facts.events),
            "deliveries": facts.deliveries,
        }));
    } else {
        table::line(&story(&facts));
    }
    Ok(ExitCode::SUCCESS)
}

async fn facts(client: &Client, key: &str) -> anyhow::Result<Facts> {
    let of_purchase = [("collapse_key", Some(key.to_owned())), ("limit", Some("100".to_owned()))];
    let path = format!("/v1/purchases/{}", segment(key));
    let notifications = client.get(&format!("{path}/notifications"), &of_purchase[1..]).await?;
    // A purchase that is not settled yet has notifications and nothing else.
    let purchase = match client.get(&path, &[]).await {
        Err(_) if !table::items(&notifications).is_empty() => json!({"collapse_key": key}),
        purchase => purchase?,
    };
    let events = client.get("/v1/events", &of_purchase).await?;
    let listed = client.get("/v1/deliveries", &of_purchase).await?;
    let mut deliveries = Vec::new();
    for delivery in table::items(&listed) {
        let id = segment(&field(delivery, "id"));
        let attempts = client.get(&format!("/v1/deliveries/{id}/attempts"), &[]).await?;
        let mut delivery = delivery.clone();
        if let Some(fields) = delivery.as_object_mut() {
            fields.insert("tried".to_owned(), table::items(&attempts).into());
        }
        deliveries.push(delivery);
    }
    Ok(Facts { purchase, notifications, events, deliveries })
}

fn story(facts: &Facts) -> String {
    let mut story = head(&facts.purchase);
    let told = table::items(&facts.notifications);
    let _ = writeln!(story, "\nWhat we were told ({}):", count(told.len(), "notification"));
    for notification in oldest_first(told, "accepted_at") {
        let _ = writeln!(story, "  {}", heard(notification));
    }
    for event in oldest_first(table::items(&facts.events), "created_at") {
        let _ = writeln!(
            story,
            "\nRevision {}: event {} ({}), made {}",
            field(event, "revision"),
            field(event, "type"),
            field(event, "id"),
            field(event, "created_at")
        );
        let id = field(event, "id");
        let mut deliveries = facts.deliveries.iter().filter(|delivery| field(delivery, "event_id") == id).peekable();
        if deliveries.peek().is_none() {
            let _ = writeln!(story, "  No destination had chosen it.");
        }
        for delivery in deliveries {
            let _ = write!(story, "{}", sent(delivery));
        }
    }
    if table::items(&facts.events).is_empty() {
        let _ = writeln!(story, "\nNothing was told on yet.");
    }
    story.trim_end().to_owned()
}

fn head(purchase: &Value) -> String {
    if purchase.get("state").is_none() {
        return format!("Purchase {}\n  not settled yet\n", field(purchase, "collapse_key"));
    }
    let mut head = format!(
        "Purchase {}\n  receipt {}, customer {}\n  state {}, revision {}\n",
        field(purchase, "collapse_key"),
        field(purchase, "receipt_id"),
        field(purchase, "app_user_id"),
        field(purchase, "state"),
        field(purchase, "revision"),
    );
    if let Some(until) = purchase.get("held_until").and_then(Value::as_str) {
        let _ = writeln!(head, "  held until {until}: nothing is settled before, unless it is released");
    }
    head
}

/// One notification: when, what, and its outcome or what it waits for.
fn heard(notification: &Value) -> String {
    let mut line = format!("{}  {}: ", field(notification, "accepted_at"), field(notification, "type"));
    let revision = field(notification, "revision");
    let reason = notification.get("reason").and_then(Value::as_str);
    match notification.get("outcome").and_then(Value::as_str) {
        Some("settled") => {
            let _ = write!(line, "settled in revision {revision}");
        }
        Some("no_change") => {
            let _ = write!(line, "settled, and nothing changed (revision {revision})");
        }
        Some("duplicate") => line.push_str("a duplicate of what the store had told before"),
        Some("refused") => line.push_str("refused"),
        Some("discarded") => line.push_str("discarded by an admin"),
        Some("unknown") => line.push_str("of a kind that is not known, kept for reading"),
        Some("given_up") => line.push_str("given up, for it could not be verified"),
        Some(other) => line.push_str(other),
        None => match notification.get("waiting_for").and_then(Value::as_str) {
            Some(reason) => {
                let _ = write!(line, "waits for {reason}");
            }
            None => line.push_str("waits"),
        },
    }
    if let Some(reason) = reason {
        let _ = write!(line, " ({reason})");
    }
    line
}

/// One delivery and its attempts, a line each.
fn sent(delivery: &Value) -> String {
    let mut lines = format!(
        "  to destination {}: {}",
        field(delivery, "destination_id"),
        match field(delivery, "status").as_str() {
            "delivered" => format!("delivered {}", field(delivery, "finished_at")),
            "superseded" => "superseded by a newer revision before it arrived".to_owned(),
            "dead" => format!(
                "dead, never tried again by itself (`settle purchase redeliver {}`)",
                field(delivery, "collapse_key")
            ),
            "pending" => format!("pending, due {}", field(delivery, "next_due_at")),
            other => other.to_owned(),
        }
    );
    lines.push('\n');
    for attempt in delivery.get("tried").and_then(Value::as_array).into_iter().flatten() {
        let _ = write!(lines, "    attempt {} at {}: ", field(attempt, "number"), field(attempt, "started_at"));
        let answer = match (attempt.get("status").and_then(Value::as_i64), attempt.get("error").and_then(Value::as_str))
        {
            (Some(status), None) => format!("answered {status}"),
            (Some(status), Some(error)) => format!("answered {status}, {error}"),
            (None, Some(error)) => error.to_owned(),
            (None, None) => field(attempt, "class"),
        };
        let _ = writeln!(lines, "{answer} after {} ms", field(attempt, "latency_ms"));
    }
    lines
}

/// The API lists the newest first; a story begins at the beginning.
fn oldest_first<'a>(items: &'a [Value], time: &str) -> Vec<&'a Value> {
    let mut items: Vec<&Value> = items.iter().collect();
    items.sort_by_key(|item| field(item, time));
    items
}

fn count(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::{Facts, story};
    use serde_json::json;

    #[test]
    fn a_story_goes_from_the_notification_to_the_attempt() {
        let facts = Facts {
            purchase: json!({"collapse_key": "k", "receipt_id": "r", "app_user_id": "u", "state": "active", "revision": 1}),
            notifications: json!({"items": [
                {"type": "RENEWED", "accepted_at": "2026-01-02", "waiting_for": "window"},
                {"type": "PURCHASED", "accepted_at": "2026-01-01", "outcome": "settled", "revision": 1},
            ]}),
            events: json!({"items": [{"id": "e", "type": "purchase.updated", "revision": 1, "created_at": "2026-01-01"}]}),
            deliveries: vec![json!({
                "id": "d", "event_id": "e", "destination_id": "x", "status": "delivered", "finished_at": "2026-01-01",
                "tried": [{"number": 1, "started_at": "2026-01-01", "status": 204, "latency_ms": 7}],
            })],
        };
        assert_eq!(
            story(&facts),
            "Purchase k\n  receipt r, customer u\n  state active, revision 1\n\n\
             What we were told (2 notifications):\n  2026-01-01  PURCHASED: settled in revision 1\n  \
             2026-01-02  RENEWED: waits for window\n\n\
             Revision 1: event purchase.updated (e), made 2026-01-01\n  \
             to destination x: delivered 2026-01-01\n    \
             attempt 1 at 2026-01-01: answered 204 after 7 ms"
        );
    }
}
