//! Merges the file, environment and flags into one value of unvalidated settings.

use super::{mail, ui};
use crate::setting::{Form, Invalid, Section, Variable, unreadable};
use crate::stores::config::StoreConfig;
use crate::stores::{self, StoreEntry};
use config::{File, FileFormat, Map, Value, ValueKind};
use protocols::destinations::{self, OriginsSetting};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// Environment variables. Tests pass their own.
pub type Variables = BTreeMap<String, String>;

/// Settings from the command line. They take precedence over the environment and the file.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`: the TOML file (also `SETTLE_CONFIG`).
    pub config: Option<PathBuf>,
    /// `--data`.
    pub data: Option<PathBuf>,
    /// `--database`.
    pub database: Option<String>,
    /// `--listen`.
    pub listen: Option<String>,
    /// `--admin-listen`.
    pub admin_listen: Option<String>,
    /// `--window`.
    pub window: Option<String>,
    /// `--temporal-cli`.
    pub temporal_cli: Option<PathBuf>,
}

/// Settings of the installation that have an environment variable.
const OF_INSTALLATION: &[Variable] = &[
    Variable::one("data", "SETTLE_DATA"),
    Variable::one("database", "SETTLE_DATABASE"),
    Variable::one("key", "SETTLE_KEY"),
    Variable::one("listen", "SETTLE_LISTEN"),
    Variable::one("admin_listen", "SETTLE_ADMIN_LISTEN"),
    Variable::one("admin_on_listen", "SETTLE_ADMIN_ON_LISTEN"),
    Variable::one("connections", "SETTLE_CONNECTIONS"),
    Variable::one("connections_per_address", "SETTLE_CONNECTIONS_PER_ADDRESS"),
    Variable::one("public_url", "SETTLE_PUBLIC_URL"),
    Variable::one("admin_token", "SETTLE_ADMIN_TOKEN"),
    Variable::one("window", "SETTLE_WINDOW"),
    Variable::one("retention", "SETTLE_RETENTION"),
    Variable::one("temporal_cli", "SETTLE_TEMPORAL_CLI"),
];

/// Settings of devices, destinations, sign-ins and emails that have an environment variable.
const OF_OTHERS: &[Variable] = &[
    Variable::one(
        "devices.requests_per_second",
        "SETTLE_DEVICES_REQUESTS_PER_SECOND",
    ),
    Variable::one(
        "devices.requests_per_second_and_address",
        "SETTLE_DEVICES_REQUESTS_PER_SECOND_AND_ADDRESS",
    ),
    Variable::one(
        "devices.bytes_per_second_and_address",
        "SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS",
    ),
    Variable::list("devices.trusted_proxies", "SETTLE_DEVICES_TRUSTED_PROXIES"),
    Variable::one("devices.disk_reserve", "SETTLE_DEVICES_DISK_RESERVE"),
    Variable::list(
        "destinations.allowed_networks",
        "SETTLE_DESTINATIONS_ALLOWED_NETWORKS",
    ),
    Variable::list(
        "destinations.denied_networks",
        "SETTLE_DESTINATIONS_DENIED_NETWORKS",
    ),
    Variable::one("destinations.allow_http", "SETTLE_DESTINATIONS_ALLOW_HTTP"),
    Variable::one("mail.url", "SETTLE_MAIL_URL"),
    Variable::one("mail.from", "SETTLE_MAIL_FROM"),
    Variable::list("mail.allowed_domains", "SETTLE_MAIL_ALLOWED_DOMAINS"),
    Variable::one("ui.sign_in_idle", "SETTLE_UI_SIGN_IN_IDLE"),
    Variable::one("ui.sign_in_lifetime", "SETTLE_UI_SIGN_IN_LIFETIME"),
    Variable::list("ui.hosts", "SETTLE_UI_HOSTS"),
    Variable::one("ui.temporal_url", "SETTLE_UI_TEMPORAL_URL"),
    Variable::one("ui.url", "SETTLE_UI_URL"),
];

/// Settings of destination kinds that have an environment variable.
static OF_KINDS: LazyLock<Vec<Variable>> = LazyLock::new(|| {
    origins_settings()
        .map(|(_, setting)| Variable::list(setting.field, setting.variable))
        .collect()
});

/// Returns the kinds of destinations that have a setting for allowed origins, by name.
fn origins_settings() -> impl Iterator<Item = (&'static str, OriginsSetting)> {
    destinations::kinds().filter_map(|kind| Some((kind.name(), kind.origins_setting()?)))
}

/// Returns each setting that has an environment variable, in display order.
pub(super) fn variables() -> impl Iterator<Item = &'static Variable> {
    let of_stores = stores::all().flat_map(|store| store.variables);
    let of_kinds = OF_KINDS.iter();
    OF_INSTALLATION
        .iter()
        .chain(of_stores)
        .chain(of_kinds)
        .chain(OF_OTHERS)
}

