//! `settle purchase`: purchases, and the actions on one.

use super::client::{Client, Page, Remote, segment};
use super::explain;
use super::names;
use super::table::{self, Column};
use crate::clock;
use crate::resources::purchases::state_for_people;
use crate::times;
use anyhow::bail;
use clap::Subcommand;
use domain::{CollapseKey, Timestamp};
use serde_json::{Map, Value};
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

/// Purchases: the state of each, why it is so, and what was announced.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Wherever a COLLAPSE_KEY is expected, the store's receipt id works as well.

Example:
  settle purchase explain 6b275a67-0bbb-4f3a-99b9-6600bf711993
  settle purchase hold RECEIPT --until 2h --reason \"ticket 4711\"
Next: the Temporal UI shows the same purchase as the workflow `purchase/COLLAPSE_KEY`.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List purchases.
    #[command(after_help = "\
Example:
  settle purchase list --platform ID --limit 20
  settle purchase list --external-id 4711
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
        #[command(flatten)]
        page: Page,
    },
    /// Show one purchase.
    #[command(after_help = "\
Example:
  settle purchase show RECEIPT
Next: `settle explain purchase RECEIPT` shows how it came to this state.")]
    Show {
        /// Which one.
        collapse_key: String,
    },
    /// Explain it in sentences: notifications, outcomes, revisions, events, deliveries, attempts.
    #[command(after_help = "\
Example:
  settle purchase explain RECEIPT
Next: `settle redeliver purchase RECEIPT` sends again what did not arrive.")]
    Explain {
        /// Which one.
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
    /// Send the newest state again.
    #[command(after_help = "\
Example:
  settle purchase redeliver RECEIPT --destination ID --reason \"the receiver lost it\"
Next: `settle explain purchase RECEIPT` shows whether it arrived. `settle redeliver purchase RECEIPT` sends the
`user.*` events too.")]
    Redeliver {
        #[command(flatten)]
        request: Request,
        /// Only to this destination.
        #[arg(long, value_name = "ID")]
        destination: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Request {
    /// Which one.
    collapse_key: String,
    /// Why; it is stored.
    #[arg(long)]
    reason: Option<String>,
}

/// An action on a purchase.
enum Action<'a> {
    Flush,
    Hold(Option<Timestamp>),
    Release,
    Discard,
    Redeliver(Option<&'a str>),
}

/// Does one verb.
pub async fn purchase(options: Options) -> anyhow::Result<ExitCode> {
    let (client, remote) = (options.remote.client()?, &options.remote);
    let (request, action) = match &options.verb {
        Verb::List { platform, receipt, app_user, external_id, page } => {
            let filter = [
                ("platform_id", platform),
                ("receipt_id", receipt),
                ("app_user_id", app_user),
                ("external_id", external_id),
            ];
            let mut answer = client.get("/v1/purchases", &page.query_with(&filter)).await?;
            if !remote.json {
                names::add(&client, &mut answer, names::PLATFORM).await;
                let items = answer.get_mut("items").and_then(Value::as_array_mut);
                items.into_iter().flatten().for_each(humanize_state);
            }
            let is_filtered = filter.iter().any(|(_, value)| value.is_some());
            let nothing = if is_filtered { "No purchase matches." } else { "No purchases yet: try `settle sample`." };
            return Ok(table::answer_list(remote, &answer, COLUMNS, nothing));
        }
        Verb::Show { collapse_key } => {
            let mut shown = client.get(&path(&client, collapse_key).await?, &[]).await?;
            if !remote.json {
                humanize_state(&mut shown);
            }
            return Ok(table::answer(remote, &shown));
        }
        Verb::Explain { collapse_key } => {
            let path = format!("purchases/{}", key(&client, collapse_key).await?);
            return explain::show(&client, remote, &path).await;
        }
        Verb::Flush { request } => (request, Action::Flush),
        Verb::Hold { request, until } => (request, Action::Hold(*until)),
        Verb::Release { request } => (request, Action::Release),
        Verb::Discard { request } => (request, Action::Discard),
        Verb::Redeliver { request, destination } => (request, Action::Redeliver(destination.as_deref())),
    };
    let answer = act(&client, request, &action).await?;
    if remote.json {
        table::json(&answer);
    } else {
        table::line(&action.sentence(&request.collapse_key));
    }
    Ok(ExitCode::SUCCESS)
}

/// Replaces the state of a purchase by its readable form.
fn humanize_state(purchase: &mut Value) {
    let state = purchase.get("state").and_then(Value::as_str).map(|state| state_for_people(state).to_owned());
    if let Some(state) = state {
        purchase["state"] = state.into();
    }
}

async fn act(client: &Client, request: &Request, action: &Action<'_>) -> anyhow::Result<Value> {
    let mut body = Map::new();
    if let Some(reason) = &request.reason {
        body.insert("reason".to_owned(), reason.as_str().into());
    }
    body.extend(action.field().map(|(name, value)| (name.to_owned(), value.into())));
    let path = path(client, &request.collapse_key).await?;
    client.post(&format!("{path}/{}", action.name()), &Value::Object(body)).await
}

impl Action<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Flush => "flush",
            Self::Hold(_) => "hold",
            Self::Release => "release",
            Self::Discard => "discard",
            Self::Redeliver(_) => "redeliver",
        }
    }

    /// The field of the request that the action adds.
    fn field(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Hold(Some(until)) => Some(("until", until.to_string())),
            Self::Redeliver(Some(id)) => Some(("destination_id", (*id).to_owned())),
            _ => None,
        }
    }

    /// The effect of the action, and how to watch it. `purchase` is the name that the user typed.
    fn sentence(&self, purchase: &str) -> String {
        let now = match self {
            Self::Flush => "What waits of it is settled now, unless it is held".to_owned(),
            Self::Hold(until) => {
                let until = until.map_or_else(|| "for seven days".to_owned(), |until| format!("until {until}"));
                format!("Nothing of it is settled {until} (`settle purchase release {purchase}` ends that)")
            }
            Self::Release => "It is held no longer: what waits of it is settled when its window is over".to_owned(),
            Self::Discard => "What was accepted of it until now and is not settled is discarded".to_owned(),
            Self::Redeliver(None) => {
                "Its newest state, and what died of it, is sent again to every destination".to_owned()
            }
            Self::Redeliver(Some(id)) => format!("Its newest state, and what died of it, is sent again to {id}"),
        };
        format!("{now}; `settle explain purchase {purchase}` shows the result.")
    }
}

async fn path(client: &Client, text: &str) -> anyhow::Result<String> {
    Ok(format!("/v1/purchases/{}", segment(&key(client, text).await?)))
}

/// The collapse key for a text that is a collapse key or a receipt id.
pub async fn key(client: &Client, text: &str) -> anyhow::Result<String> {
    if text.parse::<CollapseKey>().is_ok() {
        return Ok(text.to_owned());
    }
    let found = client.get("/v1/purchases", &[("receipt_id", Some(text.to_owned()))]).await?;
    match table::items(&found) {
        [one] => Ok(table::field(one, "collapse_key")),
        [] => bail!("`{text}` is neither a collapse key nor a receipt that is known: see `settle purchase list`"),
        _ => bail!(
            "several platforms know a receipt `{text}`: give the collapse key, see `settle purchase list --receipt`"
        ),
    }
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
            (Action::Redeliver(None), "to every destination"),
            (Action::Redeliver(Some("d1")), "to d1;"),
        ] {
            let sentence = action.sentence("r1");
            assert!(sentence.contains(part), "{sentence}");
            assert!(sentence.ends_with("; `settle explain purchase r1` shows the result."), "{sentence}");
        }
    }
}
