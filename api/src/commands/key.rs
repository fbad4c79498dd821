//! `settle key`: the keys of the API.

use super::client::{Client, Page, segment};
use super::confirm::Confirm;
use super::table::{self, Column};
use crate::{clock, times};
use clap::Subcommand;
use serde_json::json;
use std::process::ExitCode;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("name", "name"),
    ("role", "role"),
    ("app", "app_id"),
    ("expires", "expires_at"),
    ("revoked", "revoked_at"),
    ("last used", "last_used_at"),
];

/// Keys of the API: who may do what, in all apps or in one.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle key create --name \"help desk\" --role support
Next: give the key to one person or program, as SETTLE_ADMIN_TOKEN or as the bearer token of a request;
`settle audit-log` shows what was changed with it.")]
pub enum Verb {
    /// Make a key, and print it once.
    #[command(after_help = "\
Each role may do what those before it may: metrics (reads /metrics), read (everything but secrets), support (customers,
single purchases, sending again), operator (platforms, destinations, catalogue, prices), admin (apps, erasure, keys).

Examples:
  settle key create --name prometheus --role metrics
  settle key create --name \"reader team\" --role operator --app APP_ID --expires 90d
Next: it is printed only here. `settle key list` shows when it was used last, `settle key revoke ID` ends it.")]
    Create {
        /// A name for people, which the audit log shows.
        #[arg(long)]
        name: String,
        /// What it may do.
        #[arg(long, value_parser = ["metrics", "read", "support", "operator", "admin"])]
        role: String,
        /// The only app that it reaches [default: all].
        #[arg(long, value_name = "ID")]
        app: Option<String>,
        /// When it ends by itself: a time, or how long from now, such as `90d` [default: never].
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// List the keys, the oldest first, including revoked ones.
    #[command(after_help = "\
Example:
  settle key list
Next: a key that nobody has used for long is better revoked: `settle key revoke ID`.")]
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Revoke a key: from now on it opens nothing.
    #[command(after_help = "\
Example:
  settle key revoke ID
Next: `settle key list` shows it as revoked, `settle audit-log --key ID` what was changed with it.")]
    Revoke {
        /// The key's id.
        id: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Runs one subcommand.
pub async fn key(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Create { name, role, app, expires } => {
            let expires = expires.map(|text| times::instant(&text, clock::now())).transpose();
            let expires = expires.map_err(|why| anyhow::anyhow!("--expires: {why}"))?;
            let body = json!({ "name": name, "role": role, "app_id": app, "expires_at": expires });
            Ok(table::answer(client, &client.post("/v1/keys", &body).await?))
        }
        Verb::List { page } => {
            let answer = client.get("/v1/keys", &page.query()).await?;
            Ok(table::answer_list(client, &answer, COLUMNS, "No key yet, beside the admin token: `settle key create`."))
        }
        Verb::Revoke { id, confirm } => {
            confirm.prompt("Whoever uses this key is refused from now on.")?;
            let answer = client.delete(&format!("/v1/keys/{}", segment(&id))).await?;
            Ok(table::answer_line(client, &answer, "Revoked."))
        }
    }
}
