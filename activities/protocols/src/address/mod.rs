//! Forbidden addresses: private networks, loopback, link-local and all other ranges that hold no public servers. No
//! request goes to a forbidden address unless the operator allows its network. This module is pure: it resolves no
//! names.
//!
//! The source is IANA's special-purpose registries (<https://www.iana.org/assignments/iana-ipv4-special-registry>,
//! `…-ipv6-special-registry`). A registered block is forbidden as a whole, even where the registry marks some of its
//! addresses as globally reachable. Also forbidden are the addresses of cloud metadata services, which give a machine
//! its credentials: nearly all are in registered blocks, and the one public address is listed here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// The forbidden IPv4 networks: address and prefix length.
const FORBIDDEN_V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),        // "this network" (RFC 791)
    ([10, 0, 0, 0], 8),       // private (RFC 1918)
    ([100, 64, 0, 0], 10),    // shared by carrier-grade NAT (RFC 6598)
    ([127, 0, 0, 0], 8),      // loopback (RFC 1122)
    ([169, 254, 0, 0], 16),   // link-local, with the metadata services of clouds (RFC 3927)
    ([168, 63, 129, 16], 32), // the host agent and metadata of Azure, in every virtual network
    ([172, 16, 0, 0], 12),    // private (RFC 1918)
    ([192, 0, 0, 0], 24),     // IETF protocol assignments (RFC 6890)
    ([192, 0, 2, 0], 24),     // documentation (RFC 5737)
    ([192, 88, 99, 0], 24),   // 6to4 relay anycast (RFC 7526)
    ([192, 168, 0, 0], 16),   // private (RFC 1918)
    ([198, 18, 0, 0], 15),    // benchmarks (RFC 2544)
    ([198, 51, 100, 0], 24),  // documentation (RFC 5737)
    ([203, 0, 113, 0], 24),   // documentation (RFC 5737)
    ([224, 0, 0, 0], 4),      // multicast (RFC 5771)
    ([240, 0, 0, 0], 4),      // reserved (RFC 1112), with limited broadcast
];

/// The forbidden networks within [`GLOBAL_UNICAST`]: address and prefix length.
const FORBIDDEN_V6: [(u128, u32); 4] = [
    (0x2001 << 112, 23),     // IETF protocol assignments, with Teredo (RFC 2928)
    (0x2001_0db8 << 96, 32), // documentation (RFC 3849)
    (0x2002 << 112, 16),     // 6to4 (RFC 3056)
    (0x3fff << 112, 20),     // documentation (RFC 9637)
];

/// Global unicast. All other IPv6 addresses (loopback, unique local, link-local, multicast and so on) are forbidden,
/// except NAT64.
const GLOBAL_UNICAST: (u128, u32) = (0x2000 << 112, 3);
/// NAT64 (RFC 6052): the last 32 bits are an IPv4 address, which is checked instead. Forbidding NAT64 would stop all
/// delivery from an IPv6-only network.
const NAT64: (u128, u32) = (0x0064_ff9b << 96, 96);

/// Returns the IPv4 address that a NAT64 address stands for; returns any other address unchanged.
pub fn target(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) if is_nat64(v6) => {
            let [.., a, b, c, d] = v6.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        other => other,
    }
}

/// Returns whether an address is forbidden: a request to it could reach something that is not a public server.
pub fn is_forbidden(address: IpAddr) -> bool {
    match target(address) {
        IpAddr::V4(address) => is_forbidden_v4(address),
        IpAddr::V6(address) => is_forbidden_v6(address),
    }
}

fn is_forbidden_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    FORBIDDEN_V4
        .iter()
        .any(|(network, prefix)| (bits ^ u32::from_be_bytes(*network)) >> (32 - prefix) == 0)
}

fn is_forbidden_v6(address: Ipv6Addr) -> bool {
    !is_within(address, GLOBAL_UNICAST)
        || FORBIDDEN_V6
            .into_iter()
            .any(|network| is_within(address, network))
}

fn is_nat64(address: Ipv6Addr) -> bool {
    is_within(address, NAT64)
}

fn is_within(address: Ipv6Addr, network: (u128, u32)) -> bool {
    let (network, prefix) = network;
    (u128::from(address) ^ network) >> (128 - prefix) == 0
}
