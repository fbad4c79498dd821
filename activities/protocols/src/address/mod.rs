//! The addresses that are forbidden unless the operator allows them. Pure: nothing is resolved here.
//!
//! The ranges are IANA's special-purpose registries, read at their widest
//! (<https://www.iana.org/assignments/iana-ipv4-special-registry>, `…-ipv6-special-registry`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// IPv4 networks without public servers: address and prefix length.
const FORBIDDEN_V4: [([u8; 4], u32); 15] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    ([169, 254, 0, 0], 16),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// The parts of IPv6 global unicast that are special: protocol assignments with Teredo, both
/// documentation networks, 6to4.
const FORBIDDEN_V6: [(u128, u32); 4] =
    [(0x2001 << 112, 23), (0x2001_0db8 << 96, 32), (0x2002 << 112, 16), (0x3fff << 112, 20)];

/// Global unicast, the only part of IPv6 where public servers are.
const GLOBAL_UNICAST: (u128, u32) = (0x2000 << 112, 3);
/// NAT64: the IPv4 address is in the last 32 bits. Refusing it outright would stop all delivery from a
/// network that has only IPv6.
const NAT64: (u128, u32) = (0x0064_ff9b << 96, 96);

/// Whether a request to this address could reach something that is not a public server.
#[must_use]
pub fn forbidden(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => forbidden_v4(address),
        IpAddr::V6(address) => forbidden_v6(address),
    }
}

fn forbidden_v4(address: Ipv4Addr) -> bool {
    let bits = u32::from(address);
    FORBIDDEN_V4.iter().any(|(network, prefix)| (bits ^ u32::from_be_bytes(*network)) >> (32 - prefix) == 0)
}

fn forbidden_v6(address: Ipv6Addr) -> bool {
    let bits = u128::from(address);
    let within = |(network, prefix): (u128, u32)| (bits ^ network) >> (128 - prefix) == 0;
    if within(NAT64) {
        let [.., a, b, c, d] = address.octets();
        return forbidden_v4(Ipv4Addr::new(a, b, c, d));
    }
    !within(GLOBAL_UNICAST) || FORBIDDEN_V6.into_iter().any(within)
}
