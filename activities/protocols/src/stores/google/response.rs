//! Interprets replies of the Google Play Developer API. Texts from the API are compared with fixed names, and never
//! repeated.

use crate::http::Reply;
use crate::stores::{AccessRefusal, Retry};
use domain::text::readable_json;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Error reasons for throttling, which occur with the status 403 too.
const THROTTLED: [&str; 6] = [
    "rateLimitExceeded",
    "userRateLimitExceeded",
    "quotaExceeded",
    "dailyLimitExceeded",
    "RATE_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
];
/// Error reasons that mean that the API is not enabled in the account's project.
const API_DISABLED: [&str; 2] = ["accessNotConfigured", "SERVICE_DISABLED"];
/// The reason of a 401 for an account without rights. Google's other APIs answer 403 instead.
const NO_RIGHT: &str = "permissionDenied";
/// The reason of a 404 for a package that does not belong to the account's developer.
const NO_APP: &str = "applicationNotFound";

/// The class of a response with the status 200 that cannot be parsed.
pub(super) const UNREADABLE: &str = "unreadable";

/// Why a request returned no resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// The API refuses the id as malformed (HTTP 400).
    Malformed,
    /// The API does not know the id (HTTP 404).
    Unknown,
    /// The API once knew the id (HTTP 410), such as that of a subscription that ended 60 days ago.
    Gone,
    /// Every read for the platform fails until an admin acts.
    Refused(AccessProblem),
    /// The request has to be repeated.
    Retry(Retry),
}

/// Why every read for a platform fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessProblem {
    Credential,
    /// The service account lacks a right.
    Right,
    /// The API is not enabled in the service account's project.
    ApiDisabled,
    /// The service account's developer has no app with the platform's package name.
    App,
}

impl AccessProblem {
    /// Returns the refusal for the platform's operator. Rights and the project's settings can be granted later.
    pub const fn refusal(self) -> AccessRefusal {
        let (why, can_recover) = match self {
            Self::Credential => (
                "Google refuses the key of the service account: upload a new key file; until then the platform's purchases wait",
                false,
            ),
            Self::Right => (
                "the service account may not read purchases: grant it \"View financial data, orders, and cancellation survey \
                 responses\" in the Play Console, which can take a day to work; until then the platform's purchases wait",
                true,
            ),
            Self::ApiDisabled => (
                "the Google Play Android Developer API is not enabled in the service account's project: enable it; until then \
                 the platform's purchases wait",
                true,
            ),
            Self::App => (
                "the service account's developer has no app with the platform's package name: compare both; until then the \
                 platform's purchases wait",
                true,
            ),
        };
        AccessRefusal { why, can_recover }
    }
}

/// The error object of a response.
#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorObject,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: u16,
    status: Option<String>,
    #[serde(default)]
    errors: Vec<Reason>,
    #[serde(default)]
    details: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    reason: Option<String>,
}

impl ErrorObject {
    fn has(&self, names: &[&str]) -> bool {
        let reasons = self.errors.iter().chain(&self.details);
        let mut reasons = reasons.filter_map(|one| one.reason.as_deref());
        let is_listed = |name: &str| names.contains(&name);
        self.status.as_deref().is_some_and(is_listed) || reasons.any(is_listed)
    }
}

/// Parses the resource that was requested.
///
/// # Errors
/// Fails with a [`ReadError`] if the reply contains no resource.
pub fn resource<T: DeserializeOwned>(reply: &Reply) -> Result<T, ReadError> {
    let (status, retry_after, body) = match reply {
        Reply::Answer {
            status,
            retry_after,
            body,
            ..
        } => (*status, retry_after.as_deref(), body.as_str()),
        Reply::Failure { class, message } => {
            return Err(Retry::new(class.as_str(), message.clone()).into());
        }
    };
    if status == 200 {
        return json(body).ok_or_else(|| unreadable("its answer is cut off, or of another form"));
    }
    Err(refusal(status, retry_after, body))
}

/// Parses JSON. An unpaired surrogate, for example in a customer's text, does not affect any other field.
pub(super) fn json<T: DeserializeOwned>(body: &str) -> Option<T> {
    let read = serde_json::from_str(body).or_else(|_| serde_json::from_str(&readable_json(body)));
    read.ok()
}

/// Returns the error for a response with the status 200 that cannot be parsed. `why` continues the sentence.
pub(super) fn unreadable(why: &str) -> ReadError {
    Retry::new(UNREADABLE, format!("HTTP 200, but {why}")).into()
}

/// Returns the error for a response with a value that this version does not know.
pub(super) fn unknown_value(why: &str) -> ReadError {
    let retry = Retry::new("unknown_value", format!("HTTP 200, but {why}"));
    ReadError::Retry(Retry {
        is_strange: true,
        ..retry
    })
}

/// Returns the error for a response with a status other than 200.
fn refusal(status: u16, retry_after: Option<&str>, body: &str) -> ReadError {
    // The API's own errors repeat the status in their body. An error from a proxy does not, and must not end a known
    // purchase.
    let error = json::<ErrorBody>(body).map(|body| body.error);
    let error = error.filter(|error| error.code == status);
    let has = |names: &[&str]| error.as_ref().is_some_and(|error| error.has(names));
    match status {
        400 if error.is_some() => ReadError::Malformed,
        401 if has(&[NO_RIGHT]) => ReadError::Refused(AccessProblem::Right),
        401 => ReadError::Refused(AccessProblem::Credential),
        403 if has(&THROTTLED) => throttled(status, retry_after),
        403 if has(&API_DISABLED) => ReadError::Refused(AccessProblem::ApiDisabled),
        403 if error.is_some() => ReadError::Refused(AccessProblem::Right),
        404 if has(&[NO_APP]) => ReadError::Refused(AccessProblem::App),
        404 if error.is_some() => ReadError::Unknown,
        410 if error.is_some() => ReadError::Gone,
        _ => unusual(status, retry_after),
    }
}

/// Returns the error for a status that says nothing about what was requested.
pub(super) fn unusual(status: u16, retry_after: Option<&str>) -> ReadError {
    match status {
        429 => throttled(status, retry_after),
        500..=599 => ReadError::Retry(Retry {
            retry_after: retry_after.and_then(seconds),
            ..Retry::new("server_error", format!("HTTP {status}"))
        }),
        _ => ReadError::Retry(Retry {
            is_strange: true,
            ..Retry::new(
                "unexpected_status",
                format!("HTTP {status} without an error of the API"),
            )
        }),
    }
}

pub(super) fn throttled(status: u16, retry_after: Option<&str>) -> ReadError {
    let why = format!("the store throttles our requests (HTTP {status})");
    ReadError::Retry(Retry {
        is_throttled: true,
        retry_after: retry_after.and_then(seconds),
        ..Retry::new("throttled", why)
    })
}

/// Parses a `Retry-After` in seconds. Its other form, a date, is ignored.
fn seconds(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(Duration::from_secs)
}

impl From<Retry> for ReadError {
    fn from(retry: Retry) -> Self {
        Self::Retry(retry)
    }
}
