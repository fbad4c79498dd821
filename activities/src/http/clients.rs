//! HTTP clients, each pinned to one set of addresses, to which it connects for any host name.
//!
//! An idle connection is reused only by a request whose own lookup returned the same addresses, so no request skips the
//! check of its addresses.

use protocols::http::Failure;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, redirect, retry};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::ConfigVerifierExt;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept: less than the keep-alive time of common servers, so that they rarely close it
/// first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const MAX_IDLE_CONNECTIONS: usize = 16;
/// Maximum number of header fields of a response; [`BrokenRule::Size`](protocols::http::BrokenRule::Size) states it.
const MAX_FIELDS: usize = 1000;
/// Maximum number of cached clients, one per set of addresses.
const MAX_CLIENTS: usize = 512;

/// The cached clients by their addresses.
pub struct Clients {
    tls: ClientConfig,
    cached: Mutex<HashMap<Vec<SocketAddr>, Client>>,
}

impl Clients {
    pub fn new(tls: ClientConfig) -> Self {
        Self {
            tls,
            cached: Mutex::default(),
        }
    }

    /// Returns a client that connects only to these addresses.
    pub fn to(&self, mut addresses: Vec<SocketAddr>) -> Result<Client, Failure> {
        addresses.sort_unstable();
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = cached.get(&addresses) {
            return Ok(client.clone());
        }
        let client = self.build(addresses.clone())?;
        if cached.len() >= MAX_CLIENTS {
            // A new client is cheap, since all clients share the trusted certificates.
            cached.clear();
        }
        cached.insert(addresses, client.clone());
        Ok(client)
    }

    fn build(&self, addresses: Vec<SocketAddr>) -> Result<Client, Failure> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one sender's clients are made here"
        )]
        let client = Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .dns_resolver(Pinned(addresses))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            .referer(false)
            .http1_only()
            // Parses responses as leniently as browsers and curl: an invalid header field is no reason to send the
            // request again.
            .http1_max_headers(MAX_FIELDS)
            .http1_ignore_invalid_headers_in_responses(true)
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS);
        client.build().map_err(|_| Failure::Connect)
    }
}

/// Returns TLS settings with the certificate authorities of this machine. If there are none, every certificate is
/// refused.
pub fn system_tls() -> ClientConfig {
    ClientConfig::with_platform_verifier().unwrap_or_else(|error| {
        tracing::error!(%error, "no certificate authorities were found: no HTTPS destination can be reached");
        ClientConfig::builder().with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    })
}

/// A resolver that returns the same addresses for every name.
struct Pinned(Vec<SocketAddr>);

impl Resolve for Pinned {
    fn resolve(&self, _name: Name) -> Resolving {
        let addresses: Addrs = Box::new(self.0.clone().into_iter());
        Box::pin(std::future::ready(Ok(addresses)))
    }
}
