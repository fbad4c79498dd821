//! The replies of the App Store Server API: resources, and errors by Apple's number.
//! <https://developer.apple.com/documentation/appstoreserverapi/error-codes>

use crate::http::Reply;
use crate::stores::{AccessRefusal, Replied, Retry};
use domain::{Environment, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// Why Apple refuses every query with a wrong issuer, key id or key.
pub const WRONG_KEY: &str = "Apple refuses the key: compare the issuer id and the key id with App Store Connect, and make sure \
                             that it is an In-App Purchase key, since an App Store Connect API key does not work here";
/// Why Apple refuses every query about production with an empty answer.
pub const NO_RELEASE: &str = "Apple refuses every query about production: the app has no production release yet, or the issuer id, \
                              the key id or the key is wrong";
/// Why Apple sends no test notification.
pub const NO_URL: &str = "no server URL is set in App Store Connect for this environment: enter the notification URL there, under \
                          App Information, App Store Server Notifications";
/// Why every query of a platform with a wrong bundle id fails.
const NO_APP: &str = "Apple knows no app with the platform's bundle id for this key: compare the bundle id with App Store Connect; \
                      until then the platform's purchases wait";

const UNKNOWN_TRANSACTION: i64 = 4_040_010;
const INVALID_TRANSACTION: i64 = 4_000_006;
const NO_SERVER_URL: i64 = 4_040_007;
/// A page that is no longer there, or a time before the history's beginning.
const INVALID_PAGE: [i64; 3] = [4_000_012, 4_000_014, 4_000_017];
/// Unknown accounts, and ids of which Apple says that a repetition helps, are those of one purchase; unknown apps of all.
const UNKNOWN: [i64; 4] = [
    UNKNOWN_TRANSACTION,
    INVALID_TRANSACTION,
    4_040_001,
    4_040_005,
];
const UNKNOWN_APP: i64 = 4_040_003;
/// Errors that Apple calls repeatable.
const REPEATABLE: [i64; 4] = [4_040_002, 4_040_004, 4_040_006, 5_000_001];
/// Longest wait that is taken from an answer. Apple counts its rates by the hour.
const MAX_WAIT: Duration = Duration::from_secs(3600);

/// Why a reply contains no resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadError {
    /// Apple does not know the transaction.
    Unknown,
    /// The page is no longer there.
    NoPage,
    /// App Store Connect has no URL for notifications.
    NoUrl,
    /// Every query for the platform fails until an admin acts.
    Refused(AccessRefusal),
    /// The request has to be repeated.
    Retry(Retry),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody {
    error_code: i64,
}

/// Parses the resource that was requested from the server of an environment.
///
/// # Errors
/// Fails with a [`ReadError`] if the reply contains no resource.
pub fn resource<T: DeserializeOwned>(
    replied: &Replied,
    environment: Environment,
) -> Result<T, ReadError> {
    let (status, retry_after, body) = match &replied.reply {
        Reply::Answer {
            status,
            retry_after,
            body,
            ..
        } => (*status, retry_after.as_deref(), body.as_str()),
        Reply::Failure { class, message } => {
            return Err(ReadError::Retry(Retry::new(
                class.as_str(),
                message.clone(),
            )));
        }
    };
    if status == 200 {
        return serde_json::from_str(body)
            .map_err(|_| unreadable("its answer is cut off, or of another form"));
    }
    let error: Option<ErrorBody> = serde_json::from_str(body).ok();
    let code = error.map(|error| error.error_code);
    Err(match (status, code) {
        (401, _) => ReadError::Refused(refused(environment, body)),
        (429, _) => throttled(retry_after, replied.at),
        (400 | 404, Some(code)) => of_code(code),
        _ => unusual(status, code, retry_after, replied.at),
    })
}

/// Returns the error with this number.
fn of_code(code: i64) -> ReadError {
    match code {
        NO_SERVER_URL => ReadError::NoUrl,
        UNKNOWN_APP => ReadError::Refused(AccessRefusal {
            why: NO_APP,
            can_recover: true,
        }),
        _ if UNKNOWN.contains(&code) => ReadError::Unknown,
        _ if INVALID_PAGE.contains(&code) => ReadError::NoPage,
        _ if REPEATABLE.contains(&code) => {
            let why = format!("the store cannot answer now (error {code})");
            ReadError::Retry(Retry::new("server_error", why))
        }
        _ => {
            let why = format!("the store refuses the request (error {code})");
            ReadError::Retry(Retry {
                is_strange: true,
                ..Retry::new("unexpected_status", why)
            })
        }
    }
}

/// Returns why Apple refuses the token. An app that was never released gets an empty answer from production.
fn refused(environment: Environment, body: &str) -> AccessRefusal {
    if environment == Environment::Production && body.trim().is_empty() {
        AccessRefusal {
            why: NO_RELEASE,
            can_recover: true,
        }
    } else {
        AccessRefusal::of_credential(WRONG_KEY)
    }
}

/// Returns the error for a response with the status 200 that cannot be used. `why` continues the sentence.
pub(super) fn unreadable(why: &str) -> ReadError {
    ReadError::Retry(Retry::new("unreadable", format!("HTTP 200, but {why}")))
}

fn throttled(retry_after: Option<&str>, at: Timestamp) -> ReadError {
    let why = "the store throttles our requests (HTTP 429)";
    ReadError::Retry(Retry {
        is_throttled: true,
        retry_after: wait(retry_after, at),
        ..Retry::new("throttled", why)
    })
}

fn unusual(status: u16, code: Option<i64>, retry_after: Option<&str>, at: Timestamp) -> ReadError {
    let of_number = code.map_or_else(String::new, |code| format!(", error {code}"));
    let why = format!("HTTP {status}{of_number}");
    match status {
        500..=599 => ReadError::Retry(Retry {
            retry_after: wait(retry_after, at),
            ..Retry::new("server_error", why)
        }),
        _ => ReadError::Retry(Retry {
            is_strange: true,
            ..Retry::new("unexpected_status", why)
        }),
    }
}

/// Returns the wait of a `Retry-After`, which Apple writes as the instant itself, in milliseconds since 1970.
fn wait(retry_after: Option<&str>, at: Timestamp) -> Option<Duration> {
    let until = retry_after?
        .trim()
        .parse()
        .ok()
        .map(Timestamp::from_millis)?;
    (until > at).then(|| until.since(at).min(MAX_WAIT))
}
