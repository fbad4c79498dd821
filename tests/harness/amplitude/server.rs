//! The HTTP endpoints of the fake.

use super::fault::Fault;
use super::request::{self, Event};
use super::response::{self, Busy, Refusal};
use super::wire::{Cutter, Wires};
use super::{Exchange, Seen, locked};
use crate::wait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const UPLOAD: &str = "/2/httpapi";
const SEARCH: &str = "/api/2/usersearch";
const DELETIONS: &str = "/api/2/deletions/users";

#[derive(Clone)]
pub struct Shared {
    pub seen: Arc<Mutex<Seen>>,
    pub released: watch::Sender<u64>,
}

/// Serves the endpoints on this port.
pub async fn serve(port: u16, shared: Shared) -> JoinHandle<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("the fake's port");
    let router = Router::new()
        .fallback(receive)
        .layer(DefaultBodyLimit::disable())
        .with_state(shared);
    let service = router.into_make_service_with_connect_info::<Cutter>();
    tokio::spawn(async move {
        axum::serve(Wires(listener), service)
            .await
            .unwrap_or_default()
    })
}

/// One HTTP request with its whole body.
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

async fn receive(
    State(shared): State<Shared>,
    ConnectInfo(cutter): ConnectInfo<Cutter>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request {
        method,
        uri,
        headers,
        body,
    };
    // Subscribed before the request is recorded: as soon as the test sees the request, it may release it.
    let mut released = shared.released.subscribe();
    let (place, fault) = locked(&shared.seen).keep(&request);
    let _open = Open {
        shared: shared.clone(),
        place,
    };
    let cut = || {
        locked(&shared.seen).close(place, None);
        cutter.cut();
        StatusCode::default().into_response()
    };
    match fault {
        Some(Fault::Hang) => drop(released.changed().await),
        Some(Fault::Dropped) => return cut(),
        _ => {}
    }
    let (status, body) = locked(&shared.seen).answer(&request, fault.as_ref());
    match fault {
        Some(Fault::Lost) => return cut(),
        Some(Fault::Late(time)) => wait::pass(time).await,
        Some(Fault::Mute) => std::future::pending().await,
        _ => {}
    }
    locked(&shared.seen).close(place, Some((status, &body)));
    let text = body
        .as_str()
        .map_or_else(|| body.to_string(), str::to_owned);
    let headers = [
        ("connection", "close"),
        ("content-type", "application/json"),
    ];
    (
        StatusCode::from_u16(status).unwrap_or_default(),
        headers,
        text,
    )
        .into_response()
}

/// Marks a request as closed when its handler ends: after the answer, or when the sender closed the connection.
struct Open {
    shared: Shared,
    place: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut seen = locked(&self.shared.seen);
        if seen
            .requests
            .get(self.place)
            .is_some_and(|exchange| exchange.closed_at.is_none())
        {
            seen.close(self.place, None);
        }
    }
}

impl Seen {
    /// Records the request; returns its index and its fault.
    fn keep(&mut self, request: &Request) -> (usize, Option<Fault>) {
        let exchange = Exchange {
            target: format!("{} {}", request.method, request.uri),
            body: serde_json::from_slice(&request.body).unwrap_or_default(),
            began: Instant::now(),
            closed_at: None,
            status: None,
            answer: Value::Null,
        };
        let fault = if request.uri.path() == UPLOAD {
            self.fault(exchange.events())
        } else {
            None
        };
        self.requests.push(exchange);
        (self.requests.len() - 1, fault)
    }

    /// Records that a request was answered, or that its connection was closed (`answer` is `None`).
    fn close(&mut self, place: usize, answer: Option<(u16, &Value)>) {
        if let Some(exchange) = self.requests.get_mut(place) {
            exchange.closed_at = Some(Instant::now());
            exchange.status = answer.map(|(status, _)| status);
            exchange.answer = answer.map(|(_, body)| body.clone()).unwrap_or_default();
        }
    }

    fn fault(&mut self, events: &[Value]) -> Option<Fault> {
        let is_about = |user_id: &str| events.iter().any(|event| event["user_id"] == user_id);
        let scripted = self.next.pop_front().or_else(|| {
            let place = self
                .of_user
                .iter()
                .position(|(user_id, _)| is_about(user_id))?;
            Some(self.of_user.remove(place).1)
        });
        let event_type = events
            .first()
            .and_then(|event| event["event_type"].as_str())
            .unwrap_or_default();
        let of_type = || self.of_type.get(event_type).cloned();
        let known = scripted.or_else(of_type).or_else(|| self.always.clone());
        known.or_else(|| self.chaos.as_mut()?.meet(events))
    }

