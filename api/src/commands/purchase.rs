//! `settle purchase`: purchases, and the actions on one.

use super::client::{Client, Page, segment};
use super::explain;
use super::names;
use super::table::{self, Column};
use crate::clock;
use crate::resources::purchases::state_for_people;
use crate::times;
use clap::Subcommand;
use domain::Timestamp;
use serde_json::{Value, json};
use std::process::ExitCode;

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

/// The states of a purchase.
const STATES: [&str; 9] = ["unknown", "trial", "trial_off", "active", "off", "grace", "expired", "revoked", "replaced"];

/// Purchases: the state of each, why it is so, and what was announced.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Wherever a COLLAPSE_KEY is expected, the store's receipt id works as well.

Example:
  settle purchase explain 6b275a67-0bbb-4f3a-99b9-6600bf711993
  settle purchase hold RECEIPT --until 2h --reason \"ticket 4711\"
Next: the Temporal UI shows the same purchase as the workflow `purchase/COLLAPSE_KEY`.")]
pub enum Verb {
    /// List purchases.
    #[command(after_help = "\
Example:
  settle purchase list --platform ID --limit 20
  settle purchase list --external-id 4711
  settle purchase list --failing
Next: `settle explain purchase RECEIPT` explains one.")]
    List {
        /// Only those of this platform.
        #[arg(long, value_name = "ID")]
        platform: Option<String>,
        /// Only the one with this receipt id.
        #[arg(long, value_name = "ID")]
        receipt: Option<String>,
        /// Only those of the customer with this id at the store.
        #[arg(long, value_name = "ID")]
        app_user: Option<String>,
        /// Only those of the customer with this id of yours.
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
        /// Only those in this state.
        #[arg(long, value_parser = STATES)]
        state: Option<String>,
        /// Only those that are held.
        #[arg(long)]
        held: bool,
        /// Only those of which a delivery is pending after a failed attempt.
        #[arg(long)]
        failing: bool,
        #[command(flatten)]
        page: Page,
    },
    /// Show one purchase.
    #[command(after_help = "\
Example:
  settle purchase show RECEIPT
Next: `settle explain purchase RECEIPT` shows how it came to this state.")]
    Show {
        /// Its collapse key, or the store's receipt id.
        collapse_key: String,
    },
    /// Explain it in sentences: notifications, outcomes, revisions, events, deliveries, attempts.
    #[command(after_help = "\
Example:
  settle purchase explain RECEIPT
Next: `settle resend purchase RECEIPT` sends again what did not arrive.")]
    Explain {
        /// Its collapse key, or the store's receipt id.
        collapse_key: String,
    },
    /// Settle now, without waiting for the window's end. Never through a hold.
    #[command(after_help = "\
Example:
  settle purchase flush RECEIPT --reason \"support case 17\"
Next: `settle explain purchase RECEIPT` shows the revision and its deliveries.")]
    Flush {
        #[command(flatten)]
        request: Request,
    },
    /// Stop settling for a while. Deliveries go on.
    #[command(after_help = "\
Example:
  settle purchase hold RECEIPT --until 2h --reason \"ticket 4711\"
Next: `settle purchase release RECEIPT` ends it; what came meanwhile is settled then.")]
    Hold {
        #[command(flatten)]
        request: Request,
        /// Until when: a time, or how long from now. Seven days by default.
        #[arg(long, value_parser = |text: &str| times::instant(text, clock::now()))]
        until: Option<Timestamp>,
    },
    /// End a hold.
    #[command(after_help = "\
Example:
  settle purchase release RECEIPT --reason \"done\"
Next: `settle explain purchase RECEIPT` shows what was settled.")]
    Release {
        #[command(flatten)]
        request: Request,
    },
    /// Discard what was accepted and is not settled yet.
    #[command(after_help = "\
Example:
  settle purchase discard RECEIPT --reason \"test data\"
Next: `settle explain purchase RECEIPT` shows what was discarded. What was settled before stays.")]
    Discard {
        #[command(flatten)]
        request: Request,
    },
}

#[derive(Debug, clap::Args)]
pub struct Request {
    /// Its collapse key, or the store's receipt id.
    collapse_key: String,
    /// Why; it is stored.
    #[arg(long)]
    reason: Option<String>,
}

/// An action on a purchase.
enum Action {
    Flush,
    Hold(Option<Timestamp>),
    Release,
    Discard,
}

