//! The transports of protocols other than HTTP and SMTP. Each implements one protocol and sends only to checked
//! addresses.

use futures::future::BoxFuture;
use protocols::http::Failure;
use protocols::wire::{Message, Reply};
use std::net::SocketAddr;
use std::sync::OnceLock;

/// Maximum length of a recorded reply in characters; the rest is cut off.
const TEXT_CAP: usize = 4096;

/// The transports of a release.
const OF_RELEASE: [&dyn Transport; 0] = [];

static ALL: OnceLock<Vec<&'static dyn Transport>> = OnceLock::new();

/// Sends messages over one protocol.
pub trait Transport: Send + Sync {
    /// Returns the scheme of the transport's addresses.
    fn scheme(&self) -> &'static str;

    /// Sends a message once, only to these addresses. The caller limits the time.
    fn send<'a>(
        &'a self,
        message: &'a Message,
        addresses: &'a [SocketAddr],
    ) -> BoxFuture<'a, Result<Reply, Failure>>;
}

/// Returns the transports of the release, without those that a program adds.
pub const fn of_release() -> &'static [&'static dyn Transport] {
    &OF_RELEASE
}

/// Adds transports to those of the release. Returns whether they were added; after the first use, none can be.
#[must_use]
pub fn add(more: &[&'static dyn Transport]) -> bool {
    ALL.set(OF_RELEASE.iter().chain(more).copied().collect())
        .is_ok()
}

/// Returns all transports.
pub fn all() -> Vec<&'static dyn Transport> {
    ALL.get_or_init(|| OF_RELEASE.to_vec()).clone()
}

/// Cuts the text of a reply to the recorded length.
pub fn capped(reply: Reply) -> Reply {
    match reply {
        Reply::Answer { status, text } => Reply::Answer {
            status,
            text: text.chars().take(TEXT_CAP).collect(),
        },
        Reply::Failure { class, message } => Reply::Failure {
            class,
            message: message.chars().take(TEXT_CAP).collect(),
        },
    }
}
