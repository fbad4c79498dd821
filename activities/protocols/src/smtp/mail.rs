//! An email to pass to an SMTP server.

use super::envelope::Envelope;
use std::fmt;
use url::Url;

/// An email for the operator's server.
#[derive(Clone)]
pub struct Mail {
    /// `smtp://` or `smtps://` with host and port.
    pub server: Url,
    pub envelope: Envelope,
    /// The message, with its headers.
    pub message: Vec<u8>,
}

impl fmt::Debug for Mail {
    /// Shows only the host and the envelope: the message is about customers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.server.host_str().unwrap_or_default();
        f.debug_struct("Mail")
            .field("host", &host)
            .field("envelope", &self.envelope)
            .finish_non_exhaustive()
    }
}
