//! The rules for where requests may go, and the checks of a URL's scheme, port and addresses by these rules.

use super::failure::Failure;
use crate::address;
use ipnet::{IpNet, Ipv4Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

/// The allowed ports of public servers. Any other port could belong to a service that is not a web server.
const PUBLIC_PORTS: [u16; 2] = [443, 8443];
/// The additional allowed port if plain `http` is allowed.
const HTTP_PORT: u16 = 80;
/// The name that, like all its subdomains, always resolves to the machine itself (RFC 6761 6.3).
const LOCALHOST: &str = "localhost";

/// The servers that the operator allows besides public HTTPS servers.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Networks that are allowed although they are not public, on any port.
    pub allowed_networks: Vec<IpNet>,
    /// Networks that are refused even if they are public or allowed.
    pub denied_networks: Vec<IpNet>,
    /// Whether plain `http` is allowed, and with it port 80 of public servers.
    pub allow_http: bool,
}

impl Rules {
    /// Returns the rules for a URL that the operator chose: any network, any port, and plain `http` too.
    pub fn open() -> Self {
        let all = [
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        let allowed_networks = all
            .into_iter()
            .filter_map(|ip| IpNet::new(ip, 0).ok())
            .collect();
        Self {
            allowed_networks,
            denied_networks: Vec::new(),
            allow_http: true,
        }
    }
}

/// Checks a URL without a DNS lookup. Refuses a scheme that is not allowed, a forbidden address (`localhost` counts as
/// 127.0.0.1) and, unless some network is allowed, a port that is not public.
///
/// # Errors
/// Returns the expected URL, as a text for people. It names the variables that would allow this URL or, if no setting
/// can, everything that is wrong with it.
pub fn check_url(url: &Url, rules: &Rules) -> Result<(), String> {
    let (mut reasons, mut variables, mut relaxed) = (Vec::new(), Vec::new(), rules.clone());
    let mut purpose = "for plain HTTP";
    if url.scheme() == "http" && !rules.allow_http {
        reasons.push(Failure::Scheme.to_string());
        variables.push("SETTLE_DESTINATIONS_ALLOW_HTTP=true".to_owned());
        relaxed.allow_http = true;
    }
    if let Err(failure) = check_unresolved(url, &relaxed) {
        reasons.push(failure.to_string());
        let network = network(url);
        relaxed.allowed_networks.extend(network);
        match network {
            Some(network) if check_unresolved(url, &relaxed).is_ok() => {
                // The networks that are already allowed are not disclosed: they concern only the operator.
                let others = if rules.allowed_networks.is_empty() {
                    ""
                } else {
                    "…,"
                };
                variables.push(format!(
                    "SETTLE_DESTINATIONS_ALLOWED_NETWORKS={others}{network}"
                ));
                let is_local = network.addr().is_loopback();
                purpose = if is_local {
                    "for a receiver on this machine"
                } else {
                    "for a receiver in your network"
                };
            }
            _ => variables.clear(),
        }
    }
    match (reasons.is_empty(), variables.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => Err(format!(
            "an address that settle can deliver to: {}",
            reasons.join("; ")
        )),
        (false, false) => Err(format!(
            "a public https:// URL; {purpose} start settle with `{}`",
            variables.join(" ")
        )),
    }
}

/// Returns the network to allow for the host of a URL: the whole loopback network for a loopback address, otherwise the
/// address alone. `None` for a name that must be resolved.
fn network(url: &Url) -> Option<IpNet> {
    let address = match url.host()? {
        Host::Ipv4(address) => address.into(),
        Host::Ipv6(address) => address.into(),
        Host::Domain(name) if is_localhost(name) => Ipv4Addr::LOCALHOST.into(),
        Host::Domain(_) => return None,
    };
    match address {
        IpAddr::V4(address) if address.is_loopback() => {
            Some(Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).ok()?.into())
        }
        address => Some(address.into()),
    }
}

fn check_unresolved(url: &Url, rules: &Rules) -> Result<(), Failure> {
    let (host, port) = host_and_port(url, rules)?;
    match host {
        Host::Ipv4(address) => check_addresses(&[address.into()], port, rules),
        Host::Ipv6(address) => check_addresses(&[address.into()], port, rules),
        Host::Domain(name) if is_localhost(name) => {
            check_addresses(&[Ipv4Addr::LOCALHOST.into()], port, rules)
        }
        // The name may resolve to an address in an allowed network, where every port is allowed.
        Host::Domain(_) if !rules.allowed_networks.is_empty() || is_public_port(port, rules) => {
            Ok(())
        }
        Host::Domain(_) => Err(Failure::Port),
    }
}

/// Returns the host and port of a URL whose scheme is allowed.
///
/// # Errors
/// Fails if the scheme is not allowed, or if the URL has no host or has a user name or password.
pub fn host_and_port<'a>(url: &'a Url, rules: &Rules) -> Result<(Host<&'a str>, u16), Failure> {
    match url.scheme() {
        "https" => {}
        "http" if rules.allow_http => {}
        _ => return Err(Failure::Scheme),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Failure::Url);
    }
    url.host()
        .zip(url.port_or_known_default())
        .ok_or(Failure::Url)
}

/// Checks the addresses of a host. One forbidden address refuses the whole host, since the connection could go there.
///
/// # Errors
/// Fails if there is no address, if one is forbidden, or if the port is not allowed.
pub fn check_addresses(addresses: &[IpAddr], port: u16, rules: &Rules) -> Result<(), Failure> {
    if addresses.is_empty() {
        return Err(Failure::Dns);
    }
    let is_allowed = |ip: &IpAddr| {
        rules
            .allowed_networks
            .iter()
            .any(|network| network.contains(ip))
    };
    // A denied network is also denied when it is reached through NAT64.
    let is_denied = |ip: &IpAddr| {
        let target = address::target(*ip);
        rules
            .denied_networks
            .iter()
            .any(|network| network.contains(ip) || network.contains(&target))
    };
    if addresses
        .iter()
        .any(|ip| is_denied(ip) || (address::is_forbidden(*ip) && !is_allowed(ip)))
    {
        return Err(Failure::Forbidden);
    }
    if is_public_port(port, rules) || addresses.iter().all(is_allowed) {
        Ok(())
    } else {
        Err(Failure::Port)
    }
}

/// Checks the addresses of a server that the operator chose: any address is allowed unless a denied network contains
/// it.
///
/// # Errors
/// Fails if there is no address, or if one is denied.
pub fn check_operators_addresses(
    addresses: &[IpAddr],
    port: u16,
    rules: &Rules,
) -> Result<(), Failure> {
    let open = Rules {
        denied_networks: rules.denied_networks.clone(),
        ..Rules::open()
    };
    check_addresses(addresses, port, &open)
}

/// Returns whether a name is `localhost` or a subdomain of it.
pub fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.strip_suffix(LOCALHOST)
        .is_some_and(|subdomain| subdomain.is_empty() || subdomain.ends_with('.'))
}

fn is_public_port(port: u16, rules: &Rules) -> bool {
    PUBLIC_PORTS.contains(&port) || (rules.allow_http && port == HTTP_PORT)
}
