//! `settle device`: what devices reported.

use super::client::{Client, Page, segment};
use super::table::{self, Column};
use super::{explain, names};
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("type", "type"),
    ("device", "device_id"),
    ("client id", "client_id"),
    ("received", "created_at"),
    ("deliveries", "delivered"),
    ("platform", "platform"),
];

/// Devices: the events that they reported, and which destinations got them.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle device events --status failed
  settle device explain EVENT_ID
Next: `settle explain destination ID` shows how a destination answers.")]
pub enum Verb {
    /// List events that devices reported, newest first, with how their deliveries stand.
    #[command(after_help = "\
Example:
  settle device events --device DEVICE_ID --type device.impression
Next: `settle device explain EVENT_ID` shows which destinations received one, which did not, and why.")]
    Events {
        /// Only those of this device (the `id` that the app made).
        #[arg(long, value_name = "DEVICE_ID")]
        device: Option<String>,
        /// Only those of this platform.
        #[arg(long, value_name = "ID")]
        platform: Option<String>,
        /// Only those of this type.
        #[arg(long = "type", value_name = "TYPE")]
        #[arg(value_parser = PossibleValuesParser::new(domain::event::device_types()))]
        event_type: Option<String>,
        /// Only the one that the app itself names so: the `id` in its report.
        #[arg(long, value_name = "ID")]
        client_id: Option<String>,
        /// Only those that were queued for this destination.
        #[arg(long, value_name = "ID")]
        destination: Option<String>,
        /// Only those whose delivery is in this state.
        #[arg(long, value_parser = ["pending", "delivered", "skipped", "failed"])]
        status: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show one event with its body and its deliveries.
    #[command(after_help = "\
Example:
  settle device event EVENT_ID
Next: `settle device explain EVENT_ID` shows which destinations received it, which did not, and why.")]
    Event {
        /// The event's id, `attributes.event_id` in the body that a receiver got.
        id: String,
    },
    /// Which destinations received an event, which did not, and why.
    #[command(after_help = "\
Example:
  settle device explain EVENT_ID
Next: `settle explain destination ID` shows how a destination answers.")]
    Explain {
        /// The event's id, `attributes.event_id` in the body that a receiver got.
        id: String,
    },
}

/// Runs one subcommand.
pub async fn device(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Events { device, platform, event_type, client_id, destination, status, page } => {
            let filter = [
                ("device_id", &device),
                ("platform_id", &platform),
                ("type", &event_type),
                ("client_id", &client_id),
                ("destination_id", &destination),
                ("status", &status),
            ];
            let mut answer = client.get("/v1/device-events", &page.query_with(&filter)).await?;
            names::add(client, &mut answer, names::PLATFORM).await;
            if !client.json {
                answer["items"].as_array_mut().into_iter().flatten().for_each(add_statuses);
            }
            let is_filtered = filter.iter().any(|(_, value)| value.is_some());
            let nothing = if is_filtered { "No event of a device matches." } else { "No device has reported yet." };
            Ok(table::answer_list(client, &answer, COLUMNS, nothing))
        }
        Verb::Event { id } => {
            let event = client.get(&format!("/v1/device-events/{}", segment(&id)), &[]).await?;
            Ok(table::answer(client, &event))
        }
        Verb::Explain { id } => explain::show(client, &format!("events/{}", segment(&id))).await,
    }
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
