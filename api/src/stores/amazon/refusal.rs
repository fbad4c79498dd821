//! Why a message is not accepted. A variant is what the store is told; the words are stable, since
//! they are a metric's label and an answer's body.

/// A message that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It can never be right.
    #[error("{0}")]
    Malformed(&'static str),
    /// Its topic may not send here.
    #[error("{0}")]
    Topic(&'static str),
    /// Nobody has this ingress key.
    #[error("unknown ingress key")]
    UnknownIngress,
    /// It is larger than any message can be.
    #[error("body larger than 2 MiB")]
    TooLarge,
    /// It is our fault, or passing trouble of theirs: SNS shall come again.
    #[error("{0}")]
    Unavailable(&'static str),
}

impl Refusal {
    /// The answer's status. SNS drops a message for ever on 4xx and comes again on 503.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Topic(_) => 403,
            Self::UnknownIngress => 404,
            Self::TooLarge => 413,
            Self::Unavailable(_) => 503,
        }
    }

    /// The stable words, as a metric's label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed(reason) | Self::Topic(reason) | Self::Unavailable(reason) => reason,
            Self::UnknownIngress => "unknown ingress key",
            Self::TooLarge => "body larger than 2 MiB",
        }
    }
}
