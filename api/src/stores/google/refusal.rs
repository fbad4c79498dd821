//! Why a push is refused unread, with its stable reason and the status of the answer.
//!
//! Pub/Sub repeats a message after every status but that of success, so a message that can never be right is not
//! refused here: `mapping` stores it as refused, and it is acknowledged.

use crate::stores::ingress::Answer;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushRefusal {
    /// Nothing shows that Google signed the request.
    #[error("{0}")]
    NotGenuine(&'static str),
    /// Google signed the token for another audience or account.
    #[error("{0}")]
    Foreign(&'static str),
    /// A failure of settle, or a setting that is missing or wrong; a repetition may succeed.
    #[error("{0}")]
    TryAgain(&'static str),
}

impl PushRefusal {
    /// Returns the status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::NotGenuine(_) => 401,
            Self::Foreign(_) => 403,
            Self::TryAgain(_) => 503,
        }
    }

    /// Returns the stable reason, as a metric's label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotGenuine(reason) | Self::Foreign(reason) | Self::TryAgain(reason) => reason,
        }
    }
}

impl From<PushRefusal> for Answer {
    fn from(refusal: PushRefusal) -> Self {
        Self {
            status: refusal.status(),
            reason: refusal.reason(),
        }
    }
}
