//! `settle device`: what devices reported.

use super::drawn::{Resource, Verb, Verbs};
use super::explain;
use super::table::{self, Column};
use serde_json::{Value, json};

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("type", "type"),
    ("device", "device_id"),
    ("client id", "client_id"),
    ("received", "created_at"),
    ("deliveries", "delivered"),
    ("platform", "platform"),
];

const EVENTS: Verb = Verb::get(
    "events",
    "/v1/device-events",
    "List events that devices reported, newest first, with how their deliveries stand",
    "\
Example:
  settle device events --device DEVICE_ID --type device.impression
Next: `settle device explain EVENT_ID` shows which destinations received one, which did not, and why.",
)
.humanize(add_all_statuses)
.list(COLUMNS, "No device has reported yet.", "No event of a device matches.");

const EVENT: Verb = Verb::get(
    "event",
    "/v1/device-events/{event_id}",
    "Show one event with its body and its deliveries",
    "\
Example:
  settle device event EVENT_ID
Next: `settle device explain EVENT_ID` shows which destinations received it, which did not, and why.",
);

const EXPLAIN: Verb = Verb::get(
    "explain",
    "/v1/explain/events/{event_id}",
    "Which destinations received an event, which did not, and why",
    "\
Example:
  settle device explain EVENT_ID
Next: `settle explain destination ID` shows how a destination answers.",
)
.shows(explain::EXPLANATION);

pub const RESOURCE: Resource = Resource {
    name: "device",
    about: "Devices: the events that they reported, and which destinations got them",
    help: "\
Example:
  settle device events --status failed
  settle device explain EVENT_ID
Next: `settle explain destination ID` shows how a destination answers.",
    verbs: Verbs::Named(&[EVENTS, EVENT, EXPLAIN]),
};

fn add_all_statuses(answer: &mut Value) {
    answer["items"].as_array_mut().into_iter().flatten().for_each(add_statuses);
}

/// Adds how the deliveries of an event stand, such as `2 delivered, 1 pending`.
fn add_statuses(event: &mut Value) {
    let statuses: Vec<String> =
        event["deliveries"].as_array().into_iter().flatten().map(|one| table::field(one, "status")).collect();
    let counts = ["delivered", "pending", "skipped", "failed"].map(|status| {
        let count = statuses.iter().filter(|one| *one == status).count();
        (count > 0).then(|| format!("{count} {status}"))
    });
    let counted = counts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    event["delivered"] = json!(if counted.is_empty() { "no destination chose it".to_owned() } else { counted });
}

#[cfg(test)]
mod tests {
    use super::add_statuses;
    use serde_json::json;

    #[test]
    fn the_statuses_of_an_event_are_counted() {
        let delivery = |status: &str| json!({ "status": status });
        let mut event = json!({ "deliveries": (["pending", "delivered", "delivered"].map(delivery)) });
        add_statuses(&mut event);
        assert_eq!(event["delivered"], "2 delivered, 1 pending");
        let mut none = json!({ "deliveries": [] });
        add_statuses(&mut none);
        assert_eq!(none["delivered"], "no destination chose it");
    }
}
