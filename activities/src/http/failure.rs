//! Why there is no answer, in short messages that reveal nothing about our network.

use std::error::Error;
use std::io;

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    #[error("the URL has no host, or carries a user name or password, which is not allowed")]
    Url,
    #[error("the URL's scheme is not allowed: use https")]
    Scheme,
    #[error("the URL's port is not allowed: use 443 or 8443 (80 where plain http is allowed)")]
    Port,
    #[error("a header of the request cannot be sent")]
    Headers,
    #[error("the host is not a public address, which is not allowed")]
    Forbidden,
    #[error("the host's name does not lead to public addresses")]
    Dns,
    #[error("no connection could be made")]
    Connect,
    #[error("no TLS connection could be made: check the certificate, its chain and its name")]
    Tls,
    #[error("no answer came in time")]
    Timeout,
    #[error("the connection ended before an answer came")]
    Reset,
}

impl Failure {
    /// Its stable name.
    pub const fn class(self) -> &'static str {
        match self {
            Self::Url | Self::Scheme | Self::Port | Self::Headers => "invalid_url",
            Self::Forbidden => "forbidden_address",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Reset => "reset",
        }
    }

    /// The failure behind a sender's error.
    pub fn of(error: &reqwest::Error) -> Self {
        if is_tls(error) {
            Self::Tls
        } else if error.is_timeout() {
            Self::Timeout
        } else if error.is_connect() {
            Self::Connect
        } else {
            Self::Reset
        }
    }
}

/// Whether rustls is somewhere among the causes. An `io::Error` does not name what it wraps as its source.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}
