//! `settle sign-in`: what the table of its verbs cannot state.

use super::client::{Client, present_fields};
use super::drawn::Hook;
use super::{names, open, table};
use crate::times;
use clap::{Args, FromArgMatches};
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

pub const HOOKS: &[(&str, Hook)] = &[(
    "link",
    Hook::Own(Link::augment_args, |matches, client| {
        Box::pin(async { link(client, Link::from_arg_matches(matches)?).await })
    }),
)];

#[derive(Debug, clap::Args)]
struct Link {
    /// The name of the person, which the audit log shows.
    #[arg(long)]
    name: String,
    /// What the person may do.
    #[arg(long, value_parser = ["read", "support", "operator", "admin"])]
    role: String,
    /// The only app that the person reaches [default: all].
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// How long the sign-in may last [default: `ui.sign_in_lifetime`].
    #[arg(long = "for", value_name = "DURATION", value_parser = times::duration)]
    lifetime: Option<Duration>,
}

async fn link(client: &Client, Link { name, role, app, lifetime }: Link) -> anyhow::Result<ExitCode> {
    let app = match app {
        Some(app) => Some(names::app_id(client, &app).await?),
        None => None,
    };
    let lifetime = lifetime.map(|lifetime| lifetime.as_secs());
    let body = json!({ "name": name, "role": role, "app_id": app, "lifetime_seconds": lifetime });
    let answer = client.post("/v1/sign-in-links", &present_fields(body)).await?;
    let link = client.address(&open::path(&answer));
    let shown = json!({ "link": link, "expires_at": answer["expires_at"] });
    let code = table::answer_line(client, &shown, &format!("For {name}, once and within ten minutes:"));
    if !client.json {
        table::plain(&format!("  {link}"));
    }
    Ok(code)
}
