//! Errors of requests, and the one table of their responses (RFC 9457).

use crate::sizes;
use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::chain;

/// Maximum length of an invalid field's name in a response, in bytes.
const MAX_NAME_BYTES: usize = 100;

/// Detail of the response while the database's disk is full.
pub const FULL_DISK: &str =
    "the disk of the database is full; settle continues by itself when there is room";

/// Body of every error response: problem details (RFC 9457).
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Problem {
    /// Stable URN of the kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// Name of the kind of problem, for people.
    pub title: &'static str,
    /// HTTP status of the response.
    pub status: u16,
    /// What is wrong, and how to fix it.
    pub detail: String,
    /// Invalid fields of the request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Field>,
}

/// An invalid field of the request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Field {
    /// Name of the field; `body` for the whole body, and `…` for all fields after the first hundred.
    pub field: String,
    /// Expected value of the field.
    pub expected: String,
}

impl Field {
    /// Returns an invalid field. A name in a body may have up to 2 MiB, so it is cut.
    pub fn new(field: &str, expected: impl Into<String>) -> Self {
        Self {
            field: cut(field, MAX_NAME_BYTES),
            expected: expected.into(),
        }
    }
}

/// Why a request failed. The variant shows who must act, and decides the status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}", list(.0))]
    Invalid(Vec<Field>),
    /// The key is missing, unknown, expired or revoked.
    #[error(
        "API key missing, unknown or expired; send `Authorization: Bearer KEY` with a key or SETTLE_ADMIN_TOKEN"
    )]
    Unauthorized,
    /// The visitor is no longer signed in to the dashboard.
    #[error("your sign-in has expired: sign in again, then repeat the change")]
    SignedOut,
    /// The key does not have the required role.
    #[error("{0}")]
    Forbidden(String),
    /// The publishable key of a platform is missing or unknown.
    #[error(
        "the publishable key is missing or unknown; send `Authorization: Bearer pk_…`, the key of the app's platform"
    )]
    PublishableKey,
    /// The platform requires logins signed by the app's own server, and the token is missing or invalid.
    #[error("`token` does not prove the login: {0}")]
    LoginToken(&'static str),
    /// The device's secret is missing or wrong.
    #[error("{0}")]
    DeviceSecret(storage::Unproved),
    /// The client sends too many requests.
    #[error("{what} sends too many requests; retry after the time in `Retry-After`")]
    TooMany {
        what: &'static str,
        /// Time until the next request is accepted.
        wait: Duration,
    },
    /// The platform's devices, or one network, used up a daily quota.
    #[error("{who} {what} for today (UTC); retry the next day, after the time in `Retry-After`")]
    Quota {
        /// Subject of the error sentence.
        who: &'static str,
        what: &'static str,
        /// Time until the next day.
        wait: Duration,
    },
    /// The resource or path does not exist.
    #[error("{0}")]
    Missing(String),
    /// The request's host name is not allowed.
    #[error(
        "unknown host name: use the address of this service, or add the name to the setting `ui.hosts`"
    )]
    Misdirected,
    /// The path exists, but not for this method.
    #[error("method not allowed for this path; the `Allow` header lists the allowed ones")]
    Method,
    /// The request contradicts the current state of the resource.
    #[error("{0}")]
    Conflict(String),
    /// The request does not fit the settings of the resource.
    #[error("{0}")]
    Unsuitable(String),
    /// The body is larger than its limit, or a form has more fields than its limit.
    #[error("the body exceeds its limit of {limit}")]
    TooLarge { limit: String },
    /// A store's ingress refused a message, and chose the status.
    #[error("{reason}")]
    Store { status: u16, reason: String },
    /// Another service responded with an error; a later attempt may succeed.
    #[error("{0}")]
    Upstream(String),
    /// Too little disk space is left for device reports.
    #[error(
        "the disk of this service is almost full; send the request again after the time in `Retry-After`"
    )]
    NoRoom(Duration),
    /// The database or Temporal does not respond; the client should try again.
    #[error("{0}")]
    Unavailable(String),
    #[error("internal error; see the log for details")]
    Internal,
}

