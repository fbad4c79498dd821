//! Converts an error of `reqwest` into a [`Failure`].

use protocols::http::Failure;
use std::error::Error;
use std::io;

/// Why a request got no answer.
pub fn of(error: &reqwest::Error) -> Failure {
    if is_tls(error) {
        Failure::Tls
    } else if error.is_timeout() {
        Failure::Timeout
    } else if error.is_connect() {
        Failure::Connect
    } else {
        Failure::Reset
    }
}

/// Whether a rustls error is among the causes. `io::Error::source` skips the wrapped error itself, so `get_ref` is used
/// there.
pub fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<rustls::Error>() {
            return true;
        }
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}
