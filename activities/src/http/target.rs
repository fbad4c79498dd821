//! The addresses of a URL, resolved once and checked all together.

use super::Lookup;
use protocols::http::{Failure, Rules, host_and_port, is_local, judge};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use url::{Host, Url};

/// Time limit for resolving a name.
const DNS: Duration = Duration::from_secs(5);
/// The addresses that a request may connect to, and no others.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// At least one.
    pub addresses: Vec<SocketAddr>,
}

impl Target {
    /// Resolves the URL's host and checks every address: one forbidden address refuses the whole name.
    pub async fn find(url: &Url, rules: &Rules, lookup: &Lookup) -> Result<Self, Failure> {
        let (host, port) = host_and_port(url, rules)?;
        let addresses = match host {
            Host::Ipv4(address) => vec![IpAddr::V4(address)],
            Host::Ipv6(address) => vec![IpAddr::V6(address)],
            Host::Domain(name) => resolve(name, lookup).await?,
        };
        judge(&addresses, port, rules).map_err(|failure| public_failure(failure, host))?;
        Ok(Self { addresses: addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect() })
    }
}

async fn resolve(name: &str, lookup: &Lookup) -> Result<Vec<IpAddr>, Failure> {
    match tokio::time::timeout(DNS, lookup(name.to_owned())).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(_)) | Err(_) => Err(Failure::Dns),
    }
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