impl Error {
    pub fn invalid(field: &str, expected: impl Into<String>) -> Self {
        Self::Invalid(vec![Field::new(field, expected)])
    }

    /// Returns the error about a body that exceeds this number of bytes.
    pub fn too_large(bytes: usize) -> Self {
        Self::TooLarge {
            limit: sizes::text(u64::try_from(bytes).unwrap_or(u64::MAX)),
        }
    }

    /// Returns the error that there is no `what` with this id.
    pub fn missing(what: &str, id: impl std::fmt::Display) -> Self {
        Self::Missing(format!("there is no {what} `{id}`"))
    }

    /// Returns the status, short name and title of the variant.
    pub fn answer(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Invalid(_) => (
                StatusCode::BAD_REQUEST,
                "invalid",
                "The request is not valid",
            ),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "API key required"),
            Self::SignedOut => (StatusCode::UNAUTHORIZED, "signed_out", "Signed out"),
            Self::Forbidden(_) => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "Not allowed with this key",
            ),
            Self::PublishableKey => (
                StatusCode::UNAUTHORIZED,
                "publishable_key",
                "Publishable key required",
            ),
            Self::LoginToken(_) => (StatusCode::FORBIDDEN, "login_token", "Login not verified"),
            Self::DeviceSecret(_) => (
                StatusCode::FORBIDDEN,
                "device_secret_required",
                "Device not verified",
            ),
            Self::TooMany { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many",
                "Too many requests",
            ),
            Self::Quota { .. } => (
                StatusCode::TOO_MANY_REQUESTS,
                "device_quota",
                "Daily quota exceeded",
            ),
            Self::Missing(_) => (StatusCode::NOT_FOUND, "missing", "Not found"),
            Self::Misdirected => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected",
                "Unknown host name",
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "method",
                "Method not allowed",
            ),
            Self::Conflict(_) => (
                StatusCode::CONFLICT,
                "conflict",
                "Conflict with the current state",
            ),
            Self::Unsuitable(_) => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "unsuitable",
                "Not possible with these settings",
            ),
            Self::TooLarge { .. } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                "The body is too large",
            ),
            Self::Store { status, .. } => {
                let status =
                    StatusCode::from_u16(*status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                (status, "refused", "The store's message was not accepted")
            }
            Self::Upstream(_) => (
                StatusCode::BAD_GATEWAY,
                "upstream",
                "Unexpected response from another service",
            ),
            Self::NoRoom(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "no_room",
                "No room on the disk",
            ),
            Self::Unavailable(_) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Temporarily unavailable",
            ),
            Self::Internal => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Internal error",
            ),
        }
    }

    fn extra_header(&self, status: StatusCode) -> Option<(HeaderName, HeaderValue)> {
        let text = HeaderValue::from_static;
        match (self, status) {
            (Self::TooMany { wait, .. } | Self::Quota { wait, .. } | Self::NoRoom(wait), _) => {
                // In whole seconds, rounded up so that a request after that time is accepted.
                let seconds = wait
                    .as_secs()
                    .saturating_add(u64::from(wait.subsec_nanos() > 0));
                Some((header::RETRY_AFTER, seconds.max(1).into()))
            }
            (_, StatusCode::UNAUTHORIZED) => Some((header::WWW_AUTHENTICATE, text("Bearer"))),
            (_, StatusCode::SERVICE_UNAVAILABLE) => Some((header::RETRY_AFTER, text("1"))),
            _ => None,
        }
    }
}

/// Returns at most `max_bytes` of a text, without control characters; a cut text ends with `…`.
pub fn cut(text: &str, max_bytes: usize) -> String {
    let end = text.floor_char_boundary(max_bytes);
    let (shown, rest) = text.split_at(end);
    let shown = shown.chars().filter(|character| !character.is_control());
    shown.chain((!rest.is_empty()).then_some('…')).collect()
}

