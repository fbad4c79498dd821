//! The sender and recipients of an email, and how it is passed to the server.

use lettre::Address;
use secrecy::SecretString;
use std::fmt;

/// How the connection to an SMTP server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// TLS from the first byte.
    Tls,
    /// TLS by the command STARTTLS, before anything else is sent.
    StartTls,
    /// Plain text.
    Plain,
}

/// A user of an SMTP server. Debug output hides the password.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: SecretString,
}

/// The sender and the recipients of an email, and how it is passed to the server.
#[derive(Clone)]
pub struct Envelope {
    pub from: Address,
    pub to: Vec<Address>,
    /// Whether no recipient receives the email as long as the server postpones one of them (4xx).
    pub awaits_all: bool,
    pub security: Security,
    /// `None` for a server that requires no login.
    pub login: Option<Login>,
}

impl fmt::Debug for Envelope {
    /// Shows the number of recipients and the security, but no address and no login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("to", &self.to.len())
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}
