//! The configuration, read once at the start: flags over environment over one TOML file over defaults.
//!
//! The connection to Temporal has its own standard `TEMPORAL_*` variables and profile file, which are not read here.
//! Nothing is opened here.

mod keys;
mod mail;
mod raw;
mod read;
mod shown;
#[cfg(test)]
mod tests;
mod ui;

pub use crate::setting::Invalid;
pub use raw::{Flags, Variables, environment};
pub use read::load;
pub use shown::Setting;

use crate::stores::config::StoreConfig;
use crate::stores::samples::SampleKey;
use ipnet::IpNet;
use protocols::destinations::Exception;
use protocols::smtp;
use secrecy::SecretString;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

#[derive(Debug, Clone)]
pub struct Config {
    /// `data`, `SETTLE_DATA`, `--data`: the folder for the files of `run`; default `settle-data`.
    pub data: PathBuf,
    pub database: Database,
    /// `key`, `SETTLE_KEY`: 32 bytes in base64 or hex that encrypt secrets at rest, or several such keys (by comma):
    /// the first one encrypts, the others only decrypt. `run` creates one in its data folder, all other commands need
    /// it.
    pub key: Option<Keys>,
    /// The settings of the HTTP server.
    pub http: Http,
    /// Settings of each store.
    pub stores: Vec<Arc<dyn StoreConfig>>,
    pub devices: Devices,
    pub destinations: Destinations,
    /// `allowed_urls` in the table of a kind of destination (by comma in its variable), by the kind's name: origins that
    /// may be used instead of its vendor's, such as a proxy's; any address, also with plain `http`; none by default.
    pub origins: BTreeMap<&'static str, Vec<Url>>,
    /// `mail.url`, `SETTLE_MAIL_URL`: the SMTP server of destinations of mails, `smtps://USER:PASSWORD@HOST` or
    /// `smtp://USER:PASSWORD@HOST`, never shown; and `mail.from`, `SETTLE_MAIL_FROM`, their sender. Both or none; none by
    /// default. `mail.allowed_domains`, `SETTLE_MAIL_ALLOWED_DOMAINS` (by comma): the domains of recipients; all by default.
    pub mail: Option<smtp::Server>,
    /// `window`, `SETTLE_WINDOW`, `--window`: the window of a platform that names none, `5s`, `2m` or
    /// `1h`, from 1 s to 1 h; default 2 minutes.
    pub window: Duration,
    /// `retention`, `SETTLE_RETENTION`: how long bodies are stored, in days, such as `30d`, at least 8 days; `off`
    /// stores them forever. Default 90 days. The ledger's rows are never removed.
    pub retention: Option<Duration>,
    pub ui: Ui,
    /// `temporal_cli`, `SETTLE_TEMPORAL_CLI`, `--temporal-cli`: the program that `run` starts as Temporal's dev server, in the
    /// version that it would download otherwise.
    pub temporal_cli: Option<PathBuf>,
    /// Additions of `run` for its demo; no setting.
    pub demo: Option<Demo>,
}

impl Config {
    /// Returns the public address of the page, without a slash at the end.
    pub fn dashboard(&self) -> Option<String> {
        self.ui
            .url
            .as_ref()
            .map(|url| url.as_str().trim_end_matches('/').to_owned())
    }
}

#[derive(Debug, Clone)]
pub struct Ui {
    /// `ui.sign_in_idle`, `SETTLE_UI_SIGN_IN_IDLE`: how long a sign-in may be unused, from 1 minute to 24 hours;
    /// default 1 hour.
    pub sign_in_idle: Duration,
    /// `ui.sign_in_lifetime`, `SETTLE_UI_SIGN_IN_LIFETIME`: how long a sign-in may last, from 1 minute to 7 days;
    /// default 12 hours.
    pub sign_in_lifetime: Duration,
    /// `ui.hosts`, `SETTLE_UI_HOSTS` (by comma): host names, besides that of `public_url`, at which the page and the
    /// API are reached; none by default. Addresses and names without a dot need not be named.
    pub hosts: Vec<String>,
    /// `ui.temporal_url`, `SETTLE_UI_TEMPORAL_URL`: the address of Temporal's own UI, to which the page links; none by
    /// default. `run` knows that of the dev server that it starts.
    pub temporal_url: Option<Url>,
    /// `ui.url`, `SETTLE_UI_URL`: where people reach the page, for links in alarms and sign-in links; none by default.
    pub url: Option<Url>,
}

/// Additions of `run` for its demo.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Key that signs samples.
    pub samples: SampleKey,
    pub receiver: Exception,
}

impl Demo {
    /// The name of the demo's app.
    pub const APP: &str = "demo";
    /// The package name of the demo's app.
    pub const PACKAGE_NAME: &str = "com.example.demo";
}

#[derive(Clone)]
pub enum Database {
    /// `database = "PATH"` or `"sqlite:PATH"`, `SETTLE_DATABASE`, `--database`; default `settle.sqlite` in the data
    /// folder.
    Sqlite(PathBuf),
    /// `database = "postgres://…"`; the URL can hold a password and is never shown.
    Postgres(SecretString),
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres([REDACTED])"),
        }
    }
}

