//! Sends requests, emails and messages to addresses that admins, stores or notifications chose. No other module may
//! send to such addresses.
//!
//! The host name is resolved once, and every address is checked. A single forbidden address, such as one of a private
//! network, refuses the request. The connection goes to one of the checked addresses. The package `protocols`
//! interprets the response.

mod clients;
mod failure;
mod lookup;
mod mail;
mod resolved;
mod response;
mod slots;
mod smtp;
mod transport;

#[cfg(test)]
mod tests;

pub use lookup::{Lookup, of_this_machine};
pub use slots::LookupRequest;
pub use transport::{Transport, add, of_release};

use clients::Clients;
use protocols::http::{Failure, Method, Reply, Request, Rules};
use protocols::outgoing::{Incoming, Outgoing};
use protocols::smtp::Mail;
use protocols::wire::{self, Message};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use resolved::Resolved;
use response::Response;
use rustls::ClientConfig;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
use std::time::Duration;

/// Time limit from resolving the name to the last byte of the response.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(15);

/// The parts of a sender that tests replace.
pub struct Parts {
    /// The TLS settings, with the trusted certificate authorities.
    pub tls: ClientConfig,
    /// The trusted certificate authorities of mail servers; if `None`, those of `tls`.
    pub mail_roots: Option<Vec<CertificateDer<'static>>>,
    pub lookup: Lookup,
    /// The transports of protocols other than HTTP and SMTP.
    pub transports: Vec<&'static dyn Transport>,
    /// Time limit of a request, from resolving the name to the last byte of the response.
    pub total: Duration,
}

impl Parts {
    /// Returns the certificate authorities and the resolver of this machine, all transports, and a time limit of 15
    /// seconds.
    ///
    /// The process must have installed a `rustls` crypto provider before.
    pub fn usual() -> Self {
        Self {
            tls: clients::system_tls(),
            mail_roots: None,
            lookup: of_this_machine(),
            transports: transport::all(),
            total: TOTAL_TIMEOUT,
        }
    }
}

/// The sender. Clones share the rules and the open connections.
#[derive(Clone)]
pub struct Http {
    rules: Arc<Rules>,
    /// The rules for requests with `is_operator_url`, which allow every address.
    operators: Arc<Rules>,
    clients: Arc<Clients>,
    /// TLS settings for SMTP.
    mail_tls: Arc<ClientConfig>,
    lookup: Lookup,
    transports: Arc<[&'static dyn Transport]>,
    total: Duration,
}

impl Http {
    /// Creates a sender with these rules and the certificate authorities and resolver of this machine.
    ///
    /// The process must have installed a `rustls` crypto provider before.
    pub fn new(rules: Rules) -> Self {
        Self::with_parts(rules, Parts::usual())
    }

    /// Creates a sender with these rules and parts.
    pub fn with_parts(
        rules: Rules,
        Parts {
            tls,
            mail_roots,
            lookup,
            transports,
            total,
        }: Parts,
    ) -> Self {
        let (rules, operators) = (Arc::new(rules), Arc::new(Rules::open()));
        let mail_tls = Arc::new(mail_roots.map_or_else(|| tls.clone(), mail::trusting));
        Self {
            rules,
            operators,
            clients: Arc::new(Clients::new(tls)),
            mail_tls,
            lookup,
            transports: transports.into(),
            total,
        }
    }

    /// Sends once, over the protocol of `outgoing`.
    pub async fn deliver(&self, outgoing: Outgoing) -> Incoming {
        match outgoing {
            Outgoing::Http(request) => Incoming::Http(self.send(request).await),
            Outgoing::Smtp(mail) => Incoming::Smtp(self.hand_over(&mail).await),
            Outgoing::Wire(message) => Incoming::Wire(self.transmit(&message).await),
        }
    }

    /// Sends the request once, without following redirects, repeating anything or using a proxy. Once the status has
    /// arrived, the result is a response even if the body ends early.
    pub async fn send(&self, request: Request) -> Reply {
        let mut received = None;
        let exchanged =
            tokio::time::timeout(self.total, self.exchange(request, &mut received)).await;
        match (received, exchanged) {
            (Some(received), _) => received.reply(),
            (None, Ok(Err(failure))) => failure.into(),
            (None, Ok(Ok(()))) => Failure::Reset.into(),
            (None, Err(_)) => Failure::Timeout.into(),
        }
    }

    /// Hands an email to its server. The operator chose the server, so every address that is not denied is allowed.
    async fn hand_over(&self, mail: &Mail) -> protocols::smtp::Reply {
        let mut received = None;
        let exchange = async {
            let resolved = Resolved::of_operator(&mail.server, &self.rules, &self.lookup).await?;
            let host = mail
                .server
                .host_str()
                .unwrap_or_default()
                .trim_matches(['[', ']']);
            let server = smtp::Server {
                host,
                addresses: &resolved.addresses,
            };
            mail::send(server, mail, &self.mail_tls, &mut received).await
        };
        let exchanged = tokio::time::timeout(self.total, exchange).await;
        match (received, exchanged) {
            (Some(reply), _) => reply,
            (None, Ok(Err(failure))) => failure.into(),
            (None, Ok(Ok(()))) => Failure::Reset.into(),
            (None, Err(_)) => Failure::Timeout.into(),
        }
    }

    /// Sends a message over the transport for its scheme, under the same rules as a request.
    async fn transmit(&self, message: &Message) -> wire::Reply {
        let scheme = message.address.scheme();
        let exchange = async {
            let transport = self.transports.iter().find(|one| one.scheme() == scheme);
            let transport = transport.ok_or(Failure::Transport)?;
            let resolved =
                Resolved::of_message(&message.address, message.app, &self.rules, &self.lookup);
            transport.send(message, &resolved.await?.addresses).await
        };
        let exchanged = tokio::time::timeout(self.total, exchange).await;
        let reply = exchanged.unwrap_or(Err(Failure::Timeout));
        reply.map_or_else(wire::Reply::from, transport::capped)
    }

    async fn exchange(
        &self,
        request: Request,
        received: &mut Option<Response>,
    ) -> Result<(), Failure> {
        let rules = if request.is_operator_url {
            &self.operators
        } else {
            &self.rules
        };
        let resolved = Resolved::find(&request.url, request.app, rules, &self.lookup).await?;
        let client = self.clients.to(resolved.addresses)?;
        let builder = match request.method {
            Method::Get => client.get(request.url),
            Method::Post => client.post(request.url).body(request.body),
        };
        let builder = builder.headers(headers(&request.headers)?);
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place that sends, to addresses checked above"
        )]
        let mut response = builder.send().await.map_err(|error| failure::of(&error))?;
        let received = received.insert(Response::head(&response, request.max_reply_bytes));
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
        f.debug_struct("Http")
            .field("rules", &self.rules)
            .finish_non_exhaustive()
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
