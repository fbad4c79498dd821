//! Resolves the host of a URL once, and checks all its addresses together.

use super::{Lookup, LookupRequest};
use domain::AppId;
use protocols::http::{
    Failure, Rules, check_addresses, check_operators_addresses, host_and_port, is_localhost,
};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use url::{Host, Url};

/// Time limit for resolving a name.
const DNS_TIMEOUT: Duration = Duration::from_secs(5);

/// The checked addresses of a URL, the only ones to which a request may connect.
#[derive(Debug, PartialEq, Eq)]
pub struct Resolved {
    pub addresses: Vec<SocketAddr>,
}

impl Resolved {
    /// Resolves the URL's host and checks every address: one forbidden address refuses the whole name.
    pub async fn find(
        url: &Url,
        app: Option<AppId>,
        rules: &Rules,
        lookup: &Lookup,
    ) -> Result<Self, Failure> {
        let (host, port) = host_and_port(url, rules)?;
        let addresses = addresses(&host, app, lookup).await?;
        check_addresses(&addresses, port, rules)
            .map_err(|failure| public_failure(failure, host))?;
        Ok(Self::new(addresses, port))
    }

    /// Resolves the host of a message's address, which is a URL of any scheme with a port, under the rules of
    /// [`Self::find`].
    pub async fn of_message(
        url: &Url,
        app: Option<AppId>,
        rules: &Rules,
        lookup: &Lookup,
    ) -> Result<Self, Failure> {
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::Url);
        }
        let (host, port) = host_and_stated_port(url)?;
        let addresses = addresses(&host, app, lookup).await?;
        check_addresses(&addresses, port, rules)
            .map_err(|failure| public_failure(failure, host))?;
        Ok(Self::new(addresses, port))
    }

    /// Resolves the host of a URL with a port, of any scheme, that the operator chose. Only a denied address refuses
    /// it.
    pub async fn of_operator(url: &Url, rules: &Rules, lookup: &Lookup) -> Result<Self, Failure> {
        let (host, port) = host_and_stated_port(url)?;
        let addresses = addresses(&host, None, lookup).await?;
        check_operators_addresses(&addresses, port, rules)?;
        Ok(Self::new(addresses, port))
    }

    fn new(addresses: Vec<IpAddr>, port: u16) -> Self {
        Self {
            addresses: addresses
                .into_iter()
                .map(|ip| SocketAddr::new(ip, port))
                .collect(),
        }
    }
}

/// Returns the host and port of a URL of any scheme.
fn host_and_stated_port(url: &Url) -> Result<(Host, u16), Failure> {
    let (host, port) = url.host_str().zip(url.port()).ok_or(Failure::Url)?;
    // The URL parser recognizes IPv4 addresses only in web URLs.
    let host = Host::parse(host).map_err(|_| Failure::Url)?;
    Ok((host, port))
}

async fn addresses<T: AsRef<str>>(
    host: &Host<T>,
    app: Option<AppId>,
    lookup: &Lookup,
) -> Result<Vec<IpAddr>, Failure> {
    Ok(match host {
        Host::Ipv4(address) => vec![IpAddr::V4(*address)],
        Host::Ipv6(address) => vec![IpAddr::V6(*address)],
        Host::Domain(name) => {
            resolve(
                LookupRequest {
                    name: name.as_ref().to_owned(),
                    app,
                },
                lookup,
            )
            .await?
        }
    })
}

async fn resolve(wanted: LookupRequest, lookup: &Lookup) -> Result<Vec<IpAddr>, Failure> {
    match tokio::time::timeout(DNS_TIMEOUT, lookup(wanted)).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(_)) | Err(_) => Err(Failure::Dns),
    }
}

/// Returns the failure to show. A name in a private network gets the same failure as a name that does not exist, so
/// that the local network cannot be probed for names.
fn public_failure<T: AsRef<str>>(failure: Failure, host: Host<T>) -> Failure {
    match (failure, host) {
        (Failure::Forbidden, Host::Domain(name)) if !is_localhost(name.as_ref()) => {
            tracing::info!(
                host = name.as_ref(),
                "a destination's name resolves to an address that is not allowed"
            );
            Failure::Dns
        }
        (failure, _) => failure,
    }
}
