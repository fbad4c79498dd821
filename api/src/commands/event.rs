//! `settle event`: the events that were recorded.

use super::client::{Page, Remote, segment};
use super::table::{self, Column};
use crate::resources::events::chosen;
use clap::Subcommand;
use std::process::ExitCode;

/// The columns of a list of events.
pub const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("type", "type"),
    ("revision", "revision"),
    ("created", "created_at"),
    ("collapse key", "collapse_key"),
];

/// Events: what was announced to destinations, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle event list --purchase COLLAPSE_KEY
Next: `settle delivery list --purchase COLLAPSE_KEY` shows their deliveries. With --json the bodies are printed.")]
pub struct Options {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show one event with its body, as a receiver gets it.
    #[command(after_help = "\
Example:
  settle event show EVENT_ID
Next: `settle explain event EVENT_ID` shows which destinations received it, which did not, and why.")]
    Show {
        /// The event's id, `event_id` in the body that a receiver got.
        id: String,
    },
    /// List events.
    #[command(after_help = "\
Example:
  settle event list --purchase COLLAPSE_KEY
  settle event list --type user.subscription.renewed --from 2026-11-01T00:00:00Z
Next: `settle explain event EVENT_ID` shows which destinations received one, which did not, and why.")]
    List {
        /// Only those of this purchase (its collapse key).
        #[arg(long, value_name = "COLLAPSE_KEY")]
        purchase: Option<String>,
        #[command(flatten)]
        which: Box<Which>,
        #[command(flatten)]
        page: Page,
    },
}

#[derive(Debug, clap::Args)]
struct Which {
    /// Only those of these types: names, and groups such as `user.*`.
    #[arg(long = "type", value_name = "TYPE,…", value_parser = types)]
    event_type: Option<String>,
    /// Only those of this app.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Only those about purchases of this platform.
    #[arg(long, value_name = "ID")]
    platform: Option<String>,
    /// Only those of this user, by the id of settle.
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Only those recorded in this environment.
    #[arg(long, value_parser = ["production", "sandbox"])]
    environment: Option<String>,
    /// Only those recorded at this time or later.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only those recorded before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
}

/// Checks a list of types and groups.
fn types(text: &str) -> Result<String, String> {
    chosen(text).map(|_| text.to_owned()).map_err(|expected| format!("expected {expected}"))
}

/// Runs one subcommand.
pub async fn event(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let (purchase, which, page) = match &options.verb {
        Verb::Show { id } => {
            let event = client.get(&format!("/v1/events/{}", segment(id)), &[]).await?;
            return Ok(table::answer(&client, &event));
        }
        Verb::List { purchase, which, page } => (purchase, which, page),
    };
    let Which { event_type, app, platform, user, environment, from, until } = &**which;
    let filter = [
        ("collapse_key", purchase),
        ("type", event_type),
        ("app_id", app),
        ("platform_id", platform),
        ("user_id", user),
        ("environment", environment),
        ("from", from),
        ("until", until),
    ];
    let answer = client.get("/v1/events", &page.query_with(&filter)).await?;
    let nothing = match purchase {
        Some(_) => "No event of this purchase: `settle explain purchase RECEIPT` shows why.",
        None if filter.iter().any(|(_, value)| value.is_some()) => "No event matches.",
        None => "No events yet: try `settle sample`.",
    };
    Ok(table::answer_list(&client, &answer, COLUMNS, nothing))
}
