//! The address of a client: that of the connection or, behind trusted proxies, the one that they report.

use crate::error::Error;
use crate::operation::{Input, Operation, Schemas};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use domain::time::HOUR;
use ipnet::IpNet;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use tokio::time::Instant;

/// Header to which each proxy appends the address of its client
/// (<https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For>).
const FORWARDED: &str = "x-forwarded-for";

/// Prefix lengths of the networks that a provider may assign to one customer; with IPv6, a subnet or a whole site.
const IPV6_PREFIXES: [u8; 2] = [64, 48];
const IPV4_PREFIXES: [u8; 1] = [32];

/// Returns the networks around an address that a provider may assign to one customer, smallest first.
pub fn networks(address: IpAddr) -> impl Iterator<Item = IpNet> {
    let lengths: &[u8] = if address.is_ipv4() {
        &IPV4_PREFIXES
    } else {
        &IPV6_PREFIXES
    };
    lengths
        .iter()
        .filter_map(move |length| Some(IpNet::new(address, *length).ok()?.trunc()))
}

/// Returns the largest of an address's [`networks`]; with IPv4, only the address itself.
pub fn site(address: IpAddr) -> IpNet {
    networks(address)
        .last()
        .unwrap_or_else(|| IpNet::from(address))
}

/// Networks of the proxies that are trusted to report a client's address. Other senders could report any address.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// Returns the address of a request's client. Going back from the connection along `X-Forwarded-For`, this is the
    /// first address that is not a trusted proxy's. If a proxy reports no valid address, it is the proxy's own.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers
            .get_all(FORWARDED)
            .into_iter()
            .filter_map(|line| line.to_str().ok());
        let hops: Vec<&str> = lines
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .collect();
        for text in hops.into_iter().rev() {
            if !self.0.iter().any(|network| network.contains(&client)) {
                break;
            }
            let Some(previous) = address(text) else { break };
            client = previous.to_canonical();
        }
        client
    }

    /// Returns whether a request was forwarded by a proxy that is not configured. All clients of such a proxy count as
    /// one.
    pub fn is_unknown_proxy(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let peer = peer.to_canonical();
        headers.contains_key(FORWARDED) && !self.0.iter().any(|network| network.contains(&peer))
    }
}

/// Parses an address in the formats of common proxies: some add the port or put an IPv6 address in brackets.
fn address(text: &str) -> Option<IpAddr> {
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse()
        .ok()
        .or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
        .or_else(in_brackets)
}

/// Warns periodically about proxies that are not configured.
#[derive(Debug, Default)]
pub struct UnknownProxies {
    warned_at: Mutex<Option<Instant>>,
}

impl UnknownProxies {
    /// Counts a request from an unconfigured proxy. Returns whether to warn about it: the first time, then once an
    /// hour.
    pub fn note(&self, now: Instant) -> bool {
        metrics::counter!("settle_unknown_proxy_requests_total").increment(1);
        let mut warned_at = self
            .warned_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let is_due = warned_at.is_none_or(|at| now.duration_since(at) >= HOUR);
        if is_due {
            *warned_at = Some(now);
        }
        is_due
    }
}

/// Address of the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Without a connection, as in tests that call the router directly, all clients share one address.
        let known = parts
            .extensions
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0.ip());
        Ok(Self(known.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))))
    }
}

impl Input for Peer {
    fn describe(_: &mut Operation, _: &mut Schemas) {}
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn client(peer: &str, lines: &[&'static str]) -> String {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED, HeaderValue::from_static(line));
        }
        proxies
            .client(peer.parse().expect("an address"), &headers)
            .to_string()
    }

    #[test]
    fn only_a_trusted_proxy_names_the_address_of_a_client() {
        assert_eq!(
            client("203.0.113.9", &["198.51.100.1"]),
            "203.0.113.9",
            "any client can send the header"
        );
        assert_eq!(client("10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_proxy_may_write_a_port_and_brackets() {
        assert_eq!(
            client("10.0.0.1", &["203.0.113.1:4711"]),
            "203.0.113.1",
            "as Azure does"
        );
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]:4711"]), "2001:db8::1");
        assert_eq!(client("10.0.0.1", &["[2001:db8::1]"]), "2001:db8::1");
        for wrong in [
            "203.0.113.1:",
            "203.0.113.1:70000",
            "[203.0.113.1",
            "[]",
            "unknown",
            "_hidden",
        ] {
            assert_eq!(client("10.0.0.1", &[wrong]), "10.0.0.1", "{wrong}");
        }
    }

    #[test]
    fn a_proxy_that_is_not_configured_is_detected() {
        let proxies = TrustedProxies(vec!["10.0.0.0/8".parse().expect("a network")]);
        let mut headers = HeaderMap::new();
        let is_unknown = |peer: &str, headers: &HeaderMap| {
            proxies.is_unknown_proxy(peer.parse().expect("an address"), headers)
        };
        assert!(!is_unknown("192.168.0.7", &headers));
        headers.insert(FORWARDED, HeaderValue::from_static("203.0.113.1"));
        assert!(is_unknown("192.168.0.7", &headers) && !is_unknown("::ffff:10.0.0.7", &headers));
    }

    #[test]
    fn an_unknown_proxy_is_warned_about_once_an_hour() {
        let (proxies, now) = (UnknownProxies::default(), Instant::now());
        let is_due: Vec<bool> = [0, 1, 59, 60, 61, 120]
            .map(|minute| proxies.note(now + minute * HOUR / 60))
            .into();
        assert_eq!(is_due, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_site_is_an_ipv4_address_or_an_ipv6_prefix_of_48_bits() {
        let site = |text: &str| site(text.parse().expect("an address")).to_string();
        assert_eq!(site("203.0.113.9"), "203.0.113.9/32");
        assert_eq!(site("2001:db8:1:2:3::4"), "2001:db8:1::/48");
    }

    #[test]
    fn an_address_that_a_client_claims_is_ignored() {
        assert_eq!(
            client("10.0.0.1", &["192.0.2.66, 198.51.100.1, 10.0.0.7"]),
            "198.51.100.1"
        );
        assert_eq!(
            client("10.0.0.1", &["192.0.2.66", "198.51.100.1"]),
            "198.51.100.1",
            "two lines are one list"
        );
        assert_eq!(client("10.0.0.1", &["192.0.2.66, nonsense"]), "10.0.0.1");
    }
}
