//! The only sender of requests to addresses that others chose.
//!
//! The name is resolved once, every address is checked, and the connection goes to those addresses and to
//! no other. The meaning of a destination's answer is not decided here.

mod clients;
mod failure;
mod lookup;
mod response;
mod target;

#[cfg(test)]
mod tests;

pub use lookup::{Lookup, of_this_machine};
pub use target::check;

use clients::Clients;
use failure::Failure;
use ipnet::IpNet;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use response::Response;
use rustls::ClientConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use target::Target;
use url::Url;

/// Time limit from resolving the name to the last byte of the answer.
const TOTAL: Duration = Duration::from_secs(15);

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
        class: &'static str,
        /// A sentence for the owner of the destination. It reveals nothing about our network.
        message: String,
    },
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Failure { class: failure.class(), message: failure.to_string() }
    }
}

/// The parts of a sender that tests replace.
pub struct Parts {
    /// The certificate authorities that it trusts.
    pub tls: ClientConfig,
    /// The resolver of names.
    pub lookup: Lookup,
    /// Time limit of a request, from resolving the name to the last byte of the answer.
    pub total: Duration,
}

impl Parts {
    /// The certificate authorities and the resolver of this machine, and 15 seconds.
    ///
    /// A `rustls` crypto provider has to be installed for the process before.
    #[must_use]
    pub fn usual() -> Self {
        Self { tls: clients::trusting_this_machine(), lookup: of_this_machine(), total: TOTAL }
    }
}

/// The sender. A clone shares the rules and the connections, which stay open for a short while.
#[derive(Clone)]
pub struct Http {
    rules: Arc<Rules>,
    operators: Arc<Rules>,
    clients: Arc<Clients>,
    lookup: Lookup,
    total: Duration,
}

impl Http {
    /// A sender under these rules, with the usual [`Parts`].
    ///
    /// A `rustls` crypto provider has to be installed for the process before.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self::with_parts(rules, Parts::usual())
    }

    /// A sender under these rules.
    #[must_use]
    pub fn with_parts(rules: Rules, Parts { tls, lookup, total }: Parts) -> Self {
        let (rules, operators) = (Arc::new(rules), Arc::new(Rules::open()));
        Self { rules, operators, clients: Arc::new(Clients::new(tls)), lookup, total }
    }

    /// Sends once: no redirect is followed, no request is repeated, no proxy is used.
    pub async fn send(&self, request: Request) -> Reply {
        let mut received = None;
        let exchanged = tokio::time::timeout(self.total, self.exchange(request, &mut received)).await;
        match (received, exchanged) {
            (Some(received), _) => received.reply(),
            (None, Ok(Err(failure))) => failure.into(),
            (None, Ok(Ok(()))) => Failure::Reset.into(),
            (None, Err(_)) => Failure::Timeout.into(),
        }
    }

    async fn exchange(&self, request: Request, received: &mut Option<Response>) -> Result<(), Failure> {
        let rules = if request.is_operators { &self.operators } else { &self.rules };
        let target = Target::find(&request.url, rules, &self.lookup).await?;
        let client = self.clients.to(target.addresses)?;
        let builder = match request.method {
            Method::Get => client.get(request.url),
            Method::Post => client.post(request.url).body(request.body),
        };
        let builder = builder.headers(headers(&request.headers)?);
        #[expect(clippy::disallowed_methods, reason = "this is the one place that sends, to addresses checked above")]
        let mut response = builder.send().await.map_err(|error| Failure::of(&error))?;
        let received = received.insert(Response::head(&response));
        while let Ok(Some(chunk)) = response.chunk().await {
            if !received.read(&chunk) {
                break;
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http").field("rules", &self.rules).finish_non_exhaustive()
    }
}

fn headers(list: &[(String, String)]) -> Result<HeaderMap, Failure> {
    let pair = |(name, value): &(String, String)| {
        let name = HeaderName::try_from(name).map_err(|_| Failure::Headers)?;
        let value = HeaderValue::try_from(value).map_err(|_| Failure::Headers)?;
        Ok((name, value))
    };
    list.iter().map(pair).collect()
}
