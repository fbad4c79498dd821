//! Requests and replies as values, and the addresses that a request may go to. Nothing is sent here.

mod failure;
mod target;

pub use failure::Failure;
pub use target::{check, host_and_port, is_local, judge};

use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use storage::AttemptClass;
use url::Url;

/// The method of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// POST.
    Post,
}

/// One request.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The URL. Its path can hold a secret.
    pub url: Url,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The signed bytes; a GET has none.
    pub body: Vec<u8>,
    /// Whether the operator chose the address: then any address and scheme is allowed.
    pub is_operators: bool,
}

impl std::fmt::Debug for Request {
    /// Method and host: path, headers and body can hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        f.debug_struct("Request").field("method", &self.method).field("host", &host).finish_non_exhaustive()
    }
}

/// What the operator allows beyond public HTTPS servers.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Networks that are allowed although they are not public, on any port.
    pub allowed_networks: Vec<IpNet>,
    /// Whether plain `http` is allowed, and with it port 80 of public servers.
    pub allow_http: bool,
}

impl Rules {
    /// The rules for an address that the operator chose: any network, any port, plain `http` too.
    #[must_use]
    pub fn open() -> Self {
        let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let allowed_networks = all.into_iter().filter_map(|ip| IpNet::new(ip, 0).ok()).collect();
        Self { allowed_networks, allow_http: true }
    }
}

/// The result of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The server answered. A body that broke off is included as far as it came.
    Answer {
        /// The status code.
        status: u16,
        /// The `Retry-After` header, unparsed.
        retry_after: Option<String>,
        /// `content-type`, `date`, `server`, `retry-after`, `via` and the server's ids of the request, each cut at 256
        /// characters; names in lower case.
        headers: Vec<(String, String)>,
        /// At most the first 64 KiB of the body.
        body: String,
    },
    /// There was no answer.
    Failure {
        /// `forbidden_address`, `dns`, `connect`, `tls`, `timeout`, `reset` or `invalid_url`. A name that leads to a
        /// forbidden address is `dns`, as one that does not exist: else the names of our network could be guessed.
        class: AttemptClass,
        /// A sentence for the owner of the destination. It reveals nothing about our network.
        message: String,
    },
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Failure { class: failure.class(), message: failure.to_string() }
    }
}
