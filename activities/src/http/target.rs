//! Where a URL leads: its addresses, resolved once and judged all together.

use super::Rules;
use super::failure::Failure;
use crate::address;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use url::{Host, Url};

/// How long a name may take to resolve.
const DNS: Duration = Duration::from_secs(5);
/// The ports of public servers; others could make us knock on doors that are not for us.
const PORTS: [u16; 2] = [443, 8443];

/// The addresses that a request may connect to, and no others.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// At least one.
    pub addresses: Vec<SocketAddr>,
}

impl Target {
    /// Resolves the URL's host and judges every address: one forbidden address refuses the whole name.
    pub async fn find(url: &Url, rules: &Rules) -> Result<Self, Failure> {
        let (host, port) = parts(url, rules)?;
        let addresses = match host {
            Host::Ipv4(address) => vec![SocketAddr::from((address, port))],
            Host::Ipv6(address) => vec![SocketAddr::from((address, port))],
            Host::Domain(name) => resolve(name, port).await?,
        };
        judge(&addresses, port, rules)?;
        Ok(Self { addresses })
    }
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

async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    match tokio::time::timeout(DNS, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(_)) | Err(_) => Err(Failure::Dns),
    }
}

/// Judges what a name resolved to.
pub fn judge(addresses: &[SocketAddr], port: u16, rules: &Rules) -> Result<(), Failure> {
    if addresses.is_empty() {
        return Err(Failure::Dns);
    }
    let allowed = |ip: IpAddr| rules.allowed_networks.iter().any(|network| network.contains(&ip));
    if addresses.iter().any(|address| address::forbidden(address.ip()) && !allowed(address.ip())) {
        return Err(Failure::Forbidden);
    }
    let any_port = rules.allow_http || addresses.iter().all(|address| allowed(address.ip()));
    if any_port || PORTS.contains(&port) { Ok(()) } else { Err(Failure::Port) }
}
