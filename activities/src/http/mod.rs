//! The only place that sends a request of ours to an address that somebody else chose.
//!
//! The name is resolved once, every address is judged, and the connection goes to those addresses and to
//! no other. What a destination means by its answer is not judged here.

mod clients;
mod failure;
mod target;

#[cfg(test)]
mod tests;

use clients::Clients;
use failure::Failure;
use ipnet::IpNet;
use reqwest::Response;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use rustls::ClientConfig;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;
use target::Target;
use url::Url;

/// From the first look at the name to the last byte of the answer.
const TOTAL: Duration = Duration::from_secs(15);
/// How much of an answer's body is read; the rest is dropped.
const BODY_CAP: usize = 64 * 1024;

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// To be told something.
    Get,
    /// To be given something.
    Post,
}

/// One request.
#[derive(Clone)]
pub struct Request {
    /// What is asked.
    pub method: Method,
    /// Where to. Its path can hold a secret.
    pub url: Url,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The bytes, as they were signed; a GET has none.
    pub body: Vec<u8>,
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
    /// Networks that may be reached although they are not public, on any port.
    pub allowed_networks: Vec<IpNet>,
    /// Whether plain `http` and any port are allowed.
    pub allow_http: bool,
}

impl Rules {
    /// For an address that the operator chose: any network, any port, plain `http` too.
    #[must_use]
    pub fn open() -> Self {
        let all = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let allowed_networks = all.into_iter().filter_map(|ip| IpNet::new(ip, 0).ok()).collect();
        Self { allowed_networks, allow_http: true }
    }
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The other side answered. A body that broke off is given as far as it came.
    Answer {
        /// The status code.
        status: u16,
        /// The `Retry-After` header, as it was sent.
        retry_after: Option<String>,
        /// At most the first 64 KiB of the body.
        body: String,
    },
    /// There was no answer.
    Failure {
        /// `forbidden_address`, `dns`, `connect`, `tls`, `timeout`, `reset` or `invalid_url`.
        class: &'static str,
        /// A sentence for the owner of the destination. It tells nothing about our network.
        message: String,
    },
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Failure { class: failure.class(), message: failure.to_string() }
    }
}

/// The sender. A clone shares the rules and the connections, which are kept for a short while.
#[derive(Clone)]
pub struct Http {
    rules: Arc<Rules>,
    clients: Arc<Clients>,
    total: Duration,
}

impl Http {
    /// A sender under these rules, which trusts the certificate authorities of this machine.
    ///
    /// A `rustls` crypto provider has to be installed for the process before.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self::with_tls(rules, clients::trusting_this_machine())
    }

    fn with_tls(rules: Rules, tls: ClientConfig) -> Self {
        Self { rules: Arc::new(rules), clients: Arc::new(Clients::new(tls)), total: TOTAL }
    }

    /// Sends once: no redirect is followed, nothing is repeated, no proxy is asked.
    pub async fn send(&self, request: Request) -> Reply {
        let mut heard = None;
        let ended = tokio::time::timeout(self.total, self.exchange(request, &mut heard)).await;
        match (heard, ended) {
            (Some(heard), _) => heard.reply(),
            (None, Ok(Err(failure))) => failure.into(),
            (None, Ok(Ok(()))) => Failure::Reset.into(),
            (None, Err(_)) => Failure::Timeout.into(),
        }
    }

    async fn exchange(&self, request: Request, heard: &mut Option<Heard>) -> Result<(), Failure> {
        let target = Target::find(&request.url, &self.rules).await?;
        let client = self.clients.to(target.addresses)?;
        let asked = match request.method {
            Method::Get => client.get(request.url),
            Method::Post => client.post(request.url).body(request.body),
        };
        let asked = asked.headers(headers(&request.headers)?);
        #[expect(clippy::disallowed_methods, reason = "this is the one place that sends, to addresses judged above")]
        let mut response = asked.send().await.map_err(|error| Failure::of(&error))?;
        let heard = heard.insert(Heard::head(&response));
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = BODY_CAP.saturating_sub(heard.body.len());
            heard.body.extend(chunk.iter().take(room));
            if heard.body.len() >= BODY_CAP {
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

/// As much of an answer as came.
struct Heard {
    status: u16,
    retry_after: Option<String>,
    body: Vec<u8>,
}

impl Heard {
    fn head(response: &Response) -> Self {
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        Self { status: response.status().as_u16(), retry_after: retry_after.map(str::to_owned), body: Vec::new() }
    }

    fn reply(self) -> Reply {
        let body = String::from_utf8_lossy(&self.body).into_owned();
        Reply::Answer { status: self.status, retry_after: self.retry_after, body }
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
