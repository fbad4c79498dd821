//! Why a message is refused. The variant decides the status of the response. The reason is the response's text and a
//! metric's label, so it is stable.

use crate::stores::recipient::{MISSING_KEY, NoRecipient, UNKNOWN_KEY};

/// Why a message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The message can never be accepted, because a field, the certificate or the signature is invalid.
    #[error("{0}")]
    Invalid(&'static str),
    /// The topic may not send to this platform.
    #[error("{0}")]
    TopicNotAllowed(&'static str),
    /// No platform has this ingress key.
    #[error("{UNKNOWN_KEY}")]
    UnknownIngress,
    /// No platform was found, and this process lacks one of the keys with which ingress keys are hashed.
    #[error("{MISSING_KEY}")]
    MissingKey,
    /// The body exceeds its size limit.
    #[error("{TOO_LARGE}")]
    TooLarge,
    /// A temporary failure of settle or SNS; SNS repeats the message.
    #[error("{0}")]
    TryAgain(&'static str),
}

const TOO_LARGE: &str = "body larger than 2 MiB";

impl From<NoRecipient> for Refusal {
    fn from(missing: NoRecipient) -> Self {
        match missing {
            NoRecipient::UnknownKey => Self::UnknownIngress,
            NoRecipient::MissingKey => Self::MissingKey,
            NoRecipient::Unavailable(reason) => Self::TryAgain(reason),
        }
    }
}

impl Refusal {
    /// Returns the status of the response. SNS drops a message permanently on 4xx and repeats it on 503.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid(_) => 400,
            Self::TopicNotAllowed(_) => 403,
            Self::UnknownIngress => 404,
            Self::TooLarge => 413,
            Self::MissingKey | Self::TryAgain(_) => 503,
        }
    }

    /// Returns the stable reason, used as a metric's label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Invalid(reason) | Self::TopicNotAllowed(reason) | Self::TryAgain(reason) => {
                reason
            }
            Self::UnknownIngress => UNKNOWN_KEY,
            Self::MissingKey => MISSING_KEY,
            Self::TooLarge => TOO_LARGE,
        }
    }
}