/// A key that encrypts, and those before it, which only decrypt.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub newest: [u8; 32],
    /// The others, in the order of the setting.
    pub older: Vec<[u8; 32]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys([REDACTED])")
    }
}

/// The settings of the HTTP server.
#[derive(Debug, Clone)]
pub struct Http {
    /// `listen`, `SETTLE_LISTEN`, `--listen`: address and port for stores and devices; default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `admin_listen`, `SETTLE_ADMIN_LISTEN`, `--admin-listen`: address and port for the whole API, with the admin part,
    /// metrics and health; default `127.0.0.1` and the port after that of `listen`. `None` with `admin_on_listen`,
    /// `SETTLE_ADMIN_ON_LISTEN`: then `listen` serves all of it; default false.
    pub admin_listen: Option<SocketAddr>,
    /// Whether a setting names where the whole API is served: `admin_listen` or `admin_on_listen`.
    pub is_admin_listen_set: bool,
    /// `connections`, `SETTLE_CONNECTIONS`: maximum number of connections to `listen`, from 16 to 8192; default 2048. A
    /// low limit of descriptors reduces it.
    pub connections: usize,
    /// `connections_per_address`, `SETTLE_CONNECTIONS_PER_ADDRESS`: maximum number of those from one address, except from
    /// `devices.trusted_proxies`; from 1 to 8192; default 256.
    pub connections_per_address: usize,
    /// `public_url`, `SETTLE_PUBLIC_URL`: the base of `notification_url`; default `http://{listen}`.
    pub public_url: Url,
    /// `admin_token`, `SETTLE_ADMIN_TOKEN`: the bearer token of the admin part, at least 16 characters; `run`
    /// creates one in its data folder, `serve` needs it.
    pub admin_token: Option<SecretString>,
}

impl Http {
    /// Returns the address of the whole API.
    pub fn api(&self) -> SocketAddr {
        self.admin_listen.unwrap_or(self.listen)
    }

    /// Sets the ports of its listeners: the system chooses one for a port 0, which the default of `public_url` has too.
    pub fn set_ports(&mut self, public: u16, api: u16) {
        self.listen.set_port(public);
        if let Some(address) = &mut self.admin_listen {
            address.set_port(api);
        }
        if self.public_url.port() == Some(0) {
            // Fails without a host, and an HTTP URL has one.
            self.public_url.set_port(Some(public)).unwrap_or_default();
        }
    }
}

/// Requests or bytes per second, and at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// A second in the long run.
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

/// How much of the disk devices leave free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// The larger of 2 GiB and a twentieth of the disk.
    Automatic,
    /// This number of bytes; nothing with 0.
    Bytes(u64),
}

/// Devices. Each process counts their requests by itself.
#[derive(Debug, Clone)]
pub struct Devices {
    /// `devices.requests_per_second`, `SETTLE_DEVICES_REQUESTS_PER_SECOND`: requests of a device a second, from 1 to
    /// 1000; default 2. Ten times as many are taken at once.
    pub per_device: Rate,
    /// `devices.requests_per_second_and_address`, `SETTLE_DEVICES_REQUESTS_PER_SECOND_AND_ADDRESS`: requests of all
    /// devices at one address a second, from 1 to 100000; default 100. Ten times as many are taken at once.
    pub per_address: Rate,
    /// `devices.trusted_proxies`, `SETTLE_DEVICES_TRUSTED_PROXIES` (by comma): networks of proxies whose
    /// `X-Forwarded-For` names the address of a device; none by default.
    pub trusted_proxies: Vec<IpNet>,
    /// `devices.bytes_per_second_and_address`, `SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS`: bytes of requests of all devices
    /// at one address a second, from `32KiB` to `100MiB`; default `256KiB`. 32 times as many are taken at once.
    pub bytes_per_address: Rate,
    /// `devices.disk_reserve`, `SETTLE_DEVICES_DISK_RESERVE`: how much of the disk with an SQLite database devices leave
    /// free, such as `500MiB` or `20GiB`; `off` for nothing. Default the larger of 2 GiB and a twentieth of the disk.
    pub disk_reserve: Reserve,
}

#[derive(Debug, Clone, Default)]
pub struct Destinations {
    /// `destinations.allowed_networks`, `SETTLE_DESTINATIONS_ALLOWED_NETWORKS` (by comma): networks that may be
    /// delivered to although they are not public, such as `127.0.0.0/8`; none by default.
    pub allowed_networks: Vec<IpNet>,
    /// `destinations.denied_networks`, `SETTLE_DESTINATIONS_DENIED_NETWORKS` (by comma): networks that are never
    /// delivered to, although they are public or allowed; none by default.
    pub denied_networks: Vec<IpNet>,
    /// `destinations.allow_http`, `SETTLE_DESTINATIONS_ALLOW_HTTP`: whether `http://` URLs may be used, with port 80
    /// of public servers; default false.
    pub allow_http: bool,
}
