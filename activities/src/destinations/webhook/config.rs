//! The settings of a webhook, and its secret.

use crate::destinations::Invalid;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::ops::RangeInclusive;
use url::Url;

/// What a symmetric secret begins with.
const PREFIX: &str = "whsec_";
/// How many random bytes a secret may have.
const BYTES: RangeInclusive<usize> = 24..=64;

/// Where a webhook goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The endpoint.
    pub url: Url,
}

/// Reads `{"url": …}`. Addresses and ports are judged when a request is sent, since a name may lead
/// elsewhere by then.
///
/// # Errors
/// The first field that is wrong.
pub fn parse(settings: &Value, allow_http: bool) -> Result<Config, Invalid> {
    let Some(fields) = settings.as_object() else {
        return Err(Invalid::new("settings", "an object such as {\"url\":\"https://example.com/hook\"}"));
    };
    if let Some(other) = fields.keys().find(|name| name.as_str() != "url") {
        return Err(Invalid::new(other, "no such setting: a webhook has only `url`"));
    }
    let wrong = || Invalid::new("url", expected(allow_http));
    let url: Url = fields.get("url").and_then(Value::as_str).ok_or_else(wrong)?.parse().map_err(|_| wrong())?;
    let scheme = url.scheme() == "https" || (allow_http && url.scheme() == "http");
    let anonymous = url.username().is_empty() && url.password().is_none();
    if scheme && anonymous && url.has_host() && url.fragment().is_none() { Ok(Config { url }) } else { Err(wrong()) }
}

fn expected(allow_http: bool) -> String {
    let schemes = if allow_http { "https or http" } else { "https" };
    format!("an {schemes} URL without user name, password or fragment, such as https://example.com/hook")
}

/// A new secret made of random bytes, in the form in which it is shown once.
#[must_use]
pub fn new_secret(random: [u8; 32]) -> String {
    format!("{PREFIX}{}", STANDARD.encode(random))
}

/// The bytes of a secret.
pub(super) fn key(secret: &SecretString) -> Result<Vec<u8>, Invalid> {
    let encoded = secret.expose_secret().strip_prefix(PREFIX);
    let bytes = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
    bytes
        .filter(|bytes| BYTES.contains(&bytes.len()))
        .ok_or_else(|| Invalid::new("secret", "`whsec_` and 24 to 64 bytes in standard base64"))
}
