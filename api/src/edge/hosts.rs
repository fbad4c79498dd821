//! Host names under which the whole API may be reached. A malicious page that points its own domain at this machine
//! (DNS rebinding) sends another host name, and is refused.

use axum::http::uri::Authority;
use std::net::IpAddr;

/// Allowed names, in addition to those that an attacker cannot own: IP addresses, and names without a dot, such as
/// `localhost` or a container's name.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().map(str::to_ascii_lowercase).collect())
    }

    /// Returns whether the host of a `Host` header is allowed, with any port.
    pub fn knows(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else {
            return false;
        };
        let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
        let address = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        address.is_ok()
            || !name.contains('.')
            || name.ends_with(".localhost")
            || self.0.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn names_that_a_stranger_can_have_are_named_in_the_settings() {
        let hosts = Hosts::new(["Settle.example.com"]);
        let known = [
            "localhost",
            "localhost:8081",
            "127.0.0.1:8081",
            "[::1]:8081",
            "10.1.2.3",
            "serve-a:8081",
            "a.localhost",
            "settle.example.com",
            "SETTLE.example.com.:443",
        ];
        for host in known {
            assert!(hosts.knows(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8081",
            "127.0.0.1.evil.example",
            "example.com",
            "a b",
        ] {
            assert!(!hosts.knows(host), "{host}");
        }
    }
}
