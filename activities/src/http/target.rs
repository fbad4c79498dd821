//! The addresses of a URL, resolved once and checked all together.

use super::failure::Failure;
use super::{Lookup, Rules};
use crate::address;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use url::{Host, Url};

/// Time limit for resolving a name.
const DNS: Duration = Duration::from_secs(5);
/// The allowed ports of public servers; others could reach services that are no endpoints.
const PORTS: [u16; 2] = [443, 8443];
/// The port that is added where plain `http` is allowed.
const HTTP_PORT: u16 = 80;
/// The name that leads to the machine itself everywhere (RFC 6761 6.3), as do all names below it.
const LOCALHOST: &str = "localhost";

/// The addresses that a request may connect to, and no others.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// At least one.
    pub addresses: Vec<SocketAddr>,
}

impl Target {
    /// Resolves the URL's host and checks every address: one forbidden address refuses the whole name.
    pub async fn find(url: &Url, rules: &Rules, lookup: &Lookup) -> Result<Self, Failure> {
        let (host, port) = parts(url, rules)?;
        let addresses = match host {
            Host::Ipv4(address) => vec![IpAddr::V4(address)],
            Host::Ipv6(address) => vec![IpAddr::V6(address)],
            Host::Domain(name) => resolve(name, lookup).await?,
        };
        judge(&addresses, port, rules).map_err(|failure| public_failure(failure, host))?;
        Ok(Self { addresses: addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect() })
    }
}

/// Refuses a URL that no request can ever be sent to, by its address or its port, whatever its name resolves to.
///
/// # Errors
/// Why not, for people.
pub fn check(url: &Url, rules: &Rules) -> Result<(), String> {
    judge_unresolved(url, rules).map_err(|failure| failure.to_string())
}

fn judge_unresolved(url: &Url, rules: &Rules) -> Result<(), Failure> {
    let (host, port) = parts(url, rules)?;
    match host {
        Host::Ipv4(address) => judge(&[address.into()], port, rules),
        Host::Ipv6(address) => judge(&[address.into()], port, rules),
        Host::Domain(name) if is_local(name) => judge(&[Ipv4Addr::LOCALHOST.into()], port, rules),
        // A name may resolve into an allowed network, where every port is allowed.
        Host::Domain(_) if !rules.allowed_networks.is_empty() || is_usual(port, rules) => Ok(()),
        Host::Domain(_) => Err(Failure::Port),
    }
}

fn is_usual(port: u16, rules: &Rules) -> bool {
    PORTS.contains(&port) || (rules.allow_http && port == HTTP_PORT)
}

fn parts<'a>(url: &'a Url, rules: &Rules) -> Result<(Host<&'a str>, u16), Failure> {
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

async fn resolve(name: &str, lookup: &Lookup) -> Result<Vec<IpAddr>, Failure> {
    match tokio::time::timeout(DNS, lookup(name.to_owned())).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(_)) | Err(_) => Err(Failure::Dns),
    }
}

/// Checks the addresses of a host.
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

/// The failure as it is shown: a name of our network looks like one that does not exist.
fn public_failure(failure: Failure, host: Host<&str>) -> Failure {
    match (failure, host) {
        (Failure::Forbidden, Host::Domain(name)) if !is_local(name) => {
            tracing::info!(host = name, "a destination's name resolves to an address that is not allowed");
            Failure::Dns
        }
        (failure, _) => failure,
    }
}

fn is_local(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.strip_suffix(LOCALHOST).is_some_and(|above| above.is_empty() || above.ends_with('.'))
}
