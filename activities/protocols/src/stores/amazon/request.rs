//! The request about one receipt. The secret is in its path: its URL is never shown.

use super::Settings;
use crate::http::{Method, Request};
use crate::stores::{Answer, Receipt, Retry};
use domain::{Environment, Parked, Verification};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;

/// Amazon's address.
const AMAZON_URL: &str = "https://appstore-sdk.amazon.com";
const USER_AGENT: &str = concat!("settle/", env!("CARGO_PKG_VERSION"));

/// All but RFC 3986's unreserved characters: ids hold `/`, `+`, `!`, `=` and `:`.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The request. The environment is the platform's: nothing that a caller sends chooses it, and there is no second
/// try in the other one, since the sandbox accepts any secret.
///
/// # Errors
/// Ids that no path can hold are never sent; the error is the answer that the store would give.
pub fn request(settings: &Settings, receipt: &Receipt) -> Result<Request, Answer> {
    let secret = segment(receipt.secret.expose_secret()).ok_or(Answer::Refused)?;
    let user =
        segment(&receipt.app_user_id).ok_or(Answer::Verification(Verification::Parked(Parked::WrongCustomer)))?;
    let id = segment(&receipt.receipt_id).ok_or(Answer::Verification(Verification::Parked(Parked::UnknownReceipt)))?;
    let world = match receipt.environment {
        Environment::Production => "",
        Environment::Sandbox => "/sandbox",
    };
    let base = settings.base.as_ref().map_or(AMAZON_URL, |base| base.as_str().trim_end_matches('/'));
    let url = format!("{base}{world}/version/1.0/verifyReceiptId/developer/{secret}/user/{user}/receiptId/{id}");
    let url = url.parse().map_err(|_| Answer::Retry(Retry::new("invalid_url", "the store's address is no URL")))?;
    let headers = [("accept", "application/json"), ("user-agent", USER_AGENT)];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Ok(Request { method: Method::Get, url, headers, body: Vec::new(), is_operators: true })
}

/// One segment of a path. `.` and `..` are no segments to any URL parser, however they are encoded.
fn segment(text: &str) -> Option<String> {
    let is_usable = !matches!(text, "" | "." | "..");
    is_usable.then(|| utf8_percent_encode(text, SEGMENT).to_string())
}
