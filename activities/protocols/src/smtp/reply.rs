//! The reply of an SMTP server to an email.

use crate::http::Failure;
use storage::AttemptClass;

/// The code with which a server closes the connection, in reply to any command (RFC 5321, section 3.8).
pub const CLOSING: u16 = 421;
/// The beginning of the enhanced status codes about a mailbox, for example a full one (RFC 3463, section 3.3).
pub const OF_MAILBOX: &str = "4.2.";
/// The name of the reply's header that holds the command, in the record of an attempt.
pub const COMMAND: &str = "smtp-command";
/// The name of the header that holds the number of accepted recipients, in the record of an attempt.
const ACCEPTED: &str = "smtp-accepted";

/// Command that the server replied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// The connection itself: the greeting, and EHLO.
    Connect,
    Auth,
    /// `MAIL FROM`: the sender.
    Mail,
    /// `RCPT TO`: a recipient.
    Rcpt,
    /// `DATA`: the message.
    Data,
}

impl Command {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Auth => "AUTH",
            Self::Mail => "MAIL",
            Self::Rcpt => "RCPT",
            Self::Data => "DATA",
        }
    }
}

/// The result of sending an email.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The server responded.
    Answer {
        /// The command that the reply answers: the last one, or the one that was refused.
        command: Command,
        code: u16,
        /// The number of other recipients of the same email that the server accepted, in a reply to [`Command::Rcpt`].
        accepted: Option<usize>,
        /// The server's text, and the recipients that it refused.
        text: String,
    },
    Failure {
        class: AttemptClass,
        /// A sentence for the people who maintain the destination. It reveals nothing about our network.
        message: String,
    },
}

impl Reply {
    /// Returns the command and the number of accepted recipients as headers, which the record of an attempt holds.
    pub fn headers(&self) -> Vec<(String, String)> {
        let Self::Answer {
            command, accepted, ..
        } = self
        else {
            return Vec::new();
        };
        let command = (COMMAND.to_owned(), command.as_str().to_owned());
        let accepted = accepted.map(|number| (ACCEPTED.to_owned(), number.to_string()));
        [command].into_iter().chain(accepted).collect()
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        Self::Failure {
            class: failure.class(),
            message: failure.to_string(),
        }
    }
}
