//! `settle open` and `settle sign-in`: ways into the page.

use super::client::{Client, Page, Remote, segment};
use super::confirm::Confirm;
use super::table::{self, Column};
use crate::config;
use crate::times;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{ExitCode, Stdio};

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

/// Open the page in the browser, signed in.
///
/// Prints the link where no browser can be opened. The link works once, within ten minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle open
  settle open --print     on a machine without a browser: the link alone
Next: the first screen says how it stands. `settle sign-in link` makes a link for a colleague.")]
pub struct OpenOptions {
    /// Only print the link.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Sign-ins of people at the page.
#[derive(Debug, Subcommand)]
#[command(after_help = "\
Example:
  settle sign-in list
Next: `settle sign-in end ID` signs a person out; `settle key revoke ID` ends all sign-ins of a key.")]
pub enum Verb {
    /// Make a link that signs a colleague in to the page, once and within ten minutes.
    #[command(after_help = "\
Needs a key with the role admin. The audit log shows the name; the sign-in may do no more than the role.

Examples:
  settle sign-in link --name Anna --role support
  settle sign-in link --name Ben --role read --app APP_ID --for 8h
Next: send the link to that person alone. `settle sign-in list` shows who signed in, `settle sign-in end ID` ends it.")]
    Link {
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
        #[arg(long = "for", value_name = "DURATION")]
        lifetime: Option<String>,
    },
    /// List who is or was signed in, the oldest first.
    #[command(after_help = "\
Example:
  settle sign-in list --limit 20
Next: `settle sign-in end ID` signs one out.")]
    List {
        #[command(flatten)]
        page: Page,
    },
    /// Sign a person out.
    #[command(after_help = "\
Example:
  settle sign-in end ID
Next: `settle sign-in list` shows when; the key that they signed in with still holds.")]
    End {
        /// The sign-in's id.
        id: String,
        #[command(flatten)]
        confirm: Confirm,
    },
}

/// Finds what an id names.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Any id: of a purchase, an event, a delivery (`webhook-id`), a destination, a platform, an app or a user; a receipt, a
message of a store, or a customer by the store's or your own id.

Example:
  settle search RECEIPT
Next: `settle explain purchase COLLAPSE_KEY` explains what was found.")]
pub struct SearchOptions {
    /// The id.
    id: String,
    /// Only in this app.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Opens the page.
pub async fn open(options: OpenOptions) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let own = client.get("/v1/caller", &[]).await?;
    if own["role"] != "admin" {
        table::line(&format!("Sign in with your key at {}", client.address("/ui/sign-in")));
        return Ok(ExitCode::SUCCESS);
    }
    let body = json!({ "name": own["name"], "role": "admin", "app_id": own["app_id"] });
    let link = client.address(&path(&client.post("/v1/sign-in-links", &body).await?));
    let is_open = !options.print && browse(&link, &options.remote.data()?);
    let text = if is_open {
        "The page opens in your browser.".to_owned()
    } else {
        format!("Open this link; it works once, within ten minutes:\n  {link}")
    };
    text.lines().for_each(table::plain);
    Ok(ExitCode::SUCCESS)
}

/// Runs one verb of `settle sign-in`.
pub async fn sign_in(verb: Verb, client: &Client) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Link { name, role, app, lifetime } => {
            let lifetime = lifetime.as_deref().map(times::duration).transpose();
            let lifetime = lifetime.map_err(|why| anyhow::anyhow!("--for: {why}"))?;
            let lifetime = lifetime.map(|lifetime| lifetime.as_secs());
            let body = json!({ "name": name, "role": role, "app_id": app, "lifetime_seconds": lifetime });
            let answer = client.post("/v1/sign-in-links", &body).await?;
            let link = client.address(&path(&answer));
            let shown = json!({ "link": link, "expires_at": answer["expires_at"] });
            let code = table::answer_line(client, &shown, &format!("For {name}, once and within ten minutes:"));
            if !client.json {
                table::plain(&format!("  {link}"));
            }
            Ok(code)
        }
        Verb::List { page } => {
            let answer = client.get("/v1/sign-ins", &page.query()).await?;
            Ok(table::answer_list(client, &answer, COLUMNS, "Nobody signed in yet: `settle open`."))
        }
        Verb::End { id, confirm } => {
            confirm.prompt("Whoever uses this sign-in is signed out.")?;
            let answer = client.delete(&format!("/v1/sign-ins/{}", segment(&id))).await?;
            Ok(table::answer_line(client, &answer, "Signed out."))
        }
    }
}

const FOUND: &[Column] =
    &[("what", "kind"), ("id", "id"), ("purchase", "collapse_key"), ("state or type", "label"), ("at", "at")];

/// Searches.
pub async fn search(options: SearchOptions) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let answer = client.post("/v1/search", &json!({ "q": options.id, "app_id": options.app })).await?;
    Ok(table::answer_list(&client, &answer, FOUND, "Nothing is known by this id."))
}

fn path(answer: &Value) -> String {
    answer["path"].as_str().unwrap_or_default().to_owned()
}

/// The file that leads to a link, in the data directory.
const FILE: &str = "sign-in.html";

/// Opens a link in the browser of the desktop. Returns whether there is one, and a data directory.
///
/// The browser is given a file that only its owner reads: everybody on this machine sees the arguments of programs, and
/// could be faster.
fn browse(link: &str, data: &Path) -> bool {
    let variables = config::environment();
    let has_desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| variables.contains_key(*name));
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    if !cfg!(target_os = "macos") && !has_desktop {
        return false;
    }
    let file = match data.canonicalize() {
        Ok(data) => data.join(FILE),
        Err(_) => return false,
    };
    if super::data::write(&file, page_to(link).as_bytes()).is_err() {
        return false;
    }
    let mut command = crate::tools::command(program);
    command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A page that leads to a link at once.
fn page_to(link: &str) -> String {
    let link = link.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;");
    format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0; url={link}\"><title>settle</title><a href=\"{link}\">Sign in</a>\n"
    )
}
