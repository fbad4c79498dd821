//! Why a message is not accepted. A variant decides the answer; the reasons are stable, since they are
//! a metric's label and an answer's body.

/// A message that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It can never be valid.
    #[error("{0}")]
    Malformed(&'static str),
    /// Its topic may not send here.
    #[error("{0}")]
    Topic(&'static str),
    /// The ingress key is unknown.
    #[error("unknown ingress key")]
    UnknownIngress,
    /// It is larger than any message can be.
    #[error("body larger than 2 MiB")]
    TooLarge,
    /// A fault of settle, or a temporary one of SNS, which repeats the message.
    #[error("{0}")]
    Unavailable(&'static str),
}

impl Refusal {
    /// The answer's status. SNS drops a message for ever on 4xx and repeats it on 503.
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

    /// The stable reason, as a metric's label.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Malformed(reason) | Self::Topic(reason) | Self::Unavailable(reason) => reason,
            Self::UnknownIngress => "unknown ingress key",
            Self::TooLarge => "body larger than 2 MiB",
        }
    }
}
