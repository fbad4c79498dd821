//! The fake's HTTP server: it checks access, meets scripted faults, and records every request.

use super::answers::{Verdict, refused};
use super::call::Call;
use super::{Exchange, Fault, Seen, millis};
use crate::shared::locked;
use crate::wait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures::stream;
use std::future;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Shared = Arc<Mutex<Seen>>;

/// Serves the fake on this port.
pub async fn serve(port: u16, seen: Shared) -> JoinHandle<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("the fake's port");
    let router = Router::new().fallback(receive).with_state(seen);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() })
}

async fn receive(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(call) = Call::read(&method, &uri, &body) else {
        locked(&shared).strange.push(format!("{method} {uri}"));
        return answer(404, String::new());
    };
    let (number, fault) = locked(&shared).begin(&call);
    if let Some(Fault::Late(time)) = &fault {
        wait::pass(*time).await;
    }
    if fault == Some(Fault::Never) {
        return future::pending().await;
    }
    let mut seen = locked(&shared);
    let (status, body) = match &fault {
        Some(Fault::Code(code)) => text(refused(*code)),
        Some(Fault::Throttled(_)) => text(refused(4_290_000)),
        Some(Fault::Empty(status)) => (*status, String::new()),
        Some(Fault::Body(status, body)) => (*status, body.clone()),
        Some(Fault::Late(_) | Fault::Cut | Fault::Never) | None => {
            let authorization = headers.get(AUTHORIZATION);
            let authorization = authorization.and_then(|value| value.to_str().ok());
            seen.answer(&call, authorization.unwrap_or_default())
        }
    };
    if let Some(exchange) = seen.exchanges.get_mut(number) {
        exchange.status = Some(status);
    }
    drop(seen);
    match fault {
        Some(Fault::Cut) => cut(status, body),
        Some(Fault::Throttled(until)) => {
            let header = [(RETRY_AFTER, millis(until).to_string())];
            (header, answer(status, body)).into_response()
        }
        _ => answer(status, body),
    }
}

impl Seen {
    /// Records a request; returns its number and the scripted fault, if any.
    fn begin(&mut self, call: &Call) -> (usize, Option<Fault>) {
        let next = self.next.get_mut(&call.resource);
        let next = next.and_then(|faults| faults.pop_front());
        let fault = next.or_else(|| self.always.get(&call.resource).cloned());
        self.exchanges.push(Exchange {
            call: call.clone(),
            at: self.now(),
            status: None,
        });
        (self.exchanges.len() - 1, fault)
    }

    /// Returns the normal answer. Like Apple, the fake answers a wrong token with an empty body.
    fn answer(&mut self, call: &Call, authorization: &str) -> (u16, String) {
        let now = self.now();
        if let Err(wrong) = self.access.check(authorization, now) {
            self.unauthorized.push(format!("{call:?}: {wrong}"));
            return (401, String::new());
        }
        text(self.judge(call))
    }
}

fn text(verdict: Verdict) -> (u16, String) {
    let (status, body) = verdict;
    (status, body.to_string())
}

fn answer(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    // Without keep-alive, so that no connection outlives the fake.
    let headers = [
        ("connection", "close"),
        ("content-type", "application/json"),
    ];
    (status, headers, body).into_response()
}

/// Returns an answer whose connection ends in the middle of the body.
fn cut(status: u16, body: String) -> Response {
    let length = body.len().max(2);
    let half = Bytes::from(body).slice(..length / 2);
    let parts = [Ok(half), Err(io::Error::from(io::ErrorKind::BrokenPipe))];
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, length)
        .body(Body::from_stream(stream::iter(parts)))
        .expect("an answer")
}
