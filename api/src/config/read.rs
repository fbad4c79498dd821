//! Validates the merged settings and builds a `Config`. Errors name the invalid setting.

use super::Rate;
use super::Reserve;
use super::raw::{Flags, Gathered, Raw, RawDevices, RawOrigins, Variables, gather, variables};
use super::{Config, Database, Destinations, Devices, Http, Invalid, keys, mail, ui};
use crate::setting::{bounded, invalid, origin, parsed};
use crate::sizes;
use domain::text::trimmed;
use ipnet::IpNet;
use protocols::destinations::schedule::LONGEST_DAYS;
use secrecy::SecretString;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

/// Number of seconds whose requests may come in one burst.
const BURST_SECONDS: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// Number of seconds whose bytes may come in one burst.
const BYTES_BURST_SECONDS: NonZeroU32 = NonZeroU32::new(32).unwrap();

/// Reads and validates all settings.
///
/// # Errors
/// A setting is invalid. The error names it and the expected value, and never contains a secret.
pub fn load(flags: &Flags, environment: &Variables) -> Result<Config, Invalid> {
    read(flags, environment).map_err(|wrong| flags.blame(wrong))
}

impl Flags {
    /// Names the flag that set the invalid setting, or else its variable, in the error.
    fn blame(&self, wrong: Invalid) -> Invalid {
        let flags = [
            ("data", "--data", self.data.is_some()),
            ("database", "--database", self.database.is_some()),
            ("listen", "--listen", self.listen.is_some()),
            (
                "admin_listen",
                "--admin-listen",
                self.admin_listen.is_some(),
            ),
            ("window", "--window", self.window.is_some()),
        ];
        let flag = flags
            .into_iter()
            .find(|(field, _, is_set)| *is_set && *field == wrong.field);
        let mut known = variables();
        let variable = known
            .find(|known| known.field == wrong.field)
            .map(|known| known.name);
        Invalid {
            origin: flag.map(|(_, flag, _)| flag).or(variable),
            ..wrong
        }
    }
}

fn read(flags: &Flags, environment: &Variables) -> Result<Config, Invalid> {
    if flags
        .data
        .as_ref()
        .is_some_and(|path| path.to_str().is_none())
    {
        return Err(invalid(
            "data",
            "a path that is UTF-8: SQLite opens only paths that are UTF-8",
        ));
    }
    let Gathered {
        raw,
        stores,
        origins,
    } = gather(flags, environment)?;
    let http = http(&raw)?;
    let data = raw.data.unwrap_or_else(|| PathBuf::from("settle-data"));
    Ok(Config {
        database: database(raw.database, &data)?,
        key: raw.key.as_deref().map(keys::parse).transpose()?,
        http,
        stores,
        devices: devices(&raw.devices)?,
        destinations: Destinations {
            allowed_networks: networks(
                "destinations.allowed_networks",
                &raw.destinations.allowed_networks,
            )?,
            denied_networks: networks(
                "destinations.denied_networks",
                &raw.destinations.denied_networks,
            )?,
            allow_http: raw.destinations.allow_http,
        },
        origins: origins.iter().map(origins_of).collect::<Result<_, _>>()?,
        mail: mail::server(&raw.mail)?,
        window: window(raw.window.as_deref())?,
        retention: retention(raw.retention.as_deref())?,
        ui: ui::read(&raw.ui)?,
        temporal_cli: raw.temporal_cli,
        data,
        demo: None,
    })
}

fn database(text: Option<String>, data: &Path) -> Result<Database, Invalid> {
    let Some(text) = text else {
        return Ok(Database::Sqlite(data.join("settle.sqlite")));
    };
    if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        return Ok(Database::Postgres(SecretString::from(text)));
    }
    let path = text.strip_prefix("sqlite:").unwrap_or(&text);
    if path.is_empty() || path.contains("://") {
        return Err(invalid(
            "database",
            "a path, `sqlite:PATH` or a `postgres://` URL",
        ));
    }
    Ok(Database::Sqlite(PathBuf::from(path)))
}

fn http(raw: &Raw) -> Result<Http, Invalid> {
    let listen = raw.listen.as_deref().unwrap_or("127.0.0.1:8080");
    let listen = parsed(
        "listen",
        listen,
        "an address with a port, such as 127.0.0.1:8080",
    )?;
    let public_url = raw
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{listen}"));
    let public_url: Url = parsed(
        "public_url",
        &public_url,
        "a URL such as https://settle.example.com",
    )?;
    let plain = public_url.query().is_none() && public_url.fragment().is_none();
    if !plain || !matches!(public_url.scheme(), "http" | "https") {
        return Err(invalid(
            "public_url",
            "an HTTP or HTTPS URL without a query or fragment",
        ));
    }
    let admin_token = raw
        .admin_token
        .as_ref()
        .map(|token| trimmed(token).to_owned());
    if admin_token.as_ref().is_some_and(|token| token.len() < 16) {
        return Err(invalid(
            "admin_token",
            "at least 16 characters; `openssl rand -hex 32` generates some",
        ));
    }
    Ok(Http {
        listen,
        admin_listen: admin_listen(listen, raw)?,
        is_admin_listen_set: raw.admin_listen.is_some() || raw.admin_on_listen,
        connections: connections("connections", raw.connections.unwrap_or(2048), 16)?,
        connections_per_address: connections(
            "connections_per_address",
            raw.connections_per_address.unwrap_or(256),
            1,
        )?,
        public_url,
        admin_token: admin_token.map(SecretString::from),
    })
}

