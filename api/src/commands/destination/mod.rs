//! `settle destination`: the receivers of events.

mod flags;
mod retry;
mod shown;

use crate::commands::client::{Client, Page, segment};
use crate::commands::confirm::Confirm;
use crate::commands::secret::Source;
use crate::commands::table::{self, Column};
use clap::Subcommand;
use flags::Fields;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
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
    ("endpoint", "endpoint"),
];

/// Destinations: the receivers of an app's events.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle destination create --app ID --name backend --url https://example.com/hooks --event purchase.updated
  settle destination create --app ID --name analytics --kind amplitude --endpoint eu --api-key @api-key.txt
  settle destination update ID --rate 20 --schedule 5s,5m,1h --environment production
Next: keep what is shown only once (the webhook's secret: the receiver verifies with it), then
`settle destination test ID`. `settle listen --secret @FILE` is a receiver to try with.
`settle resend missing --destination ID` sends it the known purchases.")]
pub enum Verb {
    /// Add a destination to an app. A secret in the answer is shown only here.
    #[command(after_help = "\
Examples:
  settle destination create --app ID --name backend --url https://example.com/hooks
  settle destination create --app ID --name backend --url https://example.com/hooks --header Authorization=@token.txt
  settle destination create --app ID --name analytics --kind amplitude --endpoint standard --api-key @api-key.txt
  printf %s \"$KEY\" | settle destination create --app ID --name analytics --kind amplitude --endpoint eu --api-key -
Next: `settle destination test ID`; `settle resend missing --destination ID` sends it the known purchases.")]
    Create {
        /// The app's id.
        #[arg(long)]
        app: String,
        /// What kind of destination it is: `webhook` or `amplitude`.
        #[arg(long, default_value = "webhook")]
        kind: String,
        /// Create it disabled: events are stored for it until it is enabled.
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        fields: Box<Fields>,
    },
    /// List the destinations of an app.
    #[command(after_help = "\
Example:
  settle destination list --app ID
Next: `settle destination show ID` shows one with its health.")]
    List {
        /// The app's id.
        #[arg(long)]
        app: String,
        #[command(flatten)]
        page: Page,
    },
    /// Show one destination with its health.
    #[command(after_help = "\
Example:
  settle destination show ID
Next: `settle explain destination ID` shows why something did not arrive.")]
    Show {
        /// The destination's id.
        id: String,
    },
    /// Change the given fields, leave the rest.
    #[command(after_help = "\
Examples:
  settle destination update ID --event purchase.updated,user.subscription.* --platform PLATFORM_ID
  settle destination update ID --rate 20 --concurrency 4
  settle destination update ID --clear schedule,filter
Next: events that are recorded from now on follow it; `settle destination test ID` tries the connection.")]
    Update {
        /// The destination's id.
        id: String,
        /// Reset a field to its default: `rate`, `concurrency`, `schedule`, `filter`,
        /// `headers`, `secret_key`, `sandbox_api_key`, …
        #[arg(long, value_name = "FIELD", value_delimiter = ',')]
        clear: Vec<String>,
        #[command(flatten)]
        fields: Box<Fields>,
    },
    /// Enable a destination: what is pending for it is sent.
    #[command(after_help = "\
Example:
  settle destination enable ID
  settle destination enable ID --newest-only --dry-run      (counts the `user.*` events that would be skipped)
Next: `settle destination show ID` shows what is still pending.")]
    Enable {
        /// The destination's id.
        id: String,
        /// Send the newest state of each purchase and none of the pending `user.*` events: they end as skipped.
        #[arg(long)]
        newest_only: bool,
        /// Enable nothing, only count the events that would be skipped.
        #[arg(long, requires = "newest_only")]
        dry_run: bool,
    },
    /// Disable a destination: events are stored for it.
    #[command(after_help = "\
Example:
  settle destination disable ID
Next: purchases settle on, and events for it stay pending until `settle destination enable ID`.")]
    Disable {
        /// The destination's id.
        id: String,
    },
    /// Replace the secret that requests are signed with. The new one is shown only here.
    #[command(after_help = "\
Both secrets sign until the overlap is over, so a receiver that knows either of them accepts.

Example:
  settle destination rotate-secret ID --overlap-hours 48
Next: give the receiver the new secret before the overlap is over.")]
    RotateSecret {
        /// The destination's id.
        id: String,
        /// Where the new secret is read: `@FILE`, or `-` for standard input. Generated by default.
        #[arg(long, value_name = "@FILE|-")]
        secret: Option<Source>,
        /// How many hours the old one signs too, 0 to 168 [default: 24].
        #[arg(long, value_name = "N")]
        overlap_hours: Option<i64>,
    },
    /// Try the connection with one request that carries no event of anybody. Exits with 1 when it does not work.
    #[command(after_help = "\
Example:
  settle destination test ID
  settle destination test ID --event user.subscription.renewed
Next: when it works, `settle resend missing --destination ID` sends the known purchases.")]
    Test {
        /// The destination's id.
        id: String,
        /// Send a webhook a made-up event of this type, marked by the header `webhook-test: true`.
        #[arg(long, value_name = "TYPE")]
        event: Option<String>,
    },
    /// Send what is pending now, whatever it waits for, and print the result. Exits with 1 when it fails again.
    ///
    /// Back-offs and a pause end, and an open breaker is tried. What arrived or failed for good is not sent again: that
    /// is what `settle resend` does. With --json the answer also has `result` (`sent`, `failed`, `underway`,
    /// `nothing_pending`), `left`, `error` and `next_attempt_at`.
    #[command(after_help = "\
Example:
  settle destination retry ID --reason \"the receiver is back\"
Next: `settle explain destination ID` shows what is still pending, and why.")]
    Retry {
        /// The destination's id.
        id: String,
        /// Why; it is shown in the Temporal UI.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Try now whether a destination in trouble answers again, without waiting for the next probe.
    #[command(after_help = "\
Example:
  settle destination probe ID --reason \"the receiver is back\"
Next: when it answers, all that is pending is sent; `settle destination retry ID` also ends back-offs and a pause.")]
    Probe {
        /// The destination's id.
        id: String,
        /// Why; it is shown in the Temporal UI.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Delete a destination. Its deliveries stay in the ledger.
    #[command(after_help = "\
Example:
  settle destination delete ID
Next: what was pending for it is never sent. `settle delivery list --destination ID` shows what was.")]
    Delete {
        /// The destination's id.
        id: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Runs one subcommand.
pub async fn destination(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    let one = match verb {
        Verb::List { app, page } => {
            let answer = client.get(&format!("/v1/apps/{}/destinations", segment(&app)), &page.query()).await?;
            let nothing = "No destinations yet: `settle destination create --help`.";
            return Ok(table::answer_list(client, &answer, COLUMNS, nothing));
        }
        Verb::Test { id, event } => return test(client, &id, event).await,
        Verb::Retry { id, reason } => return retry::retry(client, &id, reason).await,
        Verb::Probe { id, reason } => return probe(client, &id, reason).await,
        Verb::Delete { id, confirm } => {
            confirm.prompt(&format!("Destination {id} is deleted: what is pending for it is never sent."))?;
            return Ok(table::answer(client, &client.delete(&path(&id)).await?));
        }
        Verb::Create { app, kind, disabled, fields } => {
            let mut body = fields.body()?;
            body["kind"] = kind.into();
            body["enabled"] = (!disabled).into();
            return create(client, &app, &body).await;
        }
        Verb::Show { id } => client.get(&path(&id), &[]).await?,
        Verb::Update { id, clear, fields } => {
            let mut body = fields.body()?;
            clear.iter().for_each(|name| body[name] = Value::Null);
            client.patch(&path(&id), &body).await?
        }
        Verb::Enable { id, dry_run: true, .. } => return count_skipped(client, &id).await,
        Verb::Enable { id, newest_only: false, .. } => client.patch(&path(&id), &json!({ "enabled": true })).await?,
        Verb::Enable { id, newest_only: true, .. } => {
            client.patch(&path(&id), &json!({ "enabled": true, "newest_only": true })).await?
        }
        Verb::Disable { id } => client.patch(&path(&id), &json!({ "enabled": false })).await?,
        Verb::RotateSecret { id, secret, overlap_hours } => {
            let secret = secret.map(|source| source.read()).transpose()?;
            let secret = secret.as_ref().map(ExposeSecret::expose_secret);
            let body = json!({ "secret": secret, "overlap_hours": overlap_hours });
            client.post(&format!("{}/rotate-secret", path(&id)), &body).await?
        }
    };
    if client.json {
        table::json(&one);
    } else {
        shown::show(&one);
    }
    Ok(ExitCode::SUCCESS)
}

fn path(id: &str) -> String {
    format!("/v1/destinations/{}", segment(id))
}

async fn create(client: &Client, app: &str, body: &Value) -> anyhow::Result<ExitCode> {
    let created = client.post(&format!("/v1/apps/{}/destinations", segment(app)), body).await?;
    if client.json {
        table::json(&created);
        return Ok(ExitCode::SUCCESS);
    }
    shown::show(&created);
    let id = table::field(&created, "id");
    table::line(&format!(
        "Next: `settle destination test {id}`; when it works, `settle resend missing --destination {id}` sends the known purchases."
    ));
    Ok(ExitCode::SUCCESS)
}

async fn probe(client: &Client, id: &str, reason: Option<String>) -> anyhow::Result<ExitCode> {
    let answer = client.post(&format!("{}/probe", path(id)), &json!({ "reason": reason })).await?;
    let sentence = format!(
        "If its breaker is open, it is tried now with one delivery; `settle destination show {id}` shows the result, \
         `settle destination retry {id}` sends all that is pending."
    );
    Ok(table::answer_line(client, &answer, &sentence))
}

async fn count_skipped(client: &Client, id: &str) -> anyhow::Result<ExitCode> {
    let body = json!({ "newest_only": true, "dry_run": true });
    let answer = client.post(&format!("{}/enable", path(id)), &body).await?;
    let sentence = format!("{} deliveries of user.* events would end as skipped.", table::field(&answer, "skipped"));
    Ok(table::answer_line(client, &answer, &sentence))
}

async fn test(client: &Client, id: &str, event: Option<String>) -> anyhow::Result<ExitCode> {
    let answer = client.post(&format!("{}/test", path(id)), &json!({ "event_type": event })).await?;
    let works = answer["ok"] == true;
    let verdict = if works { "It works" } else { "It does not work" };
    let shown = table::answer_line(client, &answer, &format!("{verdict}: {}", table::field(&answer, "detail")));
    Ok(if works { shown } else { ExitCode::FAILURE })
}
