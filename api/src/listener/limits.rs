//! The limits of connections, and how the descriptors of the process are shared.

use ipnet::IpNet;
use std::time::Duration;

/// Maximum size of the head of a request, in bytes.
pub const HEAD_BYTES: usize = 16 * 1024;
/// Maximum size of the buffers of a connection, in bytes.
pub const BUFFER_BYTES: usize = 2 * HEAD_BYTES;
/// Maximum duration of the head of a request, from the opening of the connection or from the head's first byte.
pub const HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a connection may be idle.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
/// Maximum duration of the body of a request. The time limit of a request, which is answered, is shorter.
pub const BODY_TIME: Duration = Duration::from_secs(30);
/// Maximum time from the whole body until the answer is written. The time limit of a request is shorter.
pub const ANSWER_TIME: Duration = Duration::from_secs(60);

/// Descriptors that are left to the database, Temporal, the requests to stores and destinations, and files.
const RESERVED: usize = 384;
/// The limit of descriptors that is wanted at the start: more are never used.
const WANTED_DESCRIPTORS: u64 = 16_384;
/// The connections of a site with IPv6, in those of one of its networks.
const SITE: usize = 4;
/// Maximum number of connections to the listener of administrators.
const ADMIN_CONNECTIONS: usize = 256;
/// Of these, the connections reserved for health checks.
const FOR_HEALTH: usize = 16;
/// The paths that say how the process is.
pub const HEALTH: [&str; 3] = ["/livez", "/readyz", "/metrics"];
/// Maximum number of bytes of bodies that are read or processed by the public listener and the administrators'
/// listener.
const BODY_BYTES: usize = 48 * 1024 * 1024;
const ADMIN_BODY_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    pub connections: usize,
    /// How many of them only take the paths of [`HEALTH`].
    pub for_health: usize,
    /// Maximum number of connections from one address; of one network `/64` with IPv6.
    pub per_address: usize,
    /// Maximum number of connections from one site with IPv6, a network `/48`.
    pub per_site: usize,
    /// Maximum number of bytes of request bodies that are read or worked on.
    pub body_bytes: usize,
    /// Networks without a limit per address: proxies, which bring the connections of many.
    pub proxies: Vec<IpNet>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Both {
    /// Limits of the public listener.
    pub public: Limits,
    /// Limits of the administrators' listener.
    pub admin: Limits,
}

/// The wanted limits, which the descriptors may reduce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    pub connections: usize,
    /// Maximum number of connections from one address.
    pub per_address: usize,
    /// Networks without a limit per address.
    pub proxies: Vec<IpNet>,
}

impl LimitSettings {
    /// Returns the limits of a process that may have this number of descriptors. Half of a small number is left to the
    /// rest of the process. No address and no site has more than half of the public connections.
    pub fn within(self, descriptors: usize) -> Both {
        let free = descriptors.saturating_sub(RESERVED).max(descriptors / 2);
        let admin = (free / 4).clamp(1, ADMIN_CONNECTIONS);
        let public = self.connections.min(free - free / 4).max(1);
        let half = public.div_ceil(2);
        let per_address = self.per_address.min(half);
        let per_site = self.per_address.saturating_mul(SITE).min(half);
        // Administrators call from few addresses, such as this machine's own.
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

/// Raises the limit of descriptors as far as it may be raised, and returns it. A system that does not show it has the
/// usual one.
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
