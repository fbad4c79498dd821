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

/// The header in which each proxy adds the address that it was called from
/// (<https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/X-Forwarded-For>).
const FORWARDED: &str = "x-forwarded-for";

/// The lengths of the prefixes of the networks that one customer of a provider may have: with IPv6 a network of devices, and
/// as many of these as a whole site has.
const OF_SIX: [u8; 2] = [64, 48];
const OF_FOUR: [u8; 1] = [32];

/// The networks of an address that one customer of a provider may have, smallest first.
pub fn networks(address: IpAddr) -> impl Iterator<Item = IpNet> {
    let lengths: &[u8] = if address.is_ipv4() { &OF_FOUR } else { &OF_SIX };
    lengths
        .iter()
        .filter_map(move |length| Some(IpNet::new(address, *length).ok()?.trunc()))
}

/// The largest of these networks: an address with IPv4.
pub fn site(address: IpAddr) -> IpNet {
    networks(address)
        .last()
        .unwrap_or_else(|| IpNet::from(address))
}

/// The networks of proxies whose word on a client's address counts. Others could claim any address.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies(pub Vec<IpNet>);

impl TrustedProxies {
    /// The address of the client of a request: the last one in the way of the request that is no trusted proxy.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines = headers
            .get_all(FORWARDED)
            .into_iter()
            .filter_map(|line| line.to_str().ok());
        let way: Vec<&str> = lines
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .collect();
        for text in way.into_iter().rev() {
            if !self.0.iter().any(|network| network.contains(&client)) {
                break;
            }
            let Some(before) = address(text) else { break };
            client = before.to_canonical();
        }
        client
    }

    /// Whether a request was forwarded by a proxy that is not configured: all its clients then count as one.
    pub fn is_unknown_proxy(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        let peer = peer.to_canonical();
        headers.contains_key(FORWARDED) && !self.0.iter().any(|network| network.contains(&peer))
    }
}

/// An address as proxies write it: some add the port, and then put an IPv6 address in brackets.
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
    /// Counts a request of an unknown proxy. Returns whether to warn of it: the first time, and then once an hour.
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

/// The address of the other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        // Without a connection, as in tests that call the router itself, all clients are one.
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
            "anybody can send the header"
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
    fn a_proxy_that_nobody_named_is_noticed() {
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
    fn it_is_warned_of_once_an_hour() {
        let (proxies, now) = (UnknownProxies::default(), Instant::now());
        let is_due: Vec<bool> = [0, 1, 59, 60, 61, 120]
            .map(|minute| proxies.note(now + minute * HOUR / 60))
            .into();
        assert_eq!(is_due, [true, false, false, true, false, true]);
    }

    #[test]
    fn a_site_is_an_address_or_a_whole_customer() {
        let site = |text: &str| site(text.parse().expect("an address")).to_string();
        assert_eq!(site("203.0.113.9"), "203.0.113.9/32");
        assert_eq!(site("2001:db8:1:2:3::4"), "2001:db8:1::/48");
    }

    #[test]
    fn what_a_client_claims_of_itself_is_left_out() {
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
