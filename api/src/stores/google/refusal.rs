//! Why a push is refused before its message is read, with the stable reason and the response's status.
//!
//! Pub/Sub repeats a message after every status except success. So a message that can never be valid is not refused
//! here: `mapping` stores it as refused, and it is acknowledged.

use crate::stores::ingress::Answer;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PushRefusal {
    /// The request has no valid token that Google signed.
    #[error("{0}")]
    NotGenuine(&'static str),
    /// Google signed the token for another audience or account.
    #[error("{0}")]
    Foreign(&'static str),
    /// A failure in settle, or a missing or invalid setting; a later attempt may succeed.
    #[error("{0}")]
    TryAgain(&'static str),
}

impl PushRefusal {
    /// Returns the status of the response.
    pub const fn status(self) -> u16 {
        match self {
            Self::NotGenuine(_) => 401,
            Self::Foreign(_) => 403,
            Self::TryAgain(_) => 503,
        }
    }

    /// Returns the stable reason, used as a metric's label.
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
