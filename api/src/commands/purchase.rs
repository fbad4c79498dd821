//! `settle purchase`: what one collapse key names, and what can be asked of it.

use super::client::{Client, Page, Remote, segment};
use super::explain;
use super::table::{self, Column};
use crate::clock;
use crate::times;
use anyhow::bail;
use clap::Subcommand;
use domain::CollapseKey;
use serde_json::{Map, Value};
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("collapse key", "collapse_key"),
    ("receipt", "receipt_id"),
    ("user", "app_user_id"),
    ("state", "state"),
    ("revision", "revision"),
    ("held until", "held_until"),
    ("updated", "updated_at"),
];

/// Purchases: what we know of each, why, and what was told of it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Wherever a COLLAPSE_KEY is asked for, the store's receipt id does as well.

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
    List {
        /// Only those of this platform.
        #[arg(long, value_name = "ID")]
        platform: Option<String>,
        /// Only the one that the store names so.
        #[arg(long, value_name = "ID")]
        receipt: Option<String>,
        /// Only those of the customer that the store names so.
        #[arg(long, value_name = "ID")]
        app_user: Option<String>,
        /// Only those of the customer that you name so.
        #[arg(long, value_name = "ID")]
        external_id: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Show one purchase as it stands.
    Show {
        /// Which one.
        collapse_key: String,
    },
    /// Tell its story in words: notifications, outcomes, revisions, events, deliveries, attempts.
    Explain {
        /// Which one.
        collapse_key: String,
    },
    /// Settle now, without waiting for the window's end. Never through a hold.
    Flush {
        #[command(flatten)]
        asked: Asked,
    },
    /// Stop settling for a while. Deliveries go on.
    Hold {
        #[command(flatten)]
        asked: Asked,
        /// Until when: a time, or how long from now. Seven days unless said otherwise.
        #[arg(long, value_parser = |text: &str| times::instant(text, clock::now()))]
        until: Option<domain::Timestamp>,
    },
    /// End a hold.
    Release {
        #[command(flatten)]
        asked: Asked,
    },
    /// Throw away what was accepted and is not settled yet.
    Discard {
        #[command(flatten)]
        asked: Asked,
    },
    /// Send the newest state again.
    Redeliver {
        #[command(flatten)]
        asked: Asked,
        /// Only to this destination.
        #[arg(long, value_name = "ID")]
        destination: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
struct Asked {
    /// Which one.
    collapse_key: String,
    /// Why; it is kept.
    #[arg(long)]
    reason: Option<String>,
}

/// Does one verb.
pub async fn purchase(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let answer = match &options.verb {
        Verb::List { platform, receipt, app_user, external_id, page } => {
            let filter = [
                ("platform_id", platform),
                ("receipt_id", receipt),
                ("app_user_id", app_user),
                ("external_id", external_id),
            ];
            let answer = client.get("/v1/purchases", &page.query_with(&filter)).await?;
            return Ok(table::answer_list(&options.remote, &answer, COLUMNS, "No purchases yet: try `settle sample`."));
        }
        Verb::Show { collapse_key } => client.get(&path(&client, collapse_key).await?, &[]).await?,
        Verb::Explain { collapse_key } => {
            let path = format!("purchases/{}", key(&client, collapse_key).await?);
            return explain::show(&client, &options.remote, &path).await;
        }
        Verb::Flush { asked } => act(&client, "flush", asked, None).await?,
        Verb::Hold { asked, until } => {
            act(&client, "hold", asked, until.map(|until| ("until", until.to_string()))).await?
        }
        Verb::Release { asked } => act(&client, "release", asked, None).await?,
        Verb::Discard { asked } => act(&client, "discard", asked, None).await?,
        Verb::Redeliver { asked, destination } => {
            act(&client, "redeliver", asked, destination.clone().map(|id| ("destination_id", id))).await?
        }
    };
    Ok(table::answer(&options.remote, &answer))
}

async fn act(client: &Client, verb: &str, asked: &Asked, more: Option<(&str, String)>) -> anyhow::Result<Value> {
    let mut body = Map::new();
    if let Some(reason) = &asked.reason {
        body.insert("reason".to_owned(), reason.as_str().into());
    }
    if let Some((name, value)) = more {
        body.insert(name.to_owned(), value.into());
    }
    let path = path(client, &asked.collapse_key).await?;
    client.post(&format!("{path}/{verb}"), &Value::Object(body)).await
}

async fn path(client: &Client, text: &str) -> anyhow::Result<String> {
    Ok(format!("/v1/purchases/{}", segment(&key(client, text).await?)))
}

/// The collapse key that is meant: as given, or of the receipt that is so named.
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
