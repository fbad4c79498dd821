//! `settle purchase`: purchases, and the actions on one.

use super::client::Client;
use super::drawn::{Exchange, Flag, Resource, Shows, Verb, Verbs};
use super::explain;
use super::table::{self, Column};
use crate::resources::purchases::state_for_people;
use serde_json::Value;

const COLUMNS: &[Column] = &[
    ("collapse key", "collapse_key"),
    ("receipt", "receipt_id"),
    ("platform", "platform"),
    ("user", "app_user_id"),
    ("state", "state"),
    ("revision", "revision"),
    ("held until", "held_until"),
    ("updated", "updated_at"),
];

const REASON: Flag = Flag::of("reason").help("Why; it is stored");

const LIST: Verb = Verb::get(
    "list",
    "/v1/purchases",
    "List purchases",
    "\
Example:
  settle purchase list --platform ID --limit 20
  settle purchase list --external-id 4711
  settle purchase list --failing
Next: `settle explain purchase RECEIPT` explains one.",
)
.flags(&[Flag::of("app_user_id").named("app-user")])
.humanize(humanize_states)
.shows(Shows::List {
    columns: COLUMNS,
    nothing: "No purchases yet: try `settle sample`.",
    no_match: "No purchase matches.",
    why_empty: Some(|client, exchange| Box::pin(waiting(client, exchange))),
});

const SHOW: Verb = Verb::get(
    "show",
    "/v1/purchases/{collapse_key}",
    "Show one purchase",
    "\
Example:
  settle purchase show RECEIPT
Next: `settle explain purchase RECEIPT` shows how it came to this state.",
)
.humanize(humanize_state);

const EXPLAIN: Verb = Verb::get(
    "explain",
    "/v1/explain/purchases/{collapse_key}",
    "Explain it in sentences: notifications, outcomes, revisions, events, deliveries, attempts",
    "\
Example:
  settle purchase explain RECEIPT
Next: `settle resend purchase RECEIPT` sends again what did not arrive.",
)
.shows(explain::EXPLANATION);

const FLUSH: Verb = Verb::post(
    "flush",
    "/v1/purchases/{collapse_key}/flush",
    "Settle now, without waiting for the window's end. Never through a hold",
    "\
Example:
  settle purchase flush RECEIPT --reason \"support case 17\"
Next: `settle explain purchase RECEIPT` shows the revision and its deliveries.",
)
.flags(&[REASON])
.shows(Shows::Sentence(|exchange| effect(exchange, "What waits of it is settled now, unless it is held")));

const HOLD: Verb = Verb::post(
    "hold",
    "/v1/purchases/{collapse_key}/hold",
    "Stop settling for a while. Deliveries go on",
    "\
Example:
  settle purchase hold RECEIPT --until 2h --reason \"ticket 4711\"
Next: `settle purchase release RECEIPT` ends it; what came meanwhile is settled then.",
)
.flags(&[REASON, Flag::of("until").help("Until when: a time, or how long from now. Seven days by default")])
.shows(Shows::Sentence(held));

const RELEASE: Verb = Verb::post(
    "release",
    "/v1/purchases/{collapse_key}/release",
    "End a hold",
    "\
Example:
  settle purchase release RECEIPT --reason \"done\"
Next: `settle explain purchase RECEIPT` shows what was settled.",
)
.flags(&[REASON])
.shows(Shows::Sentence(|exchange| {
    effect(exchange, "It is held no longer: what waits of it is settled when its window is over")
}));

const DISCARD: Verb = Verb::post(
    "discard",
    "/v1/purchases/{collapse_key}/discard",
    "Discard what was accepted and is not settled yet",
    "\
Example:
  settle purchase discard RECEIPT --reason \"test data\"
Next: `settle explain purchase RECEIPT` shows what was discarded. What was settled before stays.",
)
.flags(&[REASON])
.shows(Shows::Sentence(|exchange| {
    effect(exchange, "What was accepted of it until now and is not settled is discarded")
}));

pub const RESOURCE: Resource = Resource {
    name: "purchase",
    about: "Purchases: the state of each, why it is so, and what was announced",
    help: "\
Wherever a COLLAPSE_KEY is expected, the store's receipt id works as well.

Example:
  settle purchase explain 6b275a67-0bbb-4f3a-99b9-6600bf711993
  settle purchase hold RECEIPT --until 2h --reason \"ticket 4711\"
Next: the Temporal UI shows the same purchase as the workflow `purchase/COLLAPSE_KEY`.",
    verbs: Verbs::Named(&[LIST, SHOW, EXPLAIN, FLUSH, HOLD, RELEASE, DISCARD]),
};

fn humanize_states(answer: &mut Value) {
    answer["items"].as_array_mut().into_iter().flatten().for_each(humanize_state);
}

/// Replaces the state of a purchase by its readable form.
fn humanize_state(purchase: &mut Value) {
    if let Some(state) = purchase["state"].as_str() {
        purchase["state"] = state_for_people(state).into();
    }
}

/// Maximum number of notifications that are searched for one that waits.
const NEWEST: &str = "500";

/// Whether a notification waits, where nothing or only a platform is selected. A purchase of a filter by receipt or
/// customer is listed before it is settled.
async fn waiting(client: &Client, exchange: &Exchange) -> anyhow::Result<Option<String>> {
    if exchange.typed.keys().any(|name| !["platform_id", "cursor", "limit"].contains(&name.as_str())) {
        return Ok(None);
    }
    let platform = Some(exchange.typed("platform_id")).filter(|id| !id.is_empty());
    let newest = [("platform_id", platform), ("limit", Some(NEWEST.to_owned()))];
    let newest = client.get("/v1/notifications", &newest).await?;
    let mut waiting = table::items(&newest).iter().filter(|one| one["outcome"].is_null());
    Ok(waiting.find_map(|one| one["collapse_key"].as_str()).map(|key| {
        format!(
            "Nothing is settled yet, but a notification waits: `settle explain purchase {key}` shows for what; \
             `settle notification list` shows all."
        )
    }))
}

/// The effect of an action, and the command that shows its result.
fn effect(exchange: &Exchange, effect: &str) -> String {
    format!("{effect}; `settle explain purchase {}` shows the result.", exchange.typed("collapse_key"))
}

fn held(exchange: &Exchange) -> String {
    let until = match exchange.typed("until") {
        until if until.is_empty() => "for seven days".to_owned(),
        until => format!("until {until}"),
    };
    let purchase = exchange.typed("collapse_key");
    effect(exchange, &format!("Nothing of it is settled {until} (`settle purchase release {purchase}` ends that)"))
}

#[cfg(test)]
mod tests {
    use super::{Exchange, held};
    use serde_json::{Value, json};

    #[test]
    fn a_hold_prints_its_end_and_the_next_command() {
        for (typed, part) in [
            (json!({ "collapse_key": "r1" }), "for seven days (`settle purchase release r1`"),
            (json!({ "collapse_key": "r1", "until": "2026-12-01T00:00:00Z" }), "until 2026-12-01T00:00:00Z (`settle"),
        ] {
            let typed = typed.as_object().cloned().unwrap_or_default();
            let sentence = held(&Exchange { answer: Value::Null, typed, is_filtered: false });
            assert!(sentence.contains(part), "{sentence}");
            assert!(sentence.ends_with("; `settle explain purchase r1` shows the result."), "{sentence}");
        }
    }
}
