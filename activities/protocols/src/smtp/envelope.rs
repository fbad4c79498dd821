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

/// A user of an SMTP server. Debug output shows no password.
#[derive(Debug, Clone)]
pub struct Login {
    pub user: String,
    pub password: SecretString,
}

/// The sender and the recipients of a mail, and how it is handed to the server.
#[derive(Clone)]
pub struct Envelope {
    pub from: Address,
    pub to: Vec<Address>,
    /// Whether no recipient receives the email while one of them may be accepted later (4xx).
    pub awaits_all: bool,
    pub security: Security,
    /// `None` for a server that wants no login.
    pub login: Option<Login>,
}

impl fmt::Debug for Envelope {
    /// Shows no address and no login.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("to", &self.to.len())
            .field("security", &self.security)
            .finish_non_exhaustive()
    }
}