/// Runs one subcommand.
pub async fn purchase(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    let (request, action) = match verb {
        Verb::List { platform, receipt, app_user, external_id, state, held, failing, page } => {
            let [held, failing] = [held, failing].map(|only| only.then(|| "true".to_owned()));
            let filter = [
                ("platform_id", &platform),
                ("receipt_id", &receipt),
                ("app_user_id", &app_user),
                ("external_id", &external_id),
                ("state", &state),
                ("held", &held),
                ("failing", &failing),
            ];
            let mut answer = client.get("/v1/purchases", &page.query_with(&filter)).await?;
            names::add(client, &mut answer, names::PLATFORM).await;
            let items = answer.get_mut("items").and_then(Value::as_array_mut);
            items.into_iter().flatten().for_each(|item| humanize_state(client, item));
            let nothing = match table::items(&answer) {
                [] if !client.json => no_purchase(client, &filter).await?,
                _ => String::new(),
            };
            return Ok(table::answer_list(client, &answer, COLUMNS, &nothing));
        }
        Verb::Show { collapse_key } => {
            let mut shown = client.get(&path(client, &collapse_key).await?, &[]).await?;
            humanize_state(client, &mut shown);
            return Ok(table::answer(client, &shown));
        }
        Verb::Explain { collapse_key } => {
            let key = names::collapse_key(client, &collapse_key).await?;
            return explain::show(client, &format!("purchases/{key}")).await;
        }
        Verb::Flush { request } => (request, Action::Flush),
        Verb::Hold { request, until } => (request, Action::Hold(until)),
        Verb::Release { request } => (request, Action::Release),
        Verb::Discard { request } => (request, Action::Discard),
    };
    let answer = act(client, &request, &action).await?;
    Ok(table::answer_line(client, &answer, &action.sentence(&request.collapse_key)))
}

/// Maximum number of notifications that are searched for one that waits.
const NEWEST: &str = "500";

/// The sentence about an empty list: whether a notification waits. A purchase of a filter by receipt or customer is
/// listed before it is settled.
async fn no_purchase(client: &Client, filter: &[(&'static str, &Option<String>)]) -> anyhow::Result<String> {
    let mut chosen = filter.iter().filter(|(_, value)| value.is_some());
    let nothing = match (chosen.next(), chosen.next()) {
        (None, _) => "No purchases yet: try `settle sample`.",
        (Some(("platform_id", _)), None) => "No purchase matches.",
        _ => return Ok("No purchase matches.".to_owned()),
    };
    let platform = filter.iter().find_map(|(name, value)| (*name == "platform_id").then(|| (*value).clone())).flatten();
    let newest = [("platform_id", platform), ("limit", Some(NEWEST.to_owned()))];
    let newest = client.get("/v1/notifications", &newest).await?;
    let mut waiting = table::items(&newest).iter().filter(|one| one["outcome"].is_null());
    Ok(match waiting.find_map(|one| one["collapse_key"].as_str()) {
        Some(key) => format!(
            "Nothing is settled yet, but a notification waits: `settle explain purchase {key}` shows for what; \
             `settle notification list` shows all."
        ),
        None => nothing.to_owned(),
    })
}

/// Replaces the state of a purchase by its readable form, unless it is printed as JSON.
fn humanize_state(client: &Client, purchase: &mut Value) {
    if let Some(state) = purchase["state"].as_str().filter(|_| !client.json) {
        purchase["state"] = state_for_people(state).into();
    }
}

/// Requests the action.
async fn act(client: &Client, request: &Request, action: &Action) -> anyhow::Result<Value> {
    let mut body = json!({ "reason": request.reason });
    let name = match action {
        Action::Flush => "flush",
        Action::Hold(until) => {
            body["until"] = json!(until);
            "hold"
        }
        Action::Release => "release",
        Action::Discard => "discard",
    };
    client.post(&format!("{}/{name}", path(client, &request.collapse_key).await?), &body).await
}

impl Action {
    /// The effect of the action, and the command that shows its result. `purchase` is the text that was typed.
    fn sentence(&self, purchase: &str) -> String {
        let now = match self {
            Self::Flush => "What waits of it is settled now, unless it is held".to_owned(),
            Self::Hold(until) => {
                let until = until.map_or_else(|| "for seven days".to_owned(), |until| format!("until {until}"));
                format!("Nothing of it is settled {until} (`settle purchase release {purchase}` ends that)")
            }
            Self::Release => "It is held no longer: what waits of it is settled when its window is over".to_owned(),
            Self::Discard => "What was accepted of it until now and is not settled is discarded".to_owned(),
        };
        format!("{now}; `settle explain purchase {purchase}` shows the result.")
    }
}

async fn path(client: &Client, text: &str) -> anyhow::Result<String> {
    Ok(format!("/v1/purchases/{}", segment(&names::collapse_key(client, text).await?)))
}

#[cfg(test)]
mod tests {
    use super::Action;

    #[test]
    fn every_action_prints_its_effect_and_how_to_watch_it() {
        let until = "2026-12-01T00:00:00Z".parse().unwrap();
        for (action, part) in [
            (Action::Flush, "is settled now, unless it is held"),
            (Action::Hold(None), "for seven days"),
            (Action::Hold(Some(until)), "until 2026-12-01T00:00:00.000000Z (`settle purchase release r1`"),
            (Action::Release, "held no longer"),
            (Action::Discard, "is discarded"),
        ] {
            let sentence = action.sentence("r1");
            assert!(sentence.contains(part), "{sentence}");
            assert!(sentence.ends_with("; `settle explain purchase r1` shows the result."), "{sentence}");
        }
    }
}
