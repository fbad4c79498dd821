//! `settle device`: everything that its table of verbs cannot express.

use super::client::read_as;
use super::drawn::Hook;
use super::{explain, table};
use serde::Deserialize;
use serde_json::{Value, json};

pub const HOOKS: &[(&str, Hook)] = &[
    ("events", Hook::Humanize(add_all_statuses)),
    ("explain", Hook::Print(explain::print)),
];

/// The deliveries of a device event.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DeviceEvent {
    deliveries: Vec<Delivery>,
}

/// The status of a delivery, even if this version does not know it.
#[derive(Debug, Deserialize)]
struct Delivery {
    status: String,
}

fn add_all_statuses(answer: &mut Value) {
    table::items_mut(answer).iter_mut().for_each(add_statuses);
}

/// Adds the counts of an event's deliveries by status, such as `2 delivered, 1 pending`.
fn add_statuses(event: &mut Value) {
    let DeviceEvent { deliveries } = read_as(event).unwrap_or_default();
    let counts = ["delivered", "pending", "skipped", "failed"].map(|status| {
        let count = deliveries.iter().filter(|one| one.status == status).count();
        (count > 0).then(|| format!("{count} {status}"))
    });
    let counted = counts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    event["delivered"] = json!(if counted.is_empty() {
        "no destination is subscribed".to_owned()
    } else {
        counted
    });
}

#[cfg(test)]
mod tests {
    use super::add_statuses;
    use serde_json::json;

    #[test]
    fn the_statuses_of_an_event_are_counted() {
        let delivery = |status: &str| json!({ "status": status });
        let mut event =
            json!({ "deliveries": (["pending", "delivered", "delivered"].map(delivery)) });
        add_statuses(&mut event);
        assert_eq!(event["delivered"], "2 delivered, 1 pending");
        let mut none = json!({ "deliveries": [] });
        add_statuses(&mut none);
        assert_eq!(none["delivered"], "no destination is subscribed");
    }
}
