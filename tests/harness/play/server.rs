//! The fake's HTTP server: it checks access, meets scripted faults, and records every request.

use super::body::error;
use super::call::{Call, Resource};
use super::{Exchange, Fault, Seen, locked, push};
use crate::wait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
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
    let Some(call) = Call::read(&method, &uri) else {
        locked(&shared).strange.push(format!("{method} {uri}"));
        return answer(404, Some(error(404, "notFound").to_string()));
    };
    let (place, fault) = locked(&shared).begin(&call);
    if let Some(Fault::Late(time)) = &fault {
        wait::pass(*time).await;
    }
    let mut seen = locked(&shared);
    let (status, body) = match fault {
        Some(Fault::Status(status)) => (status, Some(scripted(&call, status))),
        Some(Fault::Body(status, text)) => (status, Some(text)),
        Some(Fault::Late(_)) | None => {
            let (status, body) = seen.answer(&call, &headers, &body);
            (status, body.map(|body| body.to_string()))
        }
    };
    if let Some(exchange) = seen.exchanges.get_mut(place) {
        exchange.status = Some(status);
    }
    drop(seen);
    answer(status, body)
}

impl Seen {
    /// Records a request; returns its index and the scripted fault, if any.
    fn begin(&mut self, call: &Call) -> (usize, Option<Fault>) {
        let resource = call.resource();
        let next = self.next.get_mut(&resource);
        let next = next.and_then(|faults| faults.pop_front());
        let fault = next.or_else(|| self.always.get(&resource).cloned());
        self.exchanges.push(Exchange {
            call: call.clone(),
            at: self.now(),
            status: None,
        });
        (self.exchanges.len() - 1, fault)
    }

    fn answer(&mut self, call: &Call, headers: &HeaderMap, body: &[u8]) -> (u16, Option<Value>) {
        let now = self.now();
        match call.resource() {
            Resource::Keys => (200, Some(push::key_set())),
            Resource::Token => match self.access.issue(body, now) {
                Ok(issued) => (200, Some(issued)),
                Err(wrong) => {
                    self.strange.push(format!("a token request with {wrong}"));
                    (400, Some(json!({ "error": "invalid_grant" })))
                }
            },
            _ => {
                let value = headers.get(AUTHORIZATION);
                let value = value.and_then(|value| value.to_str().ok());
                if self.access.is_valid(value.unwrap_or_default()) {
                    self.judge(call, body)
                } else {
                    (401, Some(error(401, "authError")))
                }
            }
        }
    }
}

/// Returns the body of a scripted status.
fn scripted(call: &Call, status: u16) -> String {
    let body = match call.resource() {
        Resource::Token => json!({ "error": "invalid_grant" }),
        _ => error(status, "scripted"),
    };
    body.to_string()
}

fn answer(status: u16, body: Option<String>) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    // Without keep-alive, so that no connection outlives the fake.
    let headers = [
        ("connection", "close"),
        ("content-type", "application/json; charset=UTF-8"),
        ("cache-control", "private"),
    ];
    (status, headers, body.unwrap_or_default()).into_response()
}
