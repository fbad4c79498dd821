//! The class of an attempt: how it went, by a name that stays.

use crate::db::statement::stored;

stored! {
    /// How an attempt went for one event.
    pub enum AttemptClass {
        /// The destination took it.
        Success = "success",
        /// It answered with a redirect.
        Redirect = "redirect",
        /// It wants no events any more.
        Gone = "gone",
        /// It answered with a status from 400 to 499.
        ClientError = "client_error",
        /// It answered with a status from 500 to 599.
        ServerError = "server_error",
        /// It answered with another status.
        UnexpectedStatus = "unexpected_status",
        /// Its answer is not of its kind.
        Unreadable = "unreadable",
        /// It counted fewer events than the request held.
        TooFew = "too_few",
        /// It does not know the key.
        InvalidApiKey = "invalid_api_key",
        /// The request did not reach it as it was sent.
        Misdirected = "misdirected",
        /// It cannot read our request.
        Defect = "defect",
        /// It refused this event.
        Refused = "refused",
        /// It refused another event of the same request.
        NotTaken = "not_taken",
        /// It takes nothing of this customer.
        Silenced = "silenced",
        /// The customer has used up a quota.
        Quota = "quota",
        /// It takes no more events just now.
        Throttled = "throttled",
        /// It does not let us in.
        Forbidden = "forbidden",
        /// The request was too large.
        TooLarge = "too_large",
        /// It was left to a request of its own.
        Postponed = "postponed",
        /// The address is not one to send to.
        InvalidUrl = "invalid_url",
        /// The address is not public.
        ForbiddenAddress = "forbidden_address",
        /// The name leads nowhere.
        Dns = "dns",
        /// No connection could be made.
        Connect = "connect",
        /// No TLS connection could be made.
        Tls = "tls",
        /// No answer came in time.
        Timeout = "timeout",
        /// The connection ended before an answer came.
        Reset = "reset",
        /// Nothing was sent: the settings make no request.
        InvalidSettings = "invalid_settings",
        /// Nothing was sent: its turn came too late in the lease.
        Late = "late",
        /// Nothing was sent: a repetition could be counted twice.
        TooLate = "too_late",
        /// Nothing was sent: there is no key for it.
        NoKey = "no_key",
    }
}
