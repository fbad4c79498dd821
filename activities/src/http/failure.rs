//! Converts an error of `reqwest` into a [`Failure`].

use protocols::http::{BrokenRule, Failure};
use std::error::Error;
use std::io;

/// Returns why a request got no response.
pub fn of(error: &reqwest::Error) -> Failure {
    if is_tls(error) {
        Failure::Tls
    } else if error.is_timeout() {
        Failure::Timeout
    } else if error.is_connect() {
        Failure::Connect
    } else {
        broken_rule(error).map_or(Failure::Reset, Failure::Head)
    }
}

/// Returns the rule that the head of a response breaks; `None` if the connection ended before the response began.
fn broken_rule(error: &(dyn Error + 'static)) -> Option<BrokenRule> {
    let mut causes = std::iter::successors(Some(error), |error| (*error).source());
    let error = causes
        .find_map(|cause| cause.downcast_ref::<hyper::Error>())
        .filter(|error| error.is_parse())?;
    // Only the error's text shows which field is invalid.
    let text = error.to_string();
    Some(if error.is_parse_too_large() {
        BrokenRule::Size
    } else if text.contains("content-length") {
        BrokenRule::Length
    } else if text.contains("transfer-encoding") {
        BrokenRule::Encoding
    } else if text.contains("header") {
        BrokenRule::Field
    } else {
        BrokenRule::StatusLine
    })
}

/// Whether an error of rustls is among the causes.
pub fn is_tls(error: &(dyn Error + 'static)) -> bool {
    has_cause::<rustls::Error>(error)
}

/// Whether an error of this type is among the causes. `io::Error::source` skips the error that it wraps, so `get_ref`
/// is used for it.
pub fn has_cause<E: Error + 'static>(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<E>() {
            return true;
        }
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = wrapped
            .map(|inner| inner as &(dyn Error + 'static))
            .or_else(|| error.source());
    }
    false
}
