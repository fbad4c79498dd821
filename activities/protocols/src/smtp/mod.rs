//! Mails as values: the operator's server, and what is handed to it. `activities::http` hands it over.

mod envelope;
mod server;

pub use envelope::{ACCEPTED, CLOSING, COMMAND, Envelope, Login, OF_MAILBOX, Security};
pub use server::{Server, is_plain, is_sendable};
