//! `settle open`: opens the dashboard, signed in.

use super::client::{Remote, read_as};
use super::table;
use api::config;
use api::resources::keys::CallerView;
use api::resources::sign_ins::SignInLink;
use serde_json::json;
use std::path::Path;
use std::process::{ExitCode, Stdio};
use storage::Role;

/// Open the dashboard in the browser, signed in.
///
/// Prints the link if it cannot open a browser. The link works once, within ten minutes.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle open
  settle open --print     print the link, on a machine without a browser
Next: the first screen shows settle's health. `settle sign-in link` creates a link for a colleague.")]
pub struct Options {
    /// Only print the link.
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Opens the dashboard.
pub async fn open(options: Options) -> anyhow::Result<ExitCode> {
    let client = options.remote.client()?;
    let own: Option<CallerView> = read_as(&client.get("/v1/caller", &[]).await?).ok();
    // A role that this version does not know signs in with its key, too.
    let Some(own) = own.filter(|own| own.role == Role::Admin) else {
        let page = client.address("/ui/sign-in");
        let shown = json!({ "link": page, "opened": false });
        return Ok(table::answer_line(
            &client,
            &shown,
            &format!("Sign in with your key at {page}"),
        ));
    };
    let body = json!({ "name": own.name, "role": own.role, "app_id": own.app_id });
    let link: SignInLink = read_as(&client.post("/v1/sign-in-links", &body).await?)?;
    let link = client.address(&link.path);
    let is_open = !options.print && browse(&link, &options.remote.data()?);
    let text = if is_open {
        "The dashboard opens in your browser.".to_owned()
    } else {
        format!("Open this link; it works once, within ten minutes:\n  {link}")
    };
    Ok(table::answer_line(
        &client,
        &json!({ "link": link, "opened": is_open }),
        &text,
    ))
}

/// The file in the data directory that redirects to the link.
const FILE: &str = "sign-in.html";

/// Opens a link in the desktop's browser. Returns whether there is a browser, and a data directory.
///
/// The browser opens a file that only its owner can read: all users of this machine can see the arguments of programs,
/// so another user could use the link first.
fn browse(link: &str, data: &Path) -> bool {
    let variables = config::environment();
    let has_desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| variables.contains_key(*name));
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
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
    let mut command = api::tools::command(program);
    command
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Returns a page that redirects to a link immediately.
fn page_to(link: &str) -> String {
    let link = link
        .replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;");
    format!(
        "<!doctype html><meta charset=\"utf-8\"><meta name=\"referrer\" content=\"no-referrer\">\
         <meta http-equiv=\"refresh\" content=\"0; url={link}\"><title>settle</title><a href=\"{link}\">Sign in</a>\n"
    )
}
