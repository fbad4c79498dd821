//! Emails as values: the operator's server, the emails that are passed to it, and its replies. `activities::http` sends
//! the emails.

mod envelope;
mod mail;
mod reply;
mod server;

pub use envelope::{Envelope, Login, Security};
pub use mail::Mail;
pub use reply::{CLOSING, COMMAND, Command, OF_MAILBOX, Reply};
pub use server::{Server, is_plain, is_sendable};
