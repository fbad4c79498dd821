//! What `settle run` prints once everything runs: where everything is, and the next command to try.

use super::data;
use crate::commands::client::program;
use crate::commands::sockets::Addresses;
use crate::times;
use activities::engine::{DevServer, Engine};
use secrecy::{ExposeSecret, SecretString};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The namespace that Temporal's command-line tool takes by itself.
const DEFAULT_NAMESPACE: &str = "default";

/// Where everything is, except Temporal.
pub struct Welcome {
    /// Where HTTP is served.
    pub addresses: Addresses,
    /// The data directory.
    pub data: PathBuf,
    /// The admin token of this process.
    pub admin_token: Option<SecretString>,
    /// The window of the demo, if there is one.
    pub window: Option<Duration>,
    /// The dev server, if this process started one.
    pub dev_server: Option<DevServer>,
}

impl Welcome {
    /// The text, once the engine is connected.
    pub fn text(&self, engine: &Engine) -> String {
        let (Addresses { public, api }, namespace) = (self.addresses, engine.namespace());
        let mut place = format!("--address {}", engine.address());
        if namespace != DEFAULT_NAMESPACE {
            place.push_str(&format!(" --namespace {namespace}"));
        }
        let ui = self.dev_server.as_ref().and_then(DevServer::addresses).map_or_else(
            || "that of this server".to_owned(),
            |addresses| format!("http://{}/namespaces/{namespace}/workflows", addresses.ui),
        );
        let demo = self.window.map_or_else(String::new, |window| {
            format!(
                "\n  Demo app     window {}; its store is simulated, its events are printed here\n\n\
                 Next, in another terminal:\n\n  {}",
                times::compact(window),
                self.next_command()
            )
        });
        format!(
            "\n  settle runs.\n\n  \
             API          http://{api}\n  \
             Stores       http://{public}  (also devices)\n  \
             Temporal     {temporal}  (`temporal {place} workflow list`)\n  \
             Temporal UI  {ui}\n  \
             Data         {data}\n  \
             Admin token  {token}{demo}\n",
            temporal = engine.address(),
            data = self.data.display(),
            token = self.token_place()
        )
    }

    fn token_place(&self) -> String {
        let file = data::token_file(&self.data);
        let used = self.admin_token.as_ref().map(ExposeSecret::expose_secret);
        match std::fs::read_to_string(&file) {
            Ok(token) if Some(token.trim()) == used => file.display().to_string(),
            _ => "the one in the settings (SETTLE_ADMIN_TOKEN)".to_owned(),
        }
    }

    /// The `settle sample` command, with the flags that are needed to reach this process.
    fn next_command(&self) -> String {
        let mut command = format!("{} sample", program());
        if self.addresses.api != SocketAddr::from(([127, 0, 0, 1], 8081)) {
            command.push_str(&format!(" --service http://{}", self.addresses.api));
        }
        if Path::new(data::DEFAULT).canonicalize().ok().as_ref() != Some(&self.data) {
            command.push_str(&format!(" --data {}", self.data.display()));
        }
        command
    }
}
