//! The text that `settle run` prints once everything is running: the addresses, and the next command to try.

use super::data;
use crate::client::program;
use crate::sockets::Addresses;
use activities::engine::{DevServer, Engine};
use api::edge::Shared;
use api::resources::sign_ins;
use api::shell::quoted;
use api::stores;
use api::times;
use secrecy::{ExposeSecret, SecretString};
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use storage::{Actor, NewLink, Person, Role, chain};

/// The default namespace of Temporal's command-line tool.
const DEFAULT_NAMESPACE: &str = "default";
/// The variables that allow destinations on this machine.
const LOCAL_RECEIVERS: &str =
    "SETTLE_DESTINATIONS_ALLOWED_NETWORKS=127.0.0.0/8 SETTLE_DESTINATIONS_ALLOW_HTTP=true";
/// The user name for the session that the printed link opens.
const CONSOLE: &str = "console";

/// Addresses of everything except Temporal.
pub struct Welcome {
    /// Addresses that serve HTTP.
    pub addresses: Addresses,
    /// The data directory.
    pub data: PathBuf,
    /// The admin token of this process.
    pub admin_token: Option<SecretString>,
    /// The window of the demo, if there is one.
    pub window: Option<Duration>,
    /// The dev server, if this process started one.
    pub dev_server: Option<DevServer>,
    /// Whether the dev server serves its UI.
    pub has_ui: bool,
    /// Whether the settings allow any destination that is not public.
    pub allows_local: bool,
    /// Link that signs in to the dashboard.
    pub page: Option<Shared>,
}

/// Returns the names of the demo's stores, as `settle sample --store` accepts them.
fn demo_stores() -> String {
    let names: Vec<&str> = stores::demos().map(|(store, _)| store.name).collect();
    names.join(", ")
}

impl Welcome {
    /// Sets the page to which the text links.
    pub fn with_link_of(self, page: Shared) -> Self {
        Self {
            page: Some(page),
            ..self
        }
    }

    /// Returns the dashboard's address; on a terminal, a link that signs in once. Other output, such as a log, may be
    /// read by others while the link is valid.
    pub async fn link(&self) -> String {
        let base = format!("http://{}", self.addresses.api);
        let page = self
            .page
            .as_ref()
            .filter(|_| std::io::stdout().is_terminal());
        let Some(edge) = page else {
            return format!("{base}/ui/");
        };
        let code = sign_ins::code(edge);
        let person = Person {
            name: CONSOLE.to_owned(),
            role: Role::Admin,
            app_id: None,
            key_id: None,
            token_hash: Some(edge.admin_token_hash()),
        };
        let lifetime = edge.pages.sign_in_lifetime;
        let new = NewLink {
            person,
            code: code.clone(),
            valid: sign_ins::LINK_VALID,
            lifetime,
        };
        match edge
            .store
            .by(Actor::named(CONSOLE))
            .new_sign_in_link(new)
            .await
        {
            Ok(_) => format!("{base}{}", sign_ins::path(&code)),
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "no link to the dashboard could be created"
                );
                format!("{base}/ui/")
            }
        }
    }

    /// Returns the text to print once the engine is connected.
    pub fn text(&self, engine: &Engine, link: &str) -> String {
        let (Addresses { public, api }, namespace) = (self.addresses, engine.namespace());
        let mut place = format!("--address {}", engine.address());
        if namespace != DEFAULT_NAMESPACE {
            place.push_str(&format!(" --namespace {namespace}"));
        }
        let ui = match self.dev_server.as_ref().and_then(DevServer::addresses) {
            None => "see this server".to_owned(),
            Some(_) if !self.has_ui => {
                "off, because any web page could use it (`--temporal-ui` starts it)".to_owned()
            }
            Some(addresses) => format!("http://{}/namespaces/{namespace}/workflows", addresses.ui),
        };
        let local = if self.allows_local {
            String::new()
        } else {
            format!(
                "\n  Webhooks     to this machine are refused unless settle starts with\n               {LOCAL_RECEIVERS}"
            )
        };
        let demo = self.window.map_or_else(String::new, |window| {
            format!(
                "\n  Demo app     window {}; simulated stores {}; events are printed here\n\n\
                 Next, in another terminal:\n\n  {}",
                times::compact(window),
                demo_stores(),
                self.next_command()
            )
        });
        let hint = if link.ends_with("/ui/") {
            "signs in"
        } else {
            "creates another link; this one works once, within ten minutes"
        };
        format!(
            "\n  settle is running.\n\n  \
             Dashboard    {link}  (`{open}` {hint})\n  \
             API          http://{api}  (http://{api}/openapi.json describes it)\n  \
             Stores       http://{public}  (also devices)\n  \
             Temporal     {temporal}  (`temporal {place} workflow list`)\n  \
             Temporal UI  {ui}\n  \
             Data         {data}\n  \
             Admin token  {token}{local}{demo}\n",
            temporal = engine.address(),
            data = self.data.display(),
            open = self.command("open"),
            token = self.token_place()
        )
    }

    fn token_place(&self) -> String {
        let file = data::token_file(&self.data);
        let used = self.admin_token.as_ref().map(ExposeSecret::expose_secret);
        match std::fs::read_to_string(&file) {
            Ok(token) if Some(token.trim()) == used => file.display().to_string(),
            _ => "see the settings (SETTLE_ADMIN_TOKEN)".to_owned(),
        }
    }

    /// Returns the `settle sample` command with the flags needed to reach this process.
    fn next_command(&self) -> String {
        self.command("sample")
    }

    /// Returns a command with the flags needed to reach this process.
    fn command(&self, name: &str) -> String {
        let mut command = format!("{} {name}", program());
        if self.addresses.api != SocketAddr::from(([127, 0, 0, 1], 8081)) {
            command.push_str(&format!(" --service http://{}", self.addresses.api));
        }
        if !self.addresses.api.ip().is_loopback() {
            command.push_str(" --insecure");
        }
        if Path::new(data::DEFAULT).canonicalize().ok().as_ref() != Some(&self.data) {
            command.push_str(&format!(
                " --data {}",
                quoted(&self.data.display().to_string())
            ));
        }
        command
    }
}
