//! Why a request is refused before its message is stored, with the stable reason and the response's status.
//!
//! Apple repeats a notification about production five times after every status except success, for up to six and a half
//! days, and never one about the sandbox. So what Apple signed is not refused here, even if this platform cannot accept
//! it: `mapping` stores it as refused, and it is answered with success.

use crate::stores::ingress::Answer;
use protocols::stores::apple::jws::JwsRefusal;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotificationRefusal {
    /// The message has no payload that Apple signed for the App Store.
    #[error("{0}")]
    NotGenuine(&'static str),
    /// The body exceeds its size limit.
    #[error("{TOO_LARGE}")]
    TooLarge,
    /// A failure in settle; a later attempt may succeed.
    #[error("{0}")]
    TryAgain(&'static str),
}

const TOO_LARGE: &str = "body larger than 64 KiB";

impl NotificationRefusal {
    /// Returns the status of the response.
    pub const fn status(self) -> u16 {
        match self {
            Self::NotGenuine(_) => 403,
            Self::TooLarge => 413,
            Self::TryAgain(_) => 503,
        }
    }

    /// Returns the stable reason, used as a metric's label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotGenuine(reason) | Self::TryAgain(reason) => reason,
            Self::TooLarge => TOO_LARGE,
        }
    }
}

impl From<JwsRefusal> for NotificationRefusal {
    fn from(refusal: JwsRefusal) -> Self {
        Self::NotGenuine(refusal.reason())
    }
}

impl From<NotificationRefusal> for Answer {
    fn from(refusal: NotificationRefusal) -> Self {
        Self {
            status: refusal.status(),
            reason: refusal.reason(),
        }
    }
}
