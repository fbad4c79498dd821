//! Exchanges a service account's signature for an access token
//! (<https://developers.google.com/identity/protocols/oauth2/service-account#httprest>).

use super::Settings;
use super::account::ServiceAccount;
use super::request::{USER_AGENT, encoded};
use super::response::{AccessProblem, ReadError, json, throttled, unreadable, unusual};
use crate::http::{Method, REPLY_BYTES, Reply, Request};
use crate::stores::{AccessToken, Bucket, Retry};
use domain::Timestamp;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use std::time::Duration;

/// The URL at which Google issues access tokens. The URL in the key file is not used.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";
/// The path of the exchange at an address that replaces Google's.
const TOKEN_PATH: &str = "/token";
/// The scope of the Google Play Developer API.
const SCOPE: &str = "https://www.googleapis.com/auth/androidpublisher";
const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// Maximum length of an access token. Google's tokens have about 1 KiB, and Google reserves up to 2 KiB.
const MAX_TOKEN_BYTES: usize = 4096;
/// Errors of RFC 6749 and of Google that only a new credential can fix.
const REFUSED: [&str; 5] = [
    "invalid_grant",
    "invalid_client",
    "unauthorized_client",
    "access_denied",
    "invalid_scope",
];
const THROTTLED: [&str; 2] = ["rate_limit_exceeded", "slow_down"];
/// The bucket of token requests. A token is requested about once an hour.
const BUCKET: Bucket = Bucket {
    name: "token",
    per_second: 2,
};

#[derive(Deserialize)]
struct Issued {
    access_token: String,
    expires_in: u64,
    token_type: String,
}

#[derive(Deserialize)]
struct TokenError {
    error: String,
}

/// Returns the request for an access token, signed at `now`.
///
/// # Errors
/// Fails if the key cannot sign, or if the URL cannot be built.
pub fn request(
    settings: &Settings,
    account: &ServiceAccount,
    now: Timestamp,
) -> Result<(Request, Bucket), ReadError> {
    let credential = ReadError::Refused(AccessProblem::Credential);
    let assertion = account.assertion(TOKEN_URL, SCOPE, now).ok_or(credential)?;
    let grant = encoded(GRANT_TYPE);
    let body = format!("grant_type={grant}&assertion={}", assertion.expose_secret());
    exchange(settings, body)
}

/// Returns the request for an access token of the simulated store, which compares no credential.
///
/// # Errors
/// Fails if the URL cannot be built.
pub fn simulated(settings: &Settings) -> Result<(Request, Bucket), ReadError> {
    exchange(settings, String::new())
}

fn exchange(settings: &Settings, body: String) -> Result<(Request, Bucket), ReadError> {
    let url = match &settings.base {
        None => TOKEN_URL.parse(),
        Some(base) => base.join(TOKEN_PATH),
    };
    let url = url.map_err(|_| Retry::new("invalid_url", "the store's address is not a URL"))?;
    let headers = [
        ("accept", "application/json"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("user-agent", USER_AGENT),
    ];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let request = Request {
        method: Method::Post,
        url,
        headers: headers.into(),
        body: body.into_bytes(),
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: settings.base.is_some(),
        app: None,
    };
    Ok((request, BUCKET))
}

/// Parses the reply to [`request`].
///
/// # Errors
/// Fails with a [`ReadError`] if no token was issued.
pub fn issued(reply: &Reply) -> Result<AccessToken, ReadError> {
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
        return json::<Issued>(body)
            .and_then(Issued::token)
            .ok_or_else(|| unreadable("it issues no access token"));
    }
    let error = json::<TokenError>(body).map(|body| body.error);
    let is_one_of = |names: &[&str]| error.as_deref().is_some_and(|error| names.contains(&error));
    Err(match status {
        400..=403 if is_one_of(&THROTTLED) => throttled(status, retry_after),
        400 | 401 | 403 if is_one_of(&REFUSED) => ReadError::Refused(AccessProblem::Credential),
        _ => unusual(status, retry_after),
    })
}

impl Issued {
    /// Returns the token if it can be sent in a header and is valid long enough.
    fn token(self) -> Option<AccessToken> {
        let token = &self.access_token;
        let is_visible = token.bytes().all(|byte| byte.is_ascii_graphic());
        let is_token = !token.is_empty() && token.len() <= MAX_TOKEN_BYTES && is_visible;
        let is_bearer = self.token_type.eq_ignore_ascii_case("bearer");
        (is_token && is_bearer && self.expires_in > 0).then(|| AccessToken {
            token: self.access_token.into(),
            lifetime: Duration::from_secs(self.expires_in),
        })
    }
}
