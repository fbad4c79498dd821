//! The reply of an SMTP server to a mail.

use crate::http::Failure;
use storage::AttemptClass;

/// The code of a server that closes the connection, in reply to any command (RFC 5321, section 3.8).
pub const CLOSING: u16 = 421;
/// The beginning of the enhanced status codes of a mailbox, such as a full one (RFC 3463, section 3.3).
pub const OF_MAILBOX: &str = "4.2.";
/// The name under which the record of an attempt has the command, among the headers of the reply.
pub const COMMAND: &str = "smtp-command";
/// The name under which the record has the number of accepted recipients.
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
    /// The server answered.
    Answer {
        /// The command to which this is the answer: the last one, or the one that was refused.
        command: Command,
        code: u16,
        /// The number of other recipients that the server accepted in the same mail, in an answer to [`Command::Rcpt`].
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
    /// Command and number of accepted recipients, as the record of an attempt has them: as headers.
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
