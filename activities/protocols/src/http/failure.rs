//! The reasons why a request got no response. Their messages reveal nothing about the local network.

use storage::AttemptClass;

/// The setting with the networks that requests may go to although they are not public.
const NETWORKS: &str = "`destinations.allowed_networks` (SETTLE_DESTINATIONS_ALLOWED_NETWORKS)";
/// The setting that allows plain `http`.
const PLAIN: &str = "`destinations.allow_http` (SETTLE_DESTINATIONS_ALLOW_HTTP)";

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The URL has no host, or carries a user name or password.
    #[error("the URL has no host, or carries a user name or password, which is not allowed")]
    Url,
    #[error("the URL's scheme is not allowed: use https; for development, http needs {PLAIN}")]
    Scheme,
    #[error(
        "the URL's port is not allowed: use 443 or 8443; 80 needs {PLAIN}, any other a network of {NETWORKS}"
    )]
    Port,
    /// No transport has the scheme of a message's address.
    #[error("the address's scheme is that of no protocol that this process knows")]
    Transport,
    #[error("a header of the request cannot be sent")]
    Headers,
    /// The host is a forbidden address, such as one of a private network.
    #[error(
        "the host's address is neither public nor in {NETWORKS}, or `destinations.denied_networks` names it"
    )]
    Forbidden,
    /// The name does not exist, or resolves to a forbidden address.
    #[error("the host's name does not lead to addresses that are public or in {NETWORKS}")]
    Dns,
    #[error("no connection could be made")]
    Connect,
    /// No TLS connection could be made.
    #[error("no TLS connection could be made: check the certificate, its chain and its name")]
    Tls,
    /// The mail server offers no login by a password.
    #[error("the mail server offers no login by PLAIN or LOGIN")]
    Login,
    /// Before TLS the mail server sent more than the reply to a command.
    #[error(
        "the mail server sent something behind its reply before TLS, which an attacker on the network may have added"
    )]
    Injected,
    /// The mail server's reply is too long.
    #[error("a reply of the mail server has a line of more than 1000 bytes, or more than 16 KiB")]
    Reply,
    #[error("no response came in time")]
    Timeout,
    /// The connection ended before an answer came.
    #[error("the connection closed before a response came")]
    Reset,
    /// An answer came over another protocol than the request.
    #[error("a response came, but over another protocol")]
    Protocol,
    /// An answer came, and its head breaks a rule of HTTP/1.1.
    #[error("a response came, but it cannot be read: {0}")]
    Head(BrokenRule),
}

/// Violations of HTTP/1.1 by the head of a response. Fields that browsers tolerate do not count: many, folded or with
/// odd characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenRule {
    #[error("its head has more than 1000 fields or 400 KiB")]
    Size,
    #[error("its first line is not `HTTP/1.1`, a status and a reason")]
    StatusLine,
    #[error("a header field has no name, no colon or a character that is not allowed")]
    Field,
    #[error("its Content-Length is not one number of bytes")]
    Length,
    #[error("its Transfer-Encoding is not `chunked`, or of HTTP/1.0")]
    Encoding,
}

impl Failure {
    /// Returns the class of an attempt that failed for this reason.
    pub const fn class(self) -> AttemptClass {
        match self {
            Self::Url | Self::Scheme | Self::Port | Self::Transport | Self::Headers => {
                AttemptClass::InvalidUrl
            }
            Self::Forbidden => AttemptClass::ForbiddenAddress,
            Self::Dns => AttemptClass::Dns,
            Self::Connect => AttemptClass::Connect,
            Self::Tls | Self::Injected => AttemptClass::Tls,
            Self::Timeout => AttemptClass::Timeout,
            Self::Login => AttemptClass::Forbidden,
            Self::Reset => AttemptClass::Reset,
            Self::Head(_) | Self::Reply | Self::Protocol => AttemptClass::Unreadable,
        }
    }
}
