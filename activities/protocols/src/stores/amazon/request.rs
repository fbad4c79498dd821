//! The request about one receipt. Its path contains the shared secret, so its URL is never logged or stored.

use super::response::REFUSED;
use super::settings::Settings;
use crate::http::{Method, REPLY_BYTES, Request};
use crate::stores::{Answer, Retry, Subject};
use domain::{Environment, Parked, Verification};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;

const AMAZON_URL: &str = "https://appstore-sdk.amazon.com";
const USER_AGENT: &str = concat!("settle/", env!("CARGO_PKG_VERSION"));

/// The characters to percent-encode: all except RFC 3986's unreserved ones. Ids contain `/`, `+`, `!`, `=` and `:`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Builds the request. The platform's setting selects the environment. The other environment is never tried, since the
/// sandbox accepts any secret.
///
/// # Errors
/// Fails if the secret or an id cannot be a path segment. An unusable secret counts as refused, an unusable user id as
/// that of another customer's receipt, and an unusable receipt id as unknown.
pub fn request(settings: &Settings, subject: &Subject) -> Result<Request, Answer> {
    let secret = segment(subject.secret.expose_secret()).ok_or(Answer::Refused(REFUSED))?;
    let customer = subject.app_user_id.as_deref().unwrap_or_default();
    let user = segment(customer).ok_or(Answer::Verification(Verification::Parked(
        Parked::WrongCustomer,
    )))?;
    let id = segment(&subject.receipt_id).ok_or(Answer::Verification(Verification::Parked(
        Parked::UnknownReceipt,
    )))?;
    let environment = match subject.environment {
        Environment::Production => "",
        Environment::Sandbox => "/sandbox",
    };
    let base = settings
        .base
        .as_ref()
        .map_or(AMAZON_URL, |base| base.as_str().trim_end_matches('/'));
    let url = format!(
        "{base}{environment}/version/1.0/verifyReceiptId/developer/{secret}/user/{user}/receiptId/{id}"
    );
    let url = url.parse().map_err(|_| {
        Answer::Retry(Retry::new(
            "invalid_url",
            "the store's address is not a URL",
        ))
    })?;
    let headers = [("accept", "application/json"), ("user-agent", USER_AGENT)];
    let headers = headers
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    // Amazon's address is checked like any other; an address that the operator configured may be in any network.
    Ok(Request {
        method: Method::Get,
        url,
        headers,
        body: Vec::new(),
        max_reply_bytes: REPLY_BYTES,
        is_operator_url: settings.base.is_some(),
        app: None,
    })
}

/// Encodes a path segment; `None` for empty text, `.` and `..`. URL parsers remove `.` and `..` from a path even when
/// they are percent-encoded.
fn segment(text: &str) -> Option<String> {
    let is_usable = !matches!(text, "" | "." | "..");
    is_usable.then(|| utf8_percent_encode(text, SEGMENT).to_string())
}
