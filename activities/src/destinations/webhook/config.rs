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
/// What a URL should have been, when it is none.
const EXPECTED: &str = "a URL such as https://example.com/hook";
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
    let text = fields.get("url").and_then(Value::as_str).ok_or_else(|| Invalid::new("url", EXPECTED))?;
    let url: Url = text.parse().map_err(|error| Invalid::new("url", format!("{EXPECTED} ({error})")))?;
    check(&url, allow_http).map_err(|expected| Invalid::new("url", expected))?;
    Ok(Config { url })
}

fn check(url: &Url, allow_http: bool) -> Result<(), String> {
    match url.scheme() {
        "https" => {}
        "http" if allow_http => {}
        "http" => return Err("an https:// URL (http:// needs `destinations.allow_http`, for development)".to_owned()),
        other => return Err(format!("an https:// URL, and it is {other}://")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a URL without user name and password: requests are signed instead".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a URL without fragment".to_owned());
    }
    if url.has_host() { Ok(()) } else { Err(EXPECTED.to_owned()) }
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