fn list(fields: &[Field]) -> String {
    let parts: Vec<String> = fields
        .iter()
        .map(|field| format!("`{}`: expected {}", field.field, field.expected))
        .collect();
    parts.join("; ")
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, name, title) = self.answer();
        let kind = format!("urn:settle:problem:{name}");
        let detail = self.to_string();
        let extra = self.extra_header(status);
        let errors = if let Self::Invalid(fields) = self {
            fields
        } else {
            Vec::new()
        };
        let problem = Problem {
            kind,
            title,
            status: status.as_u16(),
            detail,
            errors,
        };
        let mut response = (status, Json(&problem)).into_response();
        // The dashboard shows the problem in its own layout.
        response.extensions_mut().insert(problem);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some((name, value)) = extra {
            headers.insert(name, value);
        }
        response
    }
}

impl From<storage::Error> for Error {
    /// Maps each storage error to the corresponding variant.
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::Missing { .. } => Self::Missing(error.to_string()),
            storage::Error::Cursor => Self::invalid(
                "cursor",
                "the previous page's `next_cursor`; omit it for the first page",
            ),
            storage::Error::Unsuitable(detail) => Self::Unsuitable(detail),
            storage::Error::WrongStore(stores) => Self::invalid(
                "store",
                format!("one of the app's stores: {}", stores.join(", ")),
            ),
            storage::Error::Invalid { field, detail } => {
                Self::invalid(field, format!("a storable value ({detail})"))
            }
            storage::Error::Unproved(unproved) => Self::DeviceSecret(unproved),
            storage::Error::Conflict { .. } => Self::Conflict(error.to_string()),
            storage::Error::Unavailable(_)
            | storage::Error::Raced(_)
            | storage::Error::Locked(_) => {
                tracing::warn!(error = chain(&error), "storage does not answer");
                if error.is_of_full_disk() {
                    return Self::Unavailable(FULL_DISK.to_owned());
                }
                Self::Unavailable("the database is not responding; try again".to_owned())
            }
            storage::Error::MissingKeys(_) => Self::Unavailable(error.to_string()),
            storage::Error::Refused { .. } => {
                tracing::error!(error = chain(&error), "the database refuses this for good");
                Self::Unavailable(
                    "the database refuses this change; the log says why, and what to do".to_owned(),
                )
            }
            storage::Error::Corrupt { .. } => {
                tracing::error!(
                    error = chain(&error),
                    "storage holds something that cannot be read"
                );
                Self::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use std::path::PathBuf;
    use std::sync::Arc;

    #[test]
    fn every_storage_error_has_its_status() {
        let cause = Arc::new(std::io::Error::other("the disk is full at /var/lib/secret"));
        let cases = [
            (
                storage::Error::Refused {
                    refusal: storage::Refusal::Value,
                    source: cause.clone(),
                },
                503,
            ),
            (storage::Error::Raced(cause.clone()), 503),
            (storage::Error::Unavailable(cause), 503),
            (storage::Error::Locked(PathBuf::from("settle.sqlite")), 503),
            (
                storage::Error::MissingKeys(vec!["0badc0de".to_owned()]),
                503,
            ),
            (storage::Error::Missing { what: "app" }, 404),
            (
                storage::Error::Conflict {
                    what: "app",
                    detail: "its name is taken".to_owned(),
                },
                409,
            ),
            (storage::Error::Unproved(storage::Unproved::Missing), 403),
            (storage::Error::Cursor, 400),
            (storage::Error::WrongStore(vec!["play".to_owned()]), 400),
            (
                storage::Error::Invalid {
                    field: "entitlements",
                    detail: "`x` is none".to_owned(),
                },
                400,
            ),
            (storage::Error::Unsuitable("not chosen".to_owned()), 422),
            (
                storage::Error::Corrupt {
                    what: "a row".to_owned(),
                    source: None,
                },
                500,
            ),
        ];
        for (error, status) in cases {
            let shown = error.to_string();
            let answer = Error::from(error);
            assert_eq!(answer.answer().0.as_u16(), status, "{shown}");
            assert!(!answer.to_string().contains("/var/lib/secret"), "{answer}");
        }
    }
}
