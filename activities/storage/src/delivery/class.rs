//! The class of an attempt: its result. The names are stored and shown, so they never change.

use db::statement::stored;

stored! {
    /// The result of an attempt for one event.
    pub enum AttemptClass {
        Success = "success",
        Redirect = "redirect",
        /// The destination responded with 410: it wants no more events.
        Gone = "gone",
        /// The destination responded with a status from 400 to 499 that does not refuse the event.
        ClientError = "client_error",
        /// The destination responded with a status from 500 to 599.
        ServerError = "server_error",
        UnexpectedStatus = "unexpected_status",
        /// The destination responded, but the response or its body cannot be read.
        Unreadable = "unreadable",
        /// The destination counted fewer events than the request contained.
        TooFew = "too_few",
        /// The destination does not know the API key.
        InvalidApiKey = "invalid_api_key",
        /// The URL has another path, or the request's body was lost on its way.
        Misdirected = "misdirected",
        /// The destination cannot read the request: a defect of settle.
        Defect = "defect",
        Refused = "refused",
        /// The destination refused another event of the same request.
        NotTaken = "not_taken",
        /// The destination accepts no events of this user.
        Silenced = "silenced",
        /// The user has exhausted a daily quota.
        Quota = "quota",
        /// The destination currently accepts no more events.
        Throttled = "throttled",
        Forbidden = "forbidden",
        TooLarge = "too_large",
        /// Nothing was sent: the event is sent in a separate request.
        Postponed = "postponed",
        /// Nothing was sent: the URL or a header is not valid.
        InvalidUrl = "invalid_url",
        /// Nothing was sent: the host has a forbidden address, such as one of a private network.
        ForbiddenAddress = "forbidden_address",
        /// The host name could not be resolved.
        Dns = "dns",
        Connect = "connect",
        /// No TLS connection could be made.
        Tls = "tls",
        Timeout = "timeout",
        /// The connection ended before a response was received.
        Reset = "reset",
        /// Nothing was sent: no request can be built with the destination's settings.
        InvalidSettings = "invalid_settings",
        /// Nothing was sent: the lease had expired, or could expire during the request.
        Late = "late",
        /// Nothing was sent: the event is so old that the destination could count a repetition twice.
        TooLate = "too_late",
        /// Nothing was sent: the settings have no API key for the event.
        NoKey = "no_key",
    }
}

/// Where the cause of a failing delivery can be repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// At the destination, by the team that runs it.
    AtDestination,
    /// In the settings of the destination or of settle, by the operator.
    InSettle,
}

impl AttemptClass {
    /// Returns where the cause must be repaired before the same request can succeed. `None` if waiting can help, as for
    /// a destination that is unreachable or busy, and for the classes that end a delivery.
    pub const fn repair(self) -> Option<Repair> {
        match self {
            Self::Redirect | Self::Gone | Self::Refused => Some(Repair::AtDestination),
            Self::InvalidApiKey
            | Self::Misdirected
            | Self::Forbidden
            | Self::InvalidUrl
            | Self::ForbiddenAddress
            | Self::InvalidSettings => Some(Repair::InSettle),
            // The first four end the delivery, except that a large request with several events is sent again in halves.
            Self::Defect
            | Self::TooLate
            | Self::NoKey
            | Self::TooLarge
            | Self::Success
            | Self::ClientError
            | Self::ServerError
            | Self::UnexpectedStatus
            | Self::Unreadable
            | Self::TooFew
            | Self::NotTaken
            | Self::Silenced
            | Self::Quota
            | Self::Throttled
            | Self::Postponed
            | Self::Dns
            | Self::Connect
            | Self::Tls
            | Self::Timeout
            | Self::Reset
            | Self::Late => None,
        }
    }
}
