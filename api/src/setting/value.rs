//! Values of settings: parsed from text, and formatted for display.

use super::Invalid;
use crate::times;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;
use url::Url;

/// Returns the error about an invalid setting. [`config::load`](crate::config::load) adds the flag or variable.
pub fn invalid(field: &str, expected: impl Into<String>) -> Invalid {
    Invalid {
        field: field.to_owned(),
        origin: None,
        expected: expected.into(),
    }
}

/// Parses the text of a setting.
pub fn parsed<T: FromStr<Err: Display>>(
    field: &str,
    text: &str,
    expected: &str,
) -> Result<T, Invalid> {
    text.trim()
        .parse()
        .map_err(|error| invalid(field, format!("{expected}, not `{text}` ({error})")))
}

/// Parses a URL that has only a scheme, host and port. The error does not repeat the text, which may contain a secret.
pub fn origin(field: &str, text: &str) -> Result<Url, Invalid> {
    let is_origin = |url: &Url| {
        let is_http = matches!(url.scheme(), "http" | "https") && url.has_host();
        let is_bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        is_http && is_bare && url.username().is_empty() && url.password().is_none()
    };
    let expected = "only scheme, host and port, such as https://proxy.internal:8443";
    text.trim()
        .parse()
        .ok()
        .filter(is_origin)
        .ok_or_else(|| invalid(field, expected))
}

/// Parses a duration between one second and `max`.
pub fn bounded(text: &str, max: Duration) -> Option<Duration> {
    times::duration(text.trim())
        .ok()
        .filter(|duration| (Duration::from_secs(1)..=max).contains(duration))
}

/// Returns the displayed text of a setting without a value.
pub fn none() -> String {
    "none".to_owned()
}

/// Returns the values of a setting for display.
pub fn list<T: Display>(all: &[T]) -> String {
    if all.is_empty() {
        none()
    } else {
        all.iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }
}
