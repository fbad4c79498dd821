//! The replies of the endpoint.

use crate::wait;
use axum::body::{Body, Bytes};
use axum::http::header::{CONNECTION, LOCATION, RETRY_AFTER};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::{Stream, stream};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch;

/// How the endpoint reacts to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Status(u16),
    /// Answers 503 with `Retry-After` in seconds.
    RetryAfter(u64),
    /// Answers 503 with a date as `Retry-After`, this many seconds from now.
    RetryAfterDate(i64),
    /// Answers 503 with this text as `Retry-After`.
    RetryAfterText(&'static str),
    /// Does not answer until [`Receiver::release`](super::Receiver::release) or until the sender disconnects; then
    /// answers 200.
    Hang,
    After(Duration),
    /// Answers 200 with an endless body that is sent at one byte per second.
    Drip,
    /// Answers 200 with a body of 10 MB.
    Big,
    /// Records the request, and drops the connection without an answer.
    Drop,
    /// Answers 307 with this `Location`.
    Redirect(String),
}

const SECOND: Duration = Duration::from_secs(1);
const BIG_BYTES: usize = 10_000_000;

impl Reply {
    /// Returns the response; `None` when the connection is to be dropped.
    pub(super) async fn answer(self, mut released: watch::Receiver<u64>) -> Option<Response> {
        match self {
            Self::Status(status) => Some(response(status, None, Body::empty())),
            Self::RetryAfter(seconds) => Some(retry_after(seconds.to_string())),
            Self::RetryAfterDate(seconds) => Some(retry_after(http_date(seconds))),
            Self::RetryAfterText(text) => Some(retry_after(text.to_owned())),
            Self::Hang => {
                drop(released.changed().await);
                Some(response(200, None, Body::empty()))
            }
            Self::After(time) => {
                wait::pass(time).await;
                Some(response(200, None, Body::empty()))
            }
            Self::Drip => Some(response(200, None, Body::from_stream(drip()))),
            Self::Big => Some(response(200, None, Body::from(vec![b'x'; BIG_BYTES]))),
            Self::Drop => None,
            Self::Redirect(url) => Some(response(307, Some((LOCATION, url)), Body::empty())),
        }
    }
}

/// Returns a response without keep-alive, so that no connection remains after
/// [`Receiver::refuse`](super::Receiver::refuse).
fn response(status: u16, header_line: Option<(HeaderName, String)>, body: Body) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    let mut response = (status, [(CONNECTION, "close")], body).into_response();
    if let Some((name, value)) = header_line {
        response
            .headers_mut()
            .insert(name, value.parse().expect("a header's value"));
    }
    response
}

fn retry_after(header_line: String) -> Response {
    response(503, Some((RETRY_AFTER, header_line)), Body::empty())
}

/// Returns a date in the preferred form of RFC 9110 5.6.7.
fn http_date(seconds_ahead: i64) -> String {
    let at = api::clock::now().plus_millis(seconds_ahead * 1000);
    let at = jiff::Timestamp::from_microsecond(at.micros()).expect("a time");
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn drip() -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold((), async |()| {
        wait::pass(SECOND).await;
        Some((Ok(Bytes::from_static(b"x")), ()))
    })
}
