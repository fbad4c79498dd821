//! Requests and replies as values, and the rules for the URLs of requests. `activities::http` sends the requests.

mod failure;
mod rules;

pub use failure::{BrokenRule, Failure};
pub use rules::{
    Rules, check_addresses, check_operators_addresses, check_url, host_and_port, is_localhost,
};

use domain::AppId;
use storage::AttemptClass;
use url::Url;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

impl Method {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

/// Number of bytes of a reply's body that suffice unless a server is known to send more.
pub const REPLY_BYTES: usize = 64 * 1024;

#[derive(Clone)]
pub struct Request {
    pub method: Method,
    /// The URL. Its path can hold a secret.
    pub url: Url,
    /// Names in lower case, and values.
    pub headers: Vec<(String, String)>,
    /// The body, byte for byte as it is signed; empty for a GET.
    pub body: Vec<u8>,
    /// Maximum number of bytes of the reply's body that are read, such as [`REPLY_BYTES`].
    pub max_reply_bytes: usize,
    /// Whether the operator chose the URL. If so, every address, port and scheme is allowed.
    pub is_operator_url: bool,
    /// The app for which the request is sent; `None` for a request of settle itself. DNS lookups are shared fairly
    /// among apps.
    pub app: Option<AppId>,
}

impl Request {
    /// Assigns the request to an app.
    #[must_use]
    pub fn of(self, app: AppId) -> Self {
        Self {
            app: Some(app),
            ..self
        }
    }
}

impl std::fmt::Debug for Request {
    /// Shows only the method and the host: path, headers and body can contain secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let host = self.url.host_str().unwrap_or_default();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &host)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The server responded. If the body broke off, the part that arrived is included.
    Answer {
        status: u16,
        /// The `Retry-After` header, unparsed.
        retry_after: Option<String>,
        /// The headers `content-type`, `date`, `server`, `retry-after`, `via`, `x-request-id` and `cf-ray`, if present.
        /// Names are in lower case; values are cut off after 256 characters.
        headers: Vec<(String, String)>,
        /// The beginning of the body, as much as the request wanted.
        body: String,
    },
    Failure {
        /// `forbidden_address`, `dns`, `connect`, `tls`, `timeout`, `reset`, `unreadable` or `invalid_url`. A name that
        /// resolves to a forbidden address has the class `dns`, like a name that does not exist, so that the local
        /// network cannot be probed for names.
        class: AttemptClass,
        /// A sentence for the people who maintain the destination. It reveals nothing about our network.
        message: String,
    },
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Failure {
            class: failure.class(),
            message: failure.to_string(),
        }
    }
}
