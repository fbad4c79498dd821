//! Reads the URL of a PostgreSQL database. It has the same meaning as in libpq, except that nothing is read from the
//! environment or from files in the home folder.

pub use super::tls::Invalid;

use super::tls::{Tls, Verified};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Maximum time for a host to accept a connection, unless the URL sets another.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEPALIVES_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVES_COUNT: u32 = 2;
/// Maximum time for which sent data may stay unacknowledged.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);
/// The other parameters that libpq or tokio-postgres knows, whose names may appear in an error.
/// <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS>
const KNOWN: &[&str] = &[
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "gssdelegation",
    "gssencmode",
    "gsslib",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "krbsrvname",
    "load_balance_hosts",
    "max_protocol_version",
    "min_protocol_version",
    "options",
    "passfile",
    "password",
    "port",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "ssl",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "sslcert",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "sslsni",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
];
/// Parameters of libpq that are accepted and have no effect.
const WITHOUT_EFFECT: &[&str] = &[
    "client_encoding",
    "fallback_application_name",
    "sslcompression",
];

/// The servers of one database, and how to reach them.
pub struct Address {
    /// Configurations with one host each, in the order in which they are tried.
    pub hosts: Vec<Config>,
    /// Maximum time for each host to accept a connection; `None` for no limit.
    pub timeout: Option<Duration>,
    pub tls: Tls,
}

/// The parameters of a URL: those that are read here, and the others.
#[derive(Default)]
struct Parameters {
    tls: Tls,
    tcp_user_timeout: Option<Duration>,
    /// Number of hosts in the parameter `host`.
    hosts: usize,
    /// Whether a host that accepts no writes may be used, too.
    takes_any: bool,
    names: BTreeSet<String>,
    rest: Vec<String>,
}

impl Address {
    /// Reads `postgres://user:password@host:port,host:port/database?name=value&…`.
    ///
    /// # Errors
    /// The defect of the URL.
    pub fn parse(url: &str) -> Result<Self, Invalid> {
        let (base, query) = split(url);
        // The text after the first `@` counts as host and database, which errors name; it may be the rest of a
        // password.
        if base.matches('@').nth(1).is_some() {
            return Err(Invalid(
                "it has a second `@`: percent-encode each one of a password or name as %40"
                    .to_owned(),
            ));
        }
        let mut parameters = Parameters::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            parameters.add(pair)?;
        }
        let url = format!("{base}?{}", parameters.rest.join("&"));
        let config: Config = url
            .parse()
            .map_err(|error| Invalid(crate::error::chain(&error)))?;
        if parameters.hosts != 0 && parameters.hosts != config.get_hosts().len() {
            return Err(Invalid(
                "it names hosts both in its parameters and before them".to_owned(),
            ));
        }
        let is_set = |name: &str| parameters.names.contains(name);
        let timeout = if is_set("connect_timeout") {
            config.get_connect_timeout().copied()
        } else {
            Some(CONNECT_TIMEOUT)
        };
        let mut common = config.clone();
        common.ssl_mode(parameters.tls.mode());
        common.tcp_user_timeout(parameters.tcp_user_timeout.unwrap_or(TCP_USER_TIMEOUT));
        if !is_set("keepalives_idle") {
            common.keepalives_idle(KEEPALIVES_IDLE);
        }
        if !is_set("keepalives_interval") {
            common.keepalives_interval(KEEPALIVES_INTERVAL);
        }
        if !is_set("keepalives_count") {
            common.keepalives_retries(KEEPALIVES_COUNT);
        }
        let takes_any = parameters.takes_any;
        common.target_session_attrs(if takes_any {
            TargetSessionAttrs::Any
        } else {
            TargetSessionAttrs::ReadWrite
        });
        let hosts = hosts(&common)?;
        if takes_any && hosts.len() > 1 {
            return Err(Invalid(
                "with several hosts `target_session_attrs` must be `read-write`: another one would keep sessions of a \
                 standby"
                    .to_owned(),
            ));
        }
        Ok(Self {
            hosts,
            timeout,
            tls: parameters.tls,
        })
    }
}

/// Returns the URL without its query, and the query. As in libpq, a question mark may stand in a password.
fn split(url: &str) -> (&str, &str) {
    let host = url.find("://").map_or(0, |at| at + 3);
    let host = match url[host..].find(['@', '/']) {
        Some(at) if url[host + at..].starts_with('@') => host + at,
        _ => host,
    };
    match url[host..].find('?') {
        Some(at) => (&url[..host + at], &url[host + at + 1..]),
        None => (url, ""),
    }
}