/// Settings that were read but not validated yet.
pub(super) struct Gathered {
    pub(super) raw: Raw,
    /// Raw settings of the stores, in the order of the list of stores.
    pub(super) stores: Vec<Arc<dyn StoreConfig>>,
    /// Origins that may replace those of vendors.
    pub(super) origins: Vec<RawOrigins>,
}

/// Origins that may replace those of the vendor of a kind of destination.
pub(super) struct RawOrigins {
    /// Name of the kind.
    pub(super) kind: &'static str,
    pub(super) setting: OriginsSetting,
    pub(super) texts: Vec<String>,
}

/// Section for a kind of destination in the configuration file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct KindTable {
    allowed_urls: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Raw {
    pub(super) data: Option<PathBuf>,
    pub(super) database: Option<String>,
    pub(super) key: Option<String>,
    pub(super) listen: Option<String>,
    pub(super) admin_listen: Option<String>,
    pub(super) admin_on_listen: bool,
    pub(super) connections: Option<usize>,
    pub(super) connections_per_address: Option<usize>,
    pub(super) public_url: Option<String>,
    pub(super) admin_token: Option<String>,
    pub(super) window: Option<String>,
    pub(super) retention: Option<String>,
    pub(super) temporal_cli: Option<PathBuf>,
    pub(super) devices: RawDevices,
    pub(super) destinations: RawDestinations,
    pub(super) mail: mail::Raw,
    pub(super) ui: ui::Raw,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDevices {
    pub(super) requests_per_second: Option<u32>,
    pub(super) requests_per_second_and_address: Option<u32>,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) bytes_per_second_and_address: Option<String>,
    pub(super) disk_reserve: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDestinations {
    pub(super) allowed_networks: Vec<String>,
    pub(super) denied_networks: Vec<String>,
    pub(super) allow_http: bool,
}

/// Returns the environment of this process. No other code reads it.
pub fn environment() -> Variables {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the environment"
    )]
    let variables = std::env::vars_os();
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Reads the settings. Flags override the environment, which overrides the file.
///
/// # Errors
/// The file cannot be read, a name is unknown, a value has the wrong type, or a store's setting is invalid.
pub(super) fn gather(flags: &Flags, environment: &Variables) -> Result<Gathered, Invalid> {
    let of_variable = || non_empty(environment, "SETTLE_CONFIG").map(PathBuf::from);
    let file = flags.config.clone().or_else(of_variable);
    let file = file.as_deref();
    let of_others: Vec<&str> = stores::names()
        .into_iter()
        .chain(origins_settings().map(|(kind, _)| kind))
        .collect();
    let unreadable = |error| unreadable(file, &error, &of_others);
    let mut all = layered(file, flags, environment).map_err(unreadable)?;
    let mut tables = Map::new();
    if let ValueKind::Table(found) = &mut all.cache.kind {
        let names = stores::all().map(|store: &StoreEntry| store.name);
        let names = names.chain(origins_settings().map(|(kind, _)| kind));
        tables.extend(names.filter_map(|name| Some((name, found.remove(name)?))));
    }
    let raw = all.try_deserialize().map_err(unreadable)?;
    let mut section = |name: &'static str| Section {
        name,
        table: tables.remove(name),
        file,
    };
    let stores = stores::all().map(|store| (store.config)(section(store.name)));
    let stores = stores.collect::<Result<_, Invalid>>()?;
    let origins = origins_settings().map(|(kind, setting)| {
        let table: KindTable = section(kind).read()?;
        Ok(RawOrigins {
            kind,
            setting,
            texts: table.allowed_urls,
        })
    });
    Ok(Gathered {
        origins: origins.collect::<Result<_, Invalid>>()?,
        raw,
        stores,
    })
}

fn layered(
    file: Option<&Path>,
    flags: &Flags,
    environment: &Variables,
) -> Result<config::Config, config::ConfigError> {
    let mut builder = config::Config::builder();
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    for Variable { field, name, form } in variables() {
        let value = non_empty(environment, name).map(|text| form.value(name, &text));
        builder = builder.set_override_option(*field, value)?;
    }
    let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
    builder
        .set_override_option("data", path(&flags.data))?
        .set_override_option("temporal_cli", path(&flags.temporal_cli))?
        .set_override_option("database", flags.database.clone())?
        .set_override_option("listen", flags.listen.clone())?
        .set_override_option("admin_listen", flags.admin_listen.clone())?
        .set_override_option("window", flags.window.clone())?
        .build()
}

impl Form {
    fn value(self, variable: &str, text: &str) -> Value {
        let origin = variable.to_owned();
        match self {
            Self::One => Value::new(Some(&origin), text),
            Self::List => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                Value::new(Some(&origin), items.map(str::to_owned).collect::<Vec<_>>())
            }
        }
    }
}

/// Returns a variable's value; an empty one counts as absent.
fn non_empty(variables: &Variables, name: &str) -> Option<String> {
    variables.get(name).filter(|text| !text.is_empty()).cloned()
}