/// Returns the address of the whole API. Default: the port after that of `listen`, so that two processes on a machine
/// need one setting each.
fn admin_listen(listen: SocketAddr, raw: &Raw) -> Result<Option<SocketAddr>, Invalid> {
    let next = match listen.port() {
        0 => 0,
        port => port.checked_add(1).unwrap_or(port - 1),
    };
    match (&raw.admin_listen, raw.admin_on_listen) {
        (Some(_), true) => Err(invalid(
            "admin_on_listen",
            "`false` while `admin_listen` is set",
        )),
        (None, true) => Ok(None),
        (None, false) => Ok(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, next)))),
        (Some(text), false) => {
            let address: SocketAddr = parsed(
                "admin_listen",
                text,
                "an address with a port, such as 127.0.0.1:8081",
            )?;
            if address == listen && address.port() != 0 {
                return Err(invalid(
                    "admin_listen",
                    "an address other than `listen`; to share it, set only `admin_on_listen`",
                ));
            }
            Ok(Some(address))
        }
    }
}

fn connections(field: &str, number: usize, least: usize) -> Result<usize, Invalid> {
    let range = least..=8192;
    if range.contains(&number) {
        return Ok(number);
    }
    Err(invalid(field, format!("a number from {least} to 8192")))
}

/// Returns a kind of destination with its allowed origins.
fn origins_of(raw: &RawOrigins) -> Result<(&'static str, Vec<Url>), Invalid> {
    let urls = raw
        .texts
        .iter()
        .map(|text| origin(raw.setting.field, text))
        .collect::<Result<_, _>>()?;
    Ok((raw.kind, urls))
}

fn devices(raw: &RawDevices) -> Result<Devices, Invalid> {
    let rate = |field: &str, number: u32, max: u32| {
        let per_second = NonZeroU32::new(number).filter(|number| number.get() <= max);
        let per_second =
            per_second.ok_or_else(|| invalid(field, format!("a number from 1 to {max}")))?;
        Ok(Rate {
            per_second,
            burst: per_second.saturating_mul(BURST_SECONDS),
        })
    };
    Ok(Devices {
        per_device: rate(
            "devices.requests_per_second",
            raw.requests_per_second.unwrap_or(2),
            1000,
        )?,
        per_address: rate(
            "devices.requests_per_second_and_address",
            raw.requests_per_second_and_address.unwrap_or(100),
            100_000,
        )?,
        trusted_proxies: networks("devices.trusted_proxies", &raw.trusted_proxies)?,
        bytes_per_address: bytes_per_address(raw.bytes_per_second_and_address.as_deref())?,
        disk_reserve: disk_reserve(raw.disk_reserve.as_deref())?,
    })
}

fn bytes_per_address(text: Option<&str>) -> Result<Rate, Invalid> {
    let range = 32 * 1024..=100 * 1024 * 1024;
    let bytes = sizes::bytes(text.unwrap_or("256KiB")).filter(|bytes| range.contains(bytes));
    let per_second = bytes
        .and_then(|bytes| u32::try_from(bytes).ok())
        .and_then(NonZeroU32::new);
    let expected = || {
        invalid(
            "devices.bytes_per_second_and_address",
            "a size from 32KiB to 100MiB, such as 256KiB",
        )
    };
    let per_second = per_second.ok_or_else(expected)?;
    // A burst has room for a request of the maximum size.
    Ok(Rate {
        per_second,
        burst: per_second.saturating_mul(BYTES_BURST_SECONDS),
    })
}

fn disk_reserve(text: Option<&str>) -> Result<Reserve, Invalid> {
    let Some(text) = text.map(str::trim) else {
        return Ok(Reserve::Automatic);
    };
    if text == "off" {
        return Ok(Reserve::Bytes(0));
    }
    let bytes = sizes::bytes(text).ok_or_else(|| {
        invalid(
            "devices.disk_reserve",
            "a size such as 500MiB or 20GiB, or `off`",
        )
    })?;
    Ok(Reserve::Bytes(bytes))
}

fn networks(field: &str, texts: &[String]) -> Result<Vec<IpNet>, Invalid> {
    texts
        .iter()
        .map(|text| parsed(field, text, "networks such as 127.0.0.0/8"))
        .collect()
}

/// Returns the default quiet window: two minutes unless set, from one second to one hour, in whole seconds, as in the
/// API.
fn window(text: Option<&str>) -> Result<Duration, Invalid> {
    let expected = || {
        invalid(
            "window",
            "a duration of whole seconds from 1s to 1h, such as 2m",
        )
    };
    let window = bounded(text.unwrap_or("2m"), Duration::from_secs(3600));
    window
        .filter(|window| window.subsec_nanos() == 0)
        .ok_or_else(expected)
}

/// Bodies are stored at least until a delivery's last attempt: the longest schedule has this many days.
const SHORTEST_RETENTION_DAYS: u32 = LONGEST_DAYS;

fn retention(text: Option<&str>) -> Result<Option<Duration>, Invalid> {
    let text = text.map_or("90d", str::trim);
    if text == "off" {
        return Ok(None);
    }
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.trim().parse::<u32>().ok());
    match days.filter(|days| (SHORTEST_RETENTION_DAYS..=36_500).contains(days)) {
        Some(days) => Ok(Some(Duration::from_secs(u64::from(days) * 24 * 3600))),
        None => Err(invalid(
            "retention",
            "at least 8 days, such as 90d, or `off`",
        )),
    }
}
