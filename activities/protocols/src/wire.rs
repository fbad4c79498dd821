//! A message over a protocol other than HTTP and SMTP, and its reply. The scheme of the address names the protocol;
//! `activities::http` contains the transport for it.

use crate::http::Failure;
use domain::AppId;
use std::fmt;
use storage::AttemptClass;
use url::Url;

/// A message to a destination, in the format of its protocol.
#[derive(Clone)]
pub struct Message {
    /// Scheme, host and port of the server. Its path can hold a secret.
    pub address: Url,
    pub payload: Vec<u8>,
    /// The app for which the message is sent; `None` for a message of settle itself. DNS lookups are shared fairly
    /// among apps.
    pub app: Option<AppId>,
}

impl Message {
    /// Assigns the message to an app.
    #[must_use]
    pub fn of(self, app: AppId) -> Self {
        Self {
            app: Some(app),
            ..self
        }
    }
}

impl fmt::Debug for Message {
    /// Shows only scheme and host: path and payload can contain secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.address.host_str().unwrap_or_default();
        f.debug_struct("Message")
            .field("scheme", &self.address.scheme())
            .field("host", &host)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The server responded.
    Answer {
        /// 200 to 299 if the server accepted the message. The protocol defines all other values.
        status: u16,
        text: String,
    },
    Failure {
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
