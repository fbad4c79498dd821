//! A proxy between an app and settle: it records each request, and forwards it, drops it or its answer, or answers in
//! settle's place.

use super::wait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Client;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Maximum size of a recorded request: more than settle accepts.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// What the gate does with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Way {
    #[default]
    Open,
    Closed,
    /// Forwards requests, and drops the connections instead of answering.
    Deaf,
}

/// An answer in settle's place.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// One response header, if any.
    pub header: Option<(HeaderName, &'static str)>,
    /// Response body; null for none.
    pub body: Value,
}

/// A request of the app other than a preflight.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    /// Method and path with the query, such as `GET /v1/apps?limit=1`.
    pub line: String,
    pub headers: HeaderMap,
    /// Request body; null for none.
    pub body: Value,
}

#[derive(Default)]
struct Inner {
    way: Way,
    replies: BTreeMap<String, VecDeque<Reply>>,
    held: BTreeSet<String>,
    seen: Vec<Seen>,
}

#[derive(Clone)]
struct Shared {
    settle: String,
    inner: Arc<Mutex<Inner>>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Gate {
    port: u16,
    shared: Shared,
    server: JoinHandle<()>,
}

impl Gate {
    /// Starts a gate to the service at this URL.
    pub async fn start(settle: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let shared = Shared {
            settle: settle.to_owned(),
            inner: Arc::default(),
        };
        let router = Router::new().fallback(pass).with_state(shared.clone());
        let server =
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Self {
            port,
            shared,
            server,
        }
    }

    /// Returns the URL that the app uses as settle's.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets what happens to requests from now on.
    pub fn set(&self, way: Way) {
        self.shared.inner().way = way;
    }

    /// Answers the next requests to a path with these replies; later ones are forwarded again.
    pub fn answer(&self, path: &str, replies: impl IntoIterator<Item = Reply>) {
        self.shared
            .inner()
            .replies
            .entry(path.to_owned())
            .or_default()
            .extend(replies);
    }

    /// Holds requests to a path: they are recorded, and answered only after [`Gate::release`].
    pub fn hold(&self, path: &str) {
        self.shared.inner().held.insert(path.to_owned());
    }

    /// Lets requests to a path that [`Gate::hold`] holds continue.
    pub fn release(&self, path: &str) {
        self.shared.inner().held.remove(path);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.shared.inner().seen.clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn pass(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, MAX_BODY_BYTES)
        .await
        .unwrap_or_default();
    let path = parts
        .uri
        .path_and_query()
        .map(ToString::to_string)
        .unwrap_or_default();
    let plain = path.split('?').next().unwrap_or_default();
    shared
        .inner()
        .record(&parts.method, &path, &parts.headers, &body);
    while shared.inner().held.contains(plain) {
        wait::pass(Duration::from_millis(10)).await;
    }
    let (way, reply) = shared.inner().take(&parts.method, plain);
    let response = match (way, reply) {
        (Way::Closed, _) => None,
        (_, Some(reply)) => Some(reply.into_response()),
        (Way::Open, None) => Some(forward(&shared, &parts, body).await),
        (Way::Deaf, None) => {
            let answer = forward(&shared, &parts, body).await;
            // A page sends no report until its preflight has been answered.
            (parts.method == Method::OPTIONS).then_some(answer)
        }
    };
    // Ends the connection's task without sending a byte, which no response can do.
    response.unwrap_or_else(|| std::panic::resume_unwind(Box::new("the connection is dropped")))
}

impl Inner {
    fn record(&mut self, method: &Method, path: &str, headers: &HeaderMap, body: &Bytes) {
        if method != Method::OPTIONS {
            let body = serde_json::from_slice(body).unwrap_or(Value::Null);
            let line = format!("{method} {path}");
            self.seen.push(Seen {
                at: Instant::now(),
                line,
                headers: headers.clone(),
                body,
            });
        }
    }

    /// Returns how to treat a request to this path, which has no query.
    fn take(&mut self, method: &Method, path: &str) -> (Way, Option<Reply>) {
        let replies = self.replies.get_mut(path);
        if method == Method::OPTIONS {
            return (
                self.way,
                replies.map(|_| Reply {
                    status: 204,
                    header: None,
                    body: Value::Null,
                }),
            );
        }
        let reply = if self.way == Way::Closed {
            None
        } else {
            replies.and_then(VecDeque::pop_front)
        };
        (self.way, reply)
    }
}

/// Returns a client without connection pooling.
fn plain_client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        // An error means that the provider is already installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        #[expect(
            clippy::disallowed_methods,
            reason = "the tests are clients of settle, not a part of it"
        )]
        let client = Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build();
        client.expect("a client")
    })
}

/// Forwards a request to settle, and returns the answer with its headers.
async fn forward(shared: &Shared, parts: &axum::http::request::Parts, body: Bytes) -> Response {
    let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
    let request = plain_client()
        .request(parts.method.clone(), format!("{}{path}", shared.settle))
        .body(body);
    let request = request
        .headers(parts.headers.clone())
        .build()
        .expect("a request");
    #[expect(
        clippy::disallowed_methods,
        reason = "the gate is not a part of settle"
    )]
    let answered = plain_client().execute(request).await;
    let Ok(answer) = answered else {
        return StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(header::TRANSFER_ENCODING);
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    (status, headers, answer.bytes().await.unwrap_or_default()).into_response()
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let text = if self.body.is_null() {
            String::new()
        } else {
            self.body.to_string()
        };
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = StatusCode::from_u16(self.status).expect("a status");
        let cors = [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (header::ACCESS_CONTROL_ALLOW_METHODS, "GET,POST"),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                "authorization,content-type,if-none-match,settle-device-secret",
            ),
            (header::ACCESS_CONTROL_EXPOSE_HEADERS, "etag,retry-after"),
            (header::CONNECTION, "close"),
        ];
        for (name, value) in cors.into_iter().chain(self.header) {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
