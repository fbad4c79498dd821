//! The addresses and ports that a request may go to.

use super::{Failure, Rules};
use crate::address;
use std::net::{IpAddr, Ipv4Addr};
use url::{Host, Url};

/// The allowed ports of public servers; others could reach services that are no endpoints.
const PORTS: [u16; 2] = [443, 8443];
/// The port that is added where plain `http` is allowed.
const HTTP_PORT: u16 = 80;
/// The name that leads to the machine itself everywhere (RFC 6761 6.3), as do all names below it.
const LOCALHOST: &str = "localhost";

/// Refuses a URL that no request can ever be sent to, by its address or its port, whatever its name resolves to.
///
/// # Errors
/// Why not, for people.
pub fn check(url: &Url, rules: &Rules) -> Result<(), String> {
    judge_unresolved(url, rules).map_err(|failure| failure.to_string())
}

fn judge_unresolved(url: &Url, rules: &Rules) -> Result<(), Failure> {
    let (host, port) = host_and_port(url, rules)?;
    match host {
        Host::Ipv4(address) => judge(&[address.into()], port, rules),
        Host::Ipv6(address) => judge(&[address.into()], port, rules),
        Host::Domain(name) if is_local(name) => judge(&[Ipv4Addr::LOCALHOST.into()], port, rules),
        // A name may resolve into an allowed network, where every port is allowed.
        Host::Domain(_) if !rules.allowed_networks.is_empty() || is_usual(port, rules) => Ok(()),
        Host::Domain(_) => Err(Failure::Port),
    }
}

/// The host and port of a URL with an allowed scheme.
///
/// # Errors
/// The URL cannot be requested.
pub fn host_and_port<'a>(url: &'a Url, rules: &Rules) -> Result<(Host<&'a str>, u16), Failure> {
    match url.scheme() {
        "https" => {}
        "http" if rules.allow_http => {}
        _ => return Err(Failure::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::Url);
    }
    url.host().zip(url.port_or_known_default()).ok_or(Failure::Url)
}

/// Checks the addresses of a host: one forbidden address refuses all.
///
/// # Errors
/// Why no request may go there.
pub fn judge(addresses: &[IpAddr], port: u16, rules: &Rules) -> Result<(), Failure> {
    if addresses.is_empty() {
        return Err(Failure::Dns);
    }
    let is_allowed = |ip: &IpAddr| rules.allowed_networks.iter().any(|network| network.contains(ip));
    if addresses.iter().any(|ip| address::forbidden(*ip) && !is_allowed(ip)) {
        return Err(Failure::Forbidden);
    }
    if is_usual(port, rules) || addresses.iter().all(is_allowed) { Ok(()) } else { Err(Failure::Port) }
}

/// Whether a name leads to the machine itself everywhere.
#[must_use]
pub fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.strip_suffix(LOCALHOST).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

fn is_usual(port: u16, rules: &Rules) -> bool {
    PORTS.contains(&port) || (rules.allow_http && port == HTTP_PORT)
}
