//! Gathers file, environment and flags into one value of settings that are not checked yet.

use super::Invalid;
use super::{mail, ui};
use crate::near::did_you_mean;
use config::{File, FileFormat, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The environment variables; tests pass their own.
pub type Variables = BTreeMap<String, String>;

/// The settings of the command line. They take precedence over environment and file.
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

/// Each setting that has an environment variable: its name in the file, the variable, and the form of its value.
pub(super) const VARIABLES: &[(&str, &str, Form)] = &[
    ("data", "SETTLE_DATA", Form::One),
    ("database", "SETTLE_DATABASE", Form::One),
    ("key", "SETTLE_KEY", Form::One),
    ("listen", "SETTLE_LISTEN", Form::One),
    ("admin_listen", "SETTLE_ADMIN_LISTEN", Form::One),
    ("admin_on_listen", "SETTLE_ADMIN_ON_LISTEN", Form::One),
    ("connections", "SETTLE_CONNECTIONS", Form::One),
    (
        "connections_per_address",
        "SETTLE_CONNECTIONS_PER_ADDRESS",
        Form::One,
    ),
    ("public_url", "SETTLE_PUBLIC_URL", Form::One),
    ("admin_token", "SETTLE_ADMIN_TOKEN", Form::One),
    ("window", "SETTLE_WINDOW", Form::One),
    ("retention", "SETTLE_RETENTION", Form::One),
    ("temporal_cli", "SETTLE_TEMPORAL_CLI", Form::One),
    (
        "amazon.auto_confirm_accounts",
        "SETTLE_AMAZON_AUTO_CONFIRM_ACCOUNTS",
        Form::List,
    ),
    ("amazon.rvs_url", "SETTLE_AMAZON_RVS_URL", Form::One),
    ("amazon.patience", "SETTLE_AMAZON_PATIENCE", Form::One),
    (
        "amazon.rvs_per_second",
        "SETTLE_AMAZON_RVS_PER_SECOND",
        Form::One,
    ),
    (
        "amplitude.allowed_urls",
        "SETTLE_AMPLITUDE_ALLOWED_URLS",
        Form::List,
    ),
    (
        "devices.requests_per_second",
        "SETTLE_DEVICES_REQUESTS_PER_SECOND",
        Form::One,
    ),
    (
        "devices.requests_per_second_and_address",
        "SETTLE_DEVICES_REQUESTS_PER_SECOND_AND_ADDRESS",
        Form::One,
    ),
    (
        "devices.bytes_per_second_and_address",
        "SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS",
        Form::One,
    ),
    (
        "devices.trusted_proxies",
        "SETTLE_DEVICES_TRUSTED_PROXIES",
        Form::List,
    ),
    (
        "devices.disk_reserve",
        "SETTLE_DEVICES_DISK_RESERVE",
        Form::One,
    ),
    (
        "destinations.allowed_networks",
        "SETTLE_DESTINATIONS_ALLOWED_NETWORKS",
        Form::List,
    ),
    (
        "destinations.denied_networks",
        "SETTLE_DESTINATIONS_DENIED_NETWORKS",
        Form::List,
    ),
    (
        "destinations.allow_http",
        "SETTLE_DESTINATIONS_ALLOW_HTTP",
        Form::One,
    ),
    ("mail.url", "SETTLE_MAIL_URL", Form::One),
    ("mail.from", "SETTLE_MAIL_FROM", Form::One),
    (
        "mail.allowed_domains",
        "SETTLE_MAIL_ALLOWED_DOMAINS",
        Form::List,
    ),
    ("ui.sign_in_idle", "SETTLE_UI_SIGN_IN_IDLE", Form::One),
    (
        "ui.sign_in_lifetime",
        "SETTLE_UI_SIGN_IN_LIFETIME",
        Form::One,
    ),
    ("ui.hosts", "SETTLE_UI_HOSTS", Form::List),
    ("ui.temporal_url", "SETTLE_UI_TEMPORAL_URL", Form::One),
    ("ui.url", "SETTLE_UI_URL", Form::One),
];

#[derive(Clone, Copy)]
pub(super) enum Form {
    One,
    List,
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
    pub(super) amazon: RawAmazon,
    pub(super) amplitude: RawAmplitude,
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
pub(super) struct RawAmplitude {
    pub(super) allowed_urls: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAmazon {
    pub(super) certificates: Vec<RawCertificate>,
    pub(super) auto_confirm_accounts: Vec<String>,
    pub(super) rvs_url: Option<String>,
    pub(super) patience: Option<String>,
    pub(super) rvs_per_second: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCertificate {
    pub(super) url: String,
    pub(super) file: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDestinations {
    pub(super) allowed_networks: Vec<String>,
    pub(super) denied_networks: Vec<String>,
    pub(super) allow_http: bool,
}

/// The environment of this process. The only place that reads it.
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

/// Reads the settings. Flags win over the environment, and this over the file.
///
/// # Errors
/// The file cannot be read, a name is unknown, or a value has another type.
pub(super) fn gather(flags: &Flags, variables: &Variables) -> Result<Raw, Invalid> {
    let file = flags
        .config
        .clone()
        .or_else(|| non_empty(variables, "SETTLE_CONFIG").map(PathBuf::from));
    layered(file.as_deref(), flags, variables)
        .and_then(config::Config::try_deserialize)
        .map_err(|error| unreadable(file.as_deref(), &error))
}

fn layered(
    file: Option<&Path>,
    flags: &Flags,
    variables: &Variables,
) -> Result<config::Config, config::ConfigError> {
    let mut builder = config::Config::builder();
    if let Some(path) = file {
        builder = builder.add_source(File::from(path).format(FileFormat::Toml));
    }
    for &(field, variable, form) in VARIABLES {
        let value = non_empty(variables, variable).map(|text| form.value(variable, &text));
        builder = builder.set_override_option(field, value)?;
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

/// The value of a variable; an empty one counts as absent.
fn non_empty(variables: &Variables, name: &str) -> Option<String> {
    variables.get(name).filter(|text| !text.is_empty()).cloned()
}

/// The error for settings that cannot be read. It names the setting and never contains a value.
fn unreadable(file: Option<&Path>, error: &config::ConfigError) -> Invalid {
    match error {
        config::ConfigError::Type {
            key: Some(key),
            expected,
            ..
        } => invalid(key, *expected),
        config::ConfigError::At {
            error,
            key: Some(key),
            ..
        } => invalid(key, error.to_string()),
        config::ConfigError::Type { expected, .. } => invalid("config", *expected),
        config::ConfigError::Foreign(error) if file.is_some_and(|path| !path.exists()) => {
            invalid("config", format!("an existing file; {error}"))
        }
        other => {
            let other = other.to_string();
            let meant = unknown_name(&other).unwrap_or_default();
            let name = file.map_or_else(String::new, |path| format!(" in {}", path.display()));
            invalid("config", format!("valid settings{name} ({other}){meant}"))
        }
    }
}

/// The setting that an unknown one probably means, at the end of its error; `None` for another error. Serde lists the
/// known ones in it.
fn unknown_name(error: &str) -> Option<String> {
    let mut quoted = error
        .split_once("unknown field ")?
        .1
        .split('`')
        .skip(1)
        .step_by(2);
    let typed = quoted.next()?;
    Some(did_you_mean(typed, quoted))
}

/// The error of a wrong setting, which names its variable.
pub(super) fn invalid(field: &str, expected: impl Into<String>) -> Invalid {
    let variable = VARIABLES
        .iter()
        .find(|(name, ..)| *name == field)
        .map(|(_, variable, _)| *variable);
    Invalid {
        field: field.to_owned(),
        origin: variable,
        expected: expected.into(),
    }
}
