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

use clients::Clients;
use protocols::http::{Failure, Method, Reply, Request, Rules};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use response::Response;
use rustls::ClientConfig;
use std::sync::Arc;
use std::time::Duration;
use target::Target;

/// Time limit from resolving the name to the last byte of the answer.
const TOTAL: Duration = Duration::from_secs(15);

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
        let mut response = builder.send().await.map_err(|error| failure::of(&error))?;
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
