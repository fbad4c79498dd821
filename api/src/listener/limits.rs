//! Limits on connections, and the distribution of the process's file descriptors.

use ipnet::IpNet;
use std::time::Duration;

/// Maximum size of a request's head, in bytes.
pub const HEAD_BYTES: usize = 16 * 1024;
/// Maximum size of a connection's buffers, in bytes.
pub const BUFFER_BYTES: usize = 2 * HEAD_BYTES;
/// Maximum duration of receiving a request's head, from the opening of the connection or from the head's first byte.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// Maximum time for which a connection may be idle.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
/// Maximum duration of receiving a request's body. The time limit of a request, which leads to a response, is shorter.
pub const BODY_TIME: Duration = Duration::from_secs(30);
/// Maximum time from the end of the body until the response is written. The time limit of a request is shorter.
pub const ANSWER_TIME: Duration = Duration::from_secs(60);

/// File descriptors reserved for the database, Temporal, requests to stores and destinations, and files.
const RESERVED: usize = 384;
/// Limit on file descriptors that is requested at startup; the process never uses more.
const WANTED_DESCRIPTORS: u64 = 16_384;
/// Maximum number of connections from an IPv6 site, as a multiple of that for an address.
const SITE: usize = 4;
/// Maximum number of connections to the admin listener.
const ADMIN_CONNECTIONS: usize = 256;
/// Number of these connections that are reserved for health checks.
const FOR_HEALTH: usize = 16;
/// Paths of health checks and metrics.
pub const HEALTH: [&str; 3] = ["/livez", "/readyz", "/metrics"];
/// Maximum number of bytes of request bodies in memory: in the public listener, and in the admin listener.
const BODY_BYTES: usize = 48 * 1024 * 1024;
const ADMIN_BODY_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    /// Number of connections that accept only the paths of [`HEALTH`].
    pub for_health: usize,
    /// Maximum number of connections from one address; with IPv6, from one `/64` network.
    pub per_address: usize,
    /// Maximum number of connections from one IPv6 site, which is a `/48` network.
    pub per_site: usize,
    /// Maximum number of bytes of request bodies that are being received or processed.
    pub body_bytes: usize,
    /// Networks without a limit per address, because they are proxies with the connections of many clients.
    pub proxies: Vec<IpNet>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Both {
    /// Limits of the public listener.
    pub public: Limits,
    /// Limits of the admin listener.
    pub admin: Limits,
}

/// Configured limits, which few file descriptors may reduce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    pub connections: usize,
    /// Maximum number of connections from one address.
    pub per_address: usize,
    /// Networks without a limit per address.
    pub proxies: Vec<IpNet>,
}

impl LimitSettings {
    /// Returns the limits of a process that may open this number of file descriptors. If there are few, half of them
    /// are left to the rest of the process. No address or site may have more than half of the public connections.
    pub fn within(self, descriptors: usize) -> Both {
        let free = descriptors.saturating_sub(RESERVED).max(descriptors / 2);
        let admin = (free / 4).clamp(1, ADMIN_CONNECTIONS);
        let public = self.connections.min(free - free / 4).max(1);
        let half = public.div_ceil(2);
        let per_address = self.per_address.min(half);
        let per_site = self.per_address.saturating_mul(SITE).min(half);
        // Admins connect from few addresses, such as this machine's own.
        Both {
            public: Limits {
                connections: public,
                for_health: 0,
                per_address,
                per_site,
                body_bytes: BODY_BYTES,
                proxies: self.proxies,
            },
            admin: Limits {
                connections: admin,
                for_health: FOR_HEALTH.min(admin / 4),
                per_address: admin,
                per_site: admin,
                body_bytes: ADMIN_BODY_BYTES,
                proxies: Vec::new(),
            },
        }
    }
}

/// Raises the process's limit on file descriptors as far as possible, and returns it. If the system does not report a
/// limit, returns the usual one.
pub fn descriptors() -> usize {
    let limit = rlimit::increase_nofile_limit(WANTED_DESCRIPTORS).unwrap_or(1024);
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(descriptors: usize) -> (usize, usize, usize) {
        let wanted = LimitSettings {
            connections: 2048,
            per_address: 256,
            proxies: Vec::new(),
        };
        let Both { public, admin } = wanted.within(descriptors);
        assert!(
            public.per_address <= public.connections.div_ceil(2),
            "{public:?}"
        );
        assert!(
            public.per_site >= public.per_address
                && public.per_site <= public.connections.div_ceil(2),
            "{public:?}"
        );
        (public.connections, public.per_address, admin.connections)
    }

    #[test]
    fn descriptors_stay_free_for_the_rest_of_the_process() {
        assert_eq!(within(16_384), (2048, 256, 256));
        assert_eq!(within(1024), (480, 240, 160));
        assert_eq!(within(256), (96, 48, 32));
        assert_eq!(within(2), (1, 1, 1));
        for descriptors in [64, 256, 1024, 4096] {
            let (public, _, admin) = within(descriptors);
            let rest = descriptors - public - admin;
            assert!(
                rest >= RESERVED.min(descriptors / 2),
                "{rest} of {descriptors} are left"
            );
        }
    }

    #[test]
    fn health_checks_have_places_of_their_own() {
        let of = |descriptors: usize| {
            let wanted = LimitSettings {
                connections: 2048,
                per_address: 256,
                proxies: Vec::new(),
            };
            let Both { public, admin } = wanted.within(descriptors);
            (public.for_health, admin.for_health)
        };
        assert_eq!([16_384, 1024, 128].map(of), [(0, 16), (0, 16), (0, 4)]);
    }

    #[test]
    fn the_wanted_number_of_connections_is_a_maximum() {
        let wanted = LimitSettings {
            connections: 10,
            per_address: 100,
            proxies: Vec::new(),
        };
        let public = wanted.within(16_384).public;
        assert_eq!(
            (public.connections, public.per_address, public.per_site),
            (10, 5, 5)
        );
    }
}
