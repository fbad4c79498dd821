//! `settle destination`: whom we tell.

use super::client::{Page, Remote, segment};
use super::snapshot::{self, Snapshot};
use super::table::{self, Column};
use clap::Subcommand;
use serde_json::{Map, Value, json};
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("kind", "kind"),
    ("name", "name"),
    ("enabled", "enabled"),
    ("state", "state"),
    ("reason", "reason"),
    ("events", "events"),
    ("url", "url"),
];

/// Destinations: whom an app's events are told.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle destination create --app ID --name backend --url https://example.com/hooks --event purchase.updated
Next: keep the secret that it prints, it is shown only once; the receiver verifies with it.
`settle listen --secret @FILE` is a receiver to try with. `settle destination snapshot ID` sends it what is known already.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add a destination to an app. The secret in the answer is shown only here.
    Create {
        /// The app's id.
        #[arg(long)]
        app: String,
        /// What kind of destination it is.
        #[arg(long, default_value = "webhook")]
        kind: String,
        /// Make it disabled: events are kept for it until it is enabled.
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        fields: Fields,
    },
    /// List the destinations of an app.
    List {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        page: Page,
    },
    /// Show one destination, and how it fares.
    Show {
        /// The destination's id.
        id: String,
    },
    /// Change what is given, leave the rest.
    Update {
        /// The destination's id.
        id: String,
        #[command(flatten)]
        fields: Fields,
    },
    /// Enable a destination: what is owed to it is sent.
    Enable {
        /// The destination's id.
        id: String,
    },
    /// Disable a destination: events are kept for it.
    Disable {
        /// The destination's id.
        id: String,
    },
    /// Send it the newest state of every purchase that was never sent to it, for a destination that came later.
    ///
    /// Running it again sends nothing twice.
    Snapshot(Snapshot),
    /// Delete a destination. Its deliveries stay in the ledger.
    Delete {
        /// The destination's id.
        id: String,
    },
}

#[derive(Debug, clap::Args)]
struct Fields {
    /// Its name, for people.
    #[arg(long)]
    name: Option<String>,
    /// Where events are posted.
    #[arg(long)]
    url: Option<String>,
    /// Which events: `*`, `user.*`, or one type. Can be given more than once.
    #[arg(long = "event", value_name = "TYPE", value_delimiter = ',')]
    events: Vec<String>,
}

impl Fields {
    fn body(&self) -> Map<String, Value> {
        let mut body = Map::new();
        if let Some(name) = &self.name {
            body.insert("name".to_owned(), name.as_str().into());
        }
        if let Some(url) = &self.url {
            body.insert("url".to_owned(), url.as_str().into());
        }
        if !self.events.is_empty() {
            body.insert("events".to_owned(), json!(self.events));
        }
        body
    }
}

/// Does one verb.
pub async fn destination(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let path = |id: &str| format!("/v1/destinations/{}", segment(id));
    let answer = match &options.verb {
        Verb::Create { app, kind, disabled, fields } => {
            let mut body = fields.body();
            body.insert("kind".to_owned(), kind.as_str().into());
            body.insert("enabled".to_owned(), (!disabled).into());
            client.post(&format!("/v1/apps/{}/destinations", segment(app)), &Value::Object(body)).await?
        }
        Verb::List { app, page } => {
            let answer = client.get(&format!("/v1/apps/{}/destinations", segment(app)), &page.query()).await?;
            let nothing = "Nobody is told yet: `settle destination create --help`.";
            return Ok(table::answer_list(&options.remote, &answer, COLUMNS, nothing));
        }
        Verb::Show { id } => client.get(&path(id), &[]).await?,
        Verb::Update { id, fields } => client.patch(&path(id), &Value::Object(fields.body())).await?,
        Verb::Enable { id } => client.patch(&path(id), &json!({ "enabled": true })).await?,
        Verb::Disable { id } => client.patch(&path(id), &json!({ "enabled": false })).await?,
        Verb::Snapshot(wanted) => return snapshot::snapshot(&client, &options.remote, wanted).await,
        Verb::Delete { id } => client.delete(&path(id)).await?,
    };
    Ok(table::answer(&options.remote, &answer))
}
