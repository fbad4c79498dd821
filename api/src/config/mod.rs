//! The configuration, read once at startup: flags override the environment, which overrides one TOML file, which
//! overrides defaults.
//!
//! The connection to Temporal has its own standard `TEMPORAL_*` variables and profile file, which are not read here. No
//! file or connection other than the configuration file is opened.

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
    /// Settings for the HTTP server.
    pub http: Http,
    /// Settings of each store, in the order of `stores::all`.
    pub stores: Vec<Arc<dyn StoreConfig>>,
    pub devices: Devices,
    pub destinations: Destinations,
    /// `allowed_urls` in the section of a kind of destination (by comma in its variable), by the kind's name: origins
    /// that may replace those of its vendor, such as a proxy's; any address, including plain `http`; none by default.
    pub origins: BTreeMap<&'static str, Vec<Url>>,
    /// `mail.url`, `SETTLE_MAIL_URL`: the SMTP server for email destinations, `smtps://USER:PASSWORD@HOST` or
    /// `smtp://USER:PASSWORD@HOST`, never shown; and `mail.from`, `SETTLE_MAIL_FROM`, the sender. Both or none; none by
    /// default. `mail.allowed_domains`, `SETTLE_MAIL_ALLOWED_DOMAINS` (by comma): allowed domains of recipients; all by
    /// default.
    pub mail: Option<smtp::Server>,
    /// `window`, `SETTLE_WINDOW`, `--window`: the quiet window of platforms without one of their own, `5s`, `2m` or
    /// `1h`, from 1 s to 1 h; default 2 minutes.
    pub window: Duration,
    /// `retention`, `SETTLE_RETENTION`: how long bodies are stored, in days, such as `30d`, at least 8 days; `off`
    /// stores them forever. Default 90 days. The ledger's rows are never removed.
    pub retention: Option<Duration>,
    pub ui: Ui,
    /// `temporal_cli`, `SETTLE_TEMPORAL_CLI`, `--temporal-cli`: the program that `run` starts as Temporal's dev server;
    /// it must have the version that would be downloaded otherwise.
    pub temporal_cli: Option<PathBuf>,
    /// Additions of `run` for its demo; not a setting.
    pub demo: Option<Demo>,
}

impl Config {
    /// Returns the dashboard's public URL, without a trailing slash.
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
    /// `ui.temporal_url`, `SETTLE_UI_TEMPORAL_URL`: the URL of Temporal's own UI, to which the dashboard links; none by
    /// default. `run` uses that of the dev server that it starts.
    pub temporal_url: Option<Url>,
    /// `ui.url`, `SETTLE_UI_URL`: the dashboard's public URL, for links in alarms and sign-in links; none by default.
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
    /// Name of the demo's app.
    pub const APP: &str = "demo";
    /// Package name of the demo's app.
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

/// The key that encrypts, and older keys, which only decrypt.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    pub newest: [u8; 32],
    /// Older keys, in the order of the setting.
    pub older: Vec<[u8; 32]>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys([REDACTED])")
    }
}

/// Settings for the HTTP server.
#[derive(Debug, Clone)]
pub struct Http {
    /// `listen`, `SETTLE_LISTEN`, `--listen`: address and port for stores and devices; default `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// `admin_listen`, `SETTLE_ADMIN_LISTEN`, `--admin-listen`: address and port of the whole API, including the admin
    /// part, metrics and health; default `127.0.0.1` and the port after that of `listen`. `None` with
    /// `admin_on_listen`, `SETTLE_ADMIN_ON_LISTEN` (default false): then `listen` serves the whole API.
    pub admin_listen: Option<SocketAddr>,
    /// Whether `admin_listen` or `admin_on_listen` is set.
    pub is_admin_listen_set: bool,
    /// `connections`, `SETTLE_CONNECTIONS`: maximum number of connections to `listen`, from 16 to 8192; default 2048.
    /// Reduced if the process may open only few file descriptors.
    pub connections: usize,
    /// `connections_per_address`, `SETTLE_CONNECTIONS_PER_ADDRESS`: maximum number of connections to `listen` from one
    /// address, except from `devices.trusted_proxies`; from 1 to 8192; default 256.
    pub connections_per_address: usize,
    /// `public_url`, `SETTLE_PUBLIC_URL`: the base of `notification_url`; default `http://{listen}`.
    pub public_url: Url,
    /// `admin_token`, `SETTLE_ADMIN_TOKEN`: the bearer token of the admin part, at least 16 characters; `run`
    /// creates one in its data folder, `serve` needs it.
    pub admin_token: Option<SecretString>,
}

impl Http {
    /// Returns the address that serves the whole API.
    pub fn api(&self) -> SocketAddr {
        self.admin_listen.unwrap_or(self.listen)
    }

    /// Sets the listeners' actual ports, because the system chooses one for port 0. The default of `public_url` has
    /// port 0 too then.
    pub fn set_ports(&mut self, public: u16, api: u16) {
        self.listen.set_port(public);
        if let Some(address) = &mut self.admin_listen {
            address.set_port(api);
        }
        if self.public_url.port() == Some(0) {
            // This fails only for a URL without a host, which an HTTP URL always has.
            self.public_url.set_port(Some(public)).unwrap_or_default();
        }
    }
}

/// A rate limit: a rate per second, and the burst that it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Sustained rate per second.
    pub per_second: NonZeroU32,
    pub burst: NonZeroU32,
}

/// How much of the disk device reports must leave free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// The larger of 2 GiB and a twentieth of the disk.
    Automatic,
    /// This number of bytes; 0 for no reserve.
    Bytes(u64),
}

/// Limits on device requests. Each process counts them separately.
#[derive(Debug, Clone)]
pub struct Devices {
    /// `devices.requests_per_second`, `SETTLE_DEVICES_REQUESTS_PER_SECOND`: requests per second of a device, from 1 to
    /// 1000; default 2. Bursts may have ten times as many.
    pub per_device: Rate,
    /// `devices.requests_per_second_and_address`, `SETTLE_DEVICES_REQUESTS_PER_SECOND_AND_ADDRESS`: requests per second
    /// of all devices at one address, from 1 to 100000; default 100. Bursts may have ten times as many.
    pub per_address: Rate,
    /// `devices.trusted_proxies`, `SETTLE_DEVICES_TRUSTED_PROXIES` (by comma): networks of proxies whose
    /// `X-Forwarded-For` is trusted to name a device's address; none by default.
    pub trusted_proxies: Vec<IpNet>,
    /// `devices.bytes_per_second_and_address`, `SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS`: bytes per second in the
    /// requests of all devices at one address, from `32KiB` to `100MiB`; default `256KiB`. Bursts may have 32 times as
    /// many.
    pub bytes_per_address: Rate,
    /// `devices.disk_reserve`, `SETTLE_DEVICES_DISK_RESERVE`: how much of the disk with an SQLite database device
    /// reports leave free, such as `500MiB` or `20GiB`; `off` for nothing. Default: the larger of 2 GiB and a twentieth
    /// of the disk.
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
