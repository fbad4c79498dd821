//! `settle sign-in`: the sign-ins of people at the page.

use super::client::{Client, present_fields};
use super::drawn::{Resource, Shows, Verb, Verbs};
use super::table::{self, Column};
use super::{names, open};
use crate::times;
use clap::FromArgMatches;
use serde_json::json;
use std::process::ExitCode;
use std::time::Duration;

const COLUMNS: &[Column] = &[
    ("id", "id"),
    ("name", "name"),
    ("role", "role"),
    ("app", "app_id"),
    ("since", "created_at"),
    ("last used", "used_at"),
    ("ends", "expires_at"),
    ("signed out", "finished_at"),
];

const LINK: Verb = Verb::own::<Link>(
    "link",
    "Make a link that signs a colleague in to the page, once and within ten minutes",
    "\
Needs a key with the role admin. The audit log shows the name; the sign-in may do no more than the role.

Examples:
  settle sign-in link --name Anna --role support
  settle sign-in link --name Ben --role read --app APP_ID --for 8h
Next: send the link to that person alone. `settle sign-in list` shows who signed in, `settle sign-in end ID` ends it.",
    |matches, client| Box::pin(async { link(client, Link::from_arg_matches(matches)?).await }),
);

const LIST: Verb = Verb::get(
    "list",
    "/v1/sign-ins",
    "List who is or was signed in, the oldest first",
    "\
Example:
  settle sign-in list --limit 20
Next: `settle sign-in end ID` signs one out.",
)
.list(COLUMNS, "Nobody signed in yet: `settle open`.", "No sign-in matches.");

const END: Verb = Verb::delete(
    "end",
    "/v1/sign-ins/{sign_in_id}",
    "Sign a person out",
    "\
Example:
  settle sign-in end ID
Next: `settle sign-in list` shows when; the key that they signed in with still holds.",
)
.confirm("Whoever uses this sign-in is signed out.")
.shows(Shows::Sentence(|_| "Signed out.".to_owned()));

pub const RESOURCE: Resource = Resource {
    name: "sign-in",
    about: "Sign-ins of people at the page",
    help: "\
Example:
  settle sign-in list
Next: `settle sign-in end ID` signs a person out; `settle key revoke ID` ends all sign-ins of a key.",
    verbs: Verbs::Named(&[LINK, LIST, END]),
};

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