impl Parameters {
    fn add(&mut self, pair: &str) -> Result<(), Invalid> {
        let (name, encoded) = pair
            .split_once('=')
            .ok_or_else(|| Invalid("a parameter has no value".to_owned()))?;
        if !KNOWN.contains(&name) && !WITHOUT_EFFECT.contains(&name) {
            // The name may be part of a password that is not percent-encoded.
            return Err(Invalid(
                "it has an unknown parameter, or a password that is not percent-encoded".to_owned(),
            ));
        }
        let invalid = || Invalid(format!("`{name}` has no valid value"));
        let value = percent_decode_str(encoded)
            .decode_utf8()
            .map_err(|_| invalid())?;
        match name {
            "ssl" if value == "true" => self.tls.set_mode("require").ok_or_else(invalid)?,
            "sslmode" => self.tls.set_mode(&value).ok_or_else(invalid)?,
            "sslrootcert" if value == "system" => self.tls.verified_at_least = Verified::Name,
            "sslrootcert" => {
                self.tls.verified_at_least = Verified::Chain;
                self.tls.authorities = Some(value.into_owned().into());
            }
            "sslcert" => self.tls.certificate = Some(value.into_owned().into()),
            "sslkey" => self.tls.key = Some(value.into_owned().into()),
            "tcp_user_timeout" => {
                self.tcp_user_timeout =
                    Some(Duration::from_millis(value.parse().map_err(|_| invalid())?));
            }
            "host" => {
                // tokio-postgres treats the list as one host.
                for host in value.split(',') {
                    self.hosts += 1;
                    self.rest.push(format!(
                        "host={}",
                        utf8_percent_encode(host, NON_ALPHANUMERIC)
                    ));
                }
            }
            "keepalives_count" => self.rest.push(format!("keepalives_retries={encoded}")),
            "target_session_attrs" => match &*value {
                "read-write" | "primary" => {}
                "any" | "prefer-standby" => self.takes_any = true,
                "read-only" | "standby" => {
                    return Err(Invalid(
                        "`target_session_attrs` must be `read-write`: settle writes".to_owned(),
                    ));
                }
                _ => return Err(invalid()),
            },
            "gssencmode" if value == "disable" || value == "prefer" => {}
            _ if WITHOUT_EFFECT.contains(&name) => {}
            // tokio-postgres treats the first `@` in the whole URL as the end of the password.
            _ => self.rest.push(pair.replace('@', "%40")),
        }
        self.names.insert(name.to_owned());
        Ok(())
    }
}

/// Returns a configuration for each host of `common`.
fn hosts(common: &Config) -> Result<Vec<Config>, Invalid> {
    let (names, addresses, ports) = (
        common.get_hosts(),
        common.get_hostaddrs(),
        common.get_ports(),
    );
    let count = names.len().max(addresses.len()).max(1);
    if [names.len(), addresses.len()]
        .iter()
        .any(|listed| *listed != 0 && *listed != count)
        || (ports.len() > 1 && ports.len() != count)
    {
        return Err(Invalid(
            "it does not name as many ports and addresses as hosts".to_owned(),
        ));
    }
    let host = |at: usize| {
        let mut host = without_hosts(common);
        match (names.get(at), addresses.get(at)) {
            // There is no TLS over a local socket.
            (Some(Host::Unix(folder)), _) => host.host_path(folder).ssl_mode(SslMode::Disable),
            (Some(Host::Tcp(name)), _) => host.host(name),
            (None, Some(address)) => host.host(address.to_string()),
            (None, None) => host.host("localhost"),
        };
        if let Some(address) = addresses.get(at) {
            host.hostaddr(*address);
        }
        if let Some(port) = ports.get(at).or(ports.first()) {
            host.port(*port);
        }
        host
    };
    Ok((0..count).map(host).collect())
}

fn without_hosts(common: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = common.get_user() {
        config.user(user);
    }
    if let Some(password) = common.get_password() {
        config.password(password);
    }
    if let Some(name) = common.get_dbname() {
        config.dbname(name);
    }
    if let Some(options) = common.get_options() {
        config.options(options);
    }
    if let Some(name) = common.get_application_name() {
        config.application_name(name);
    }
    if let Some(limit) = common.get_connect_timeout() {
        config.connect_timeout(*limit);
    }
    if let Some(limit) = common.get_tcp_user_timeout() {
        config.tcp_user_timeout(*limit);
    }
    if let Some(interval) = common.get_keepalives_interval() {
        config.keepalives_interval(interval);
    }
    if let Some(retries) = common.get_keepalives_retries() {
        config.keepalives_retries(retries);
    }
    config
        .ssl_mode(common.get_ssl_mode())
        .ssl_negotiation(common.get_ssl_negotiation())
        .keepalives(common.get_keepalives())
        .keepalives_idle(common.get_keepalives_idle())
        .target_session_attrs(common.get_target_session_attrs())
        .channel_binding(common.get_channel_binding())
        .load_balance_hosts(common.get_load_balance_hosts());
    config
}

#[cfg(test)]
mod tests;