    fn answer(&mut self, request: &Request, fault: Option<&Fault>) -> (u16, Value) {
        let judged = match (fault, request.method.as_str(), request.uri.path()) {
            (Some(Fault::Status(status)), ..) => Err(Refusal::status(*status)),
            (Some(Fault::Throttled(place)), ..) => Err(throttled(&request.body, *place)),
            (Some(Fault::Refused(place)), ..) => Err(self.refused(&request.body, *place)),
            (Some(Fault::Silenced), ..) => Err(self.silenced(&request.body)),
            (Some(Fault::ProjectThrottled), ..) => Err(Refusal::project_throttled()),
            (Some(Fault::Fewer(missing)), "POST", UPLOAD) => self.upload(&request.body, *missing),
            (_, "POST", UPLOAD) => self.upload(&request.body, 0),
            (_, "GET", SEARCH) => self.search(&request.headers),
            (_, "POST", DELETIONS) => self
                .search(&request.headers)
                .map(|_| json!([{ "status": "staging" }])),
            _ => Err(Refusal::whole("Invalid request path")),
        };
        match (judged, fault) {
            (Ok(_), Some(Fault::AnsweredWith(status))) => (*status, Refusal::status(*status).body),
            (Ok(body), Some(Fault::Miscounted(missing))) => {
                (200, response::miscounted(body, *missing))
            }
            (Ok(body), _) => (200, body),
            (Err(refusal), _) => (refusal.status, refusal.body),
        }
    }

    fn refused(&mut self, body: &[u8], place: usize) -> Refusal {
        let named = events(body).into_iter().nth(place);
        self.blamed.extend(named.iter().filter_map(insert_id));
        Refusal::invalid("event_properties", place)
    }

    /// Silences the first event's device and returns the refusal. All events of the device are refused, although the
    /// answer names only the first.
    fn silenced(&mut self, body: &[u8]) -> Refusal {
        let events = events(body);
        let device = events
            .first()
            .and_then(|event| event["device_id"].as_str())
            .unwrap_or_default();
        self.blamed.extend(
            events
                .iter()
                .filter(|event| event["device_id"] == device)
                .filter_map(insert_id),
        );
        Refusal::silenced(device, 0)
    }

    /// Accepts the events of a request except the last `missing`.
    fn upload(&mut self, body: &[u8], missing: usize) -> Result<Value, Refusal> {
        let upload = request::read(body)?;
        let (now, key) = (self.now(), upload.api_key.clone());
        if !self.projects.contains_key(&key) {
            return Err(Refusal::whole(&format!("Invalid API key: {key}")));
        }
        let (events, removed) = upload.events()?;
        self.welcome(&key, &events)?;
        let project = self
            .projects
            .get_mut(&key)
            .ok_or_else(|| Refusal::lacks("api_key"))?;
        let taken = &events[..events.len().saturating_sub(missing)];
        project.take(taken, now)?;
        self.removed_ids += removed;
        Ok(response::accepted(
            taken.len(),
            body.len(),
            now.micros().div_euclid(1000),
        ))
    }

    fn welcome(&self, key: &str, events: &[Event]) -> Result<(), Refusal> {
        let is_unwelcome = |event: &Event| {
            let named = self.unwelcome.iter().filter(|(project, _)| project == key);
            named
                .into_iter()
                .any(|(_, name)| request::text(event, "event_type") == Some(name))
        };
        match events.iter().position(is_unwelcome) {
            Some(index) => Err(Refusal::invalid("event_properties", index)),
            None => Ok(()),
        }
    }

    fn search(&self, headers: &HeaderMap) -> Result<Value, Refusal> {
        let credentials = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
        let pair = credentials
            .and_then(|credentials| String::from_utf8(STANDARD.decode(credentials).ok()?).ok());
        let is_known = pair
            .as_deref()
            .and_then(|pair| pair.split_once(':'))
            .is_some_and(|(key, secret)| {
                self.projects
                    .get(key)
                    .is_some_and(|project| project.has_secret(secret))
            });
        if is_known {
            Ok(json!({ "matches": [], "type": "match_user_or_device_id" }))
        } else {
            Err(Refusal {
                status: 401,
                body: json!({ "error": { "http_code": 401, "type": "unauthorized" } }),
            })
        }
    }
}

fn events(body: &[u8]) -> Vec<Value> {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["events"]
        .as_array_mut()
        .map(std::mem::take)
        .unwrap_or_default()
}

fn insert_id(event: &Value) -> Option<String> {
    event["insert_id"].as_str().map(str::to_owned)
}

/// Returns a 429 for the user and the device of the event at this index.
fn throttled(body: &[u8], place: usize) -> Refusal {
    let event = events(body).into_iter().nth(place).unwrap_or_default();
    let id = |field: &str| {
        let id = event[field].as_str();
        id.map(|id| (id.to_owned(), json!(31)))
            .into_iter()
            .collect::<Map<_, _>>()
    };
    Busy {
        users: id("user_id"),
        devices: id("device_id"),
        first: place,
    }
    .throttled()
}
