//! The class of an attempt: how it went. The names are stored and shown, so they never change.

use crate::db::statement::stored;

stored! {
    /// How an attempt went for one event.
    pub enum AttemptClass {
        Success = "success",
        Redirect = "redirect",
        /// It answered 410: it wants no more events.
        Gone = "gone",
        /// It answered with a status from 400 to 499 that does not refuse the event.
        ClientError = "client_error",
        /// It answered with a status from 500 to 599.
        ServerError = "server_error",
        UnexpectedStatus = "unexpected_status",
        /// It answered 200, but the body cannot be read.
        Unreadable = "unreadable",
        /// It counted fewer events than the request held.
        TooFew = "too_few",
        /// It does not know the API key.
        InvalidApiKey = "invalid_api_key",
        /// The URL has another path, or the request's body was lost on its way.
        Misdirected = "misdirected",
        /// It cannot read the request: a defect of settle.
        Defect = "defect",
        Refused = "refused",
        /// It refused another event of the same request.
        NotTaken = "not_taken",
        /// It accepts no events of this user.
        Silenced = "silenced",
        /// The user has exhausted a daily quota.
        Quota = "quota",
        /// It accepts no more events just now.
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
        /// The connection ended before an answer came.
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

impl AttemptClass {
    /// Whether the same request would fail again, until a person changes the destination, its settings or the event. A
    /// destination that is unreachable or busy is no such case.
    pub const fn is_lasting(self) -> bool {
        match self {
            Self::Redirect
            | Self::Gone
            | Self::InvalidApiKey
            | Self::Misdirected
            | Self::Defect
            | Self::Refused
            | Self::Forbidden
            | Self::TooLarge
            | Self::InvalidUrl
            | Self::ForbiddenAddress
            | Self::InvalidSettings
            | Self::TooLate
            | Self::NoKey => true,
            Self::Success
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
            | Self::Late => false,
        }
    }
}
