//! `settle purchase`: everything that its table of verbs cannot express.

use super::client::{Client, read_as};
use super::drawn::{Exchange, Hook, Planned};
use super::{explain, table};
use api::clock;
use api::resources::purchases::state_for_people;
use api::shell::quoted;
use domain::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value};
use storage::Paged;

pub const HOOKS: &[(&str, Hook)] = &[
    ("list", Hook::Shown("state", shown)),
    ("list", Hook::Humanize(humanize_states)),
    (
        "list",
        Hook::WhyEmpty(|client, exchange| Box::pin(waiting(client, exchange))),
    ),
    ("show", Hook::Humanize(humanize_state)),
    ("explain", Hook::Print(explain::print)),
    (
        "hold",
        Hook::Before(|client, planned| Box::pin(note_earlier_hold(client, planned))),
    ),
    ("hold", Hook::Sentence(held)),
];

/// Returns the displayed names of a state, such as `active, renewal off` and `renewal off`.
fn shown(state: &str) -> Vec<&str> {
    let shown = state_for_people(state);
    [Some(shown), shown.strip_prefix("active, ")]
        .into_iter()
        .flatten()
        .collect()
}

fn humanize_states(answer: &mut Value) {
    table::items_mut(answer).iter_mut().for_each(humanize_state);
}

/// Replaces the state of a purchase by its displayed form.
pub fn humanize_state(purchase: &mut Value) {
    let Some(state) = purchase.get_mut("state") else {
        return;
    };
    if let Some(name) = state.as_str() {
        *state = state_for_people(name).into();
    }
}

/// The purchase and the outcome of a notification.
#[derive(Debug, Deserialize)]
struct Notified {
    collapse_key: Option<String>,
    /// `None` while the notification is waiting.
    outcome: Option<String>,
}

/// The hold of a purchase.
#[derive(Debug, Deserialize)]
struct Held {
    held_until: Option<Timestamp>,
}

/// Maximum number of notifications that are searched for a waiting one.
const NEWEST: &str = "500";

/// Returns the note that a notification is waiting, unless a filter other than the platform is set: a purchase that is
/// filtered by its id or customer is listed before it is settled.
async fn waiting(client: &Client, exchange: &Exchange) -> anyhow::Result<Option<String>> {
    if exchange
        .typed
        .keys()
        .any(|name| !["platform_id", "cursor", "limit"].contains(&name.as_str()))
    {
        return Ok(None);
    }
    let platform = Some(exchange.typed("platform_id")).filter(|id| !id.is_empty());
    let newest = [
        ("platform_id", platform),
        ("limit", Some(NEWEST.to_owned())),
    ];
    let newest: Paged<Notified> = read_as(&client.get("/v1/notifications", &newest).await?)?;
    let mut waiting = newest.items.iter().filter(|one| one.outcome.is_none());
    Ok(waiting.find_map(|one| one.collapse_key.as_ref()).map(|key| {
        format!(
            "Nothing is settled yet, but a notification is waiting: `settle explain purchase {key}` shows for what; \
             `settle notification list` shows all."
        )
    }))
}

/// Names the hold that a new one replaces. If the purchase cannot be read, there is nothing to name, and the call
/// itself fails.
async fn note_earlier_hold(
    client: &Client,
    planned: &Planned<'_>,
) -> anyhow::Result<Map<String, Value>> {
    let path = planned.path.strip_suffix("/hold").unwrap_or(planned.path);
    let purchase = client.get(path, &[]).await;
    let held = purchase.and_then(|purchase| read_as::<Held>(&purchase));
    let until = held.ok().and_then(|held| held.held_until);
    if let Some(until) = until.filter(|until| *until > clock::now() && !client.json) {
        table::line(&format!(
            "It is already held until {until}; the new hold replaces that one."
        ));
    }
    Ok(Map::new())
}

fn held(exchange: &Exchange) -> String {
    let until = match exchange.typed("until") {
        until if until.is_empty() => "for seven days".to_owned(),
        until => format!("until {until}"),
    };
    let purchase = quoted(&exchange.typed("collapse_key"));
    format!(
        "It will not be settled {until} (`settle purchase release {purchase}` ends the hold); `settle explain purchase \
         {purchase}` shows the result."
    )
}

#[cfg(test)]
mod tests {
    use super::{Exchange, held};
    use serde_json::{Value, json};

    #[test]
    fn a_hold_prints_its_end_and_the_next_command() {
        for (typed, part) in [
            (
                json!({ "collapse_key": "r1" }),
                "for seven days (`settle purchase release r1`",
            ),
            (
                json!({ "collapse_key": "r 1" }),
                "for seven days (`settle purchase release 'r 1'`",
            ),
            (
                json!({ "collapse_key": "r1", "until": "2026-12-01T00:00:00Z" }),
                "until 2026-12-01T00:00:00Z (`settle",
            ),
        ] {
            let typed = typed.as_object().cloned().unwrap_or_default();
            let purchase = typed.get("collapse_key").and_then(Value::as_str);
            let purchase = api::shell::quoted(purchase.unwrap_or_default());
            let sentence = held(&Exchange {
                answer: Value::Null,
                typed,
                is_filtered: false,
            });
            assert!(sentence.contains(part), "{sentence}");
            assert!(
                sentence.ends_with(&format!(
                    "; `settle explain purchase {purchase}` shows the result."
                )),
                "{sentence}"
            );
        }
    }
}
