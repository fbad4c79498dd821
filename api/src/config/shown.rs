//! Settings for display, each with its name, variable and value, but without secrets.

use super::Reserve;
use super::raw::variables;
use super::{Config, Database};
use crate::setting::{list, none};
use crate::sizes;
use crate::times::compact;
use schemars::JsonSchema;
use serde::Serialize;

/// A configuration setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Setting {
    /// Name in the configuration file.
    pub name: &'static str,
    /// Name of the environment variable.
    pub variable: &'static str,
    /// Value of the setting; for a secret, only whether it is set.
    pub value: String,
}

impl Config {
    /// Returns all settings that have an environment variable.
    pub fn shown(&self) -> Vec<Setting> {
        variables()
            .map(|variable| Setting {
                name: variable.field,
                variable: variable.name,
                value: self.value(variable.field),
            })
            .collect()
    }

    fn value(&self, name: &str) -> String {
        let Self {
            http,
            devices,
            destinations,
            ui,
            ..
        } = self;
        match name {
            "data" => self.data.display().to_string(),
            "database" => match &self.database {
                Database::Sqlite(path) => format!("SQLite: {}", path.display()),
                Database::Postgres(_) => "PostgreSQL".to_owned(),
            },
            "key" => set(self.key.is_some()),
            "listen" => http.listen.to_string(),
            "admin_listen" => http
                .admin_listen
                .map_or_else(none, |address| address.to_string()),
            "admin_on_listen" => http.admin_listen.is_none().to_string(),
            "connections" => http.connections.to_string(),
            "connections_per_address" => http.connections_per_address.to_string(),
            "public_url" => http.public_url.to_string(),
            "admin_token" => set(http.admin_token.is_some()),
            "window" => compact(self.window),
            "retention" => self.retention.map_or_else(|| "off".to_owned(), compact),
            "temporal_cli" => self
                .temporal_cli
                .as_ref()
                .map_or_else(none, |path| path.display().to_string()),
            "devices.requests_per_second" => devices.per_device.per_second.to_string(),
            "devices.requests_per_second_and_address" => devices.per_address.per_second.to_string(),
            "devices.bytes_per_second_and_address" => {
                sizes::text(devices.bytes_per_address.per_second.get().into())
            }
            "devices.disk_reserve" => reserve(devices.disk_reserve),
            "devices.trusted_proxies" => list(&devices.trusted_proxies),
            "destinations.allowed_networks" => list(&destinations.allowed_networks),
            "destinations.denied_networks" => list(&destinations.denied_networks),
            "destinations.allow_http" => destinations.allow_http.to_string(),
            "mail.url" => set(self.mail.is_some()),
            "mail.from" => self
                .mail
                .as_ref()
                .map_or_else(none, |mail| mail.from.to_string()),
            "mail.allowed_domains" => self
                .mail
                .as_ref()
                .map_or_else(none, |mail| list(&mail.allowed_domains)),
            "ui.sign_in_idle" => compact(ui.sign_in_idle),
            "ui.sign_in_lifetime" => compact(ui.sign_in_lifetime),
            "ui.hosts" => list(&ui.hosts),
            "ui.url" => ui.url.as_ref().map_or_else(none, ToString::to_string),
            "ui.temporal_url" => ui
                .temporal_url
                .as_ref()
                .map_or_else(none, ToString::to_string),
            other => {
                let mut of_stores = self.stores.iter().filter_map(|store| store.shown(other));
                let of_kind = other
                    .strip_suffix(".allowed_urls")
                    .and_then(|kind| self.origins.get(kind));
                of_stores
                    .next()
                    .or_else(|| Some(list(of_kind?)))
                    .unwrap_or_else(|| format!("`{other}` is not shown"))
            }
        }
    }
}

fn reserve(reserve: Reserve) -> String {
    match reserve {
        Reserve::Automatic => "the larger of 2GiB and 5 %".to_owned(),
        Reserve::Bytes(0) => "off".to_owned(),
        Reserve::Bytes(bytes) => sizes::text(bytes),
    }
}

fn set(is_set: bool) -> String {
    if is_set { "set (a secret)" } else { "not set" }.to_owned()
}
