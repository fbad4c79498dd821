//! A fake OpenTelemetry collector: accepts spans by OTLP over HTTP (`http/protobuf`) and records them.

use super::ports;
use super::shared::locked;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use prost::Message;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Trace id in hexadecimal digits.
    pub trace_id: String,
    pub span_id: String,
    /// Id of the parent span; empty for a root.
    pub parent_id: String,
    pub name: String,
    /// Span kind, such as 2 for a server.
    pub kind: i32,
    pub attributes: BTreeMap<String, String>,
    /// Ids of the spans that this span links to.
    pub links: Vec<String>,
    /// Start and end, in nanoseconds since 1970.
    pub times: (u64, u64),
    pub resource: BTreeMap<String, String>,
}

impl Span {
    /// Returns the value of an attribute; empty if it is absent.
    pub fn attribute(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Seen {
    spans: Vec<Span>,
    bodies: Vec<Vec<u8>>,
    is_hanging: bool,
    requests: usize,
}

type Shared = Arc<Mutex<Seen>>;

pub struct Collector {
    port: u16,
    seen: Shared,
    server: JoinHandle<()>,
}

impl Collector {
    /// Starts a collector that accepts everything.
    pub async fn start() -> Self {
        let (port, seen) = (ports::free(), Shared::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .expect("the collector's port");
        let router = Router::new()
            .route("/v1/traces", post(receive))
            .with_state(seen.clone());
        let server =
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap_or_default() });
        Self { port, seen, server }
    }

    /// Returns the variables of a process that exports to this collector five times per second. They include a proxy,
    /// which no request may use.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                format!("http://127.0.0.1:{}", self.port),
            ),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
            ("HTTP_PROXY", "http://127.0.0.1:1".to_owned()),
            ("http_proxy", "http://127.0.0.1:1".to_owned()),
        ];
        variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Leaves all requests unanswered from now on.
    pub fn hang(&self) {
        self.seen().is_hanging = true;
    }

    pub fn requests(&self) -> usize {
        self.seen().requests
    }

    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.seen().spans.clone()
    }

    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.seen().bodies.clone()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        locked(&self.seen)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(
    State(seen): State<Shared>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    let is_hanging = {
        let mut seen = locked(&seen);
        seen.requests += 1;
        seen.is_hanging
    };
    if is_hanging {
        std::future::pending::<()>().await;
    }
    let is_protobuf = headers
        .get("content-type")
        .is_some_and(|kind| kind == "application/x-protobuf");
    let Some(request) = ExportTraceServiceRequest::decode(body.clone())
        .ok()
        .filter(|_| is_protobuf)
    else {
        return (StatusCode::BAD_REQUEST, Vec::new());
    };
    let mut seen = locked(&seen);
    seen.bodies.push(body.to_vec());
    for process in request.resource_spans {
        let resource = process
            .resource
            .map(|resource| texts(resource.attributes))
            .unwrap_or_default();
        let spans = process
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        seen.spans.extend(spans.map(|span| read(span, &resource)));
    }
    (StatusCode::OK, Vec::new())
}

fn read(span: otlp::Span, resource: &BTreeMap<String, String>) -> Span {
    Span {
        trace_id: hex(&span.trace_id),
        span_id: hex(&span.span_id),
        parent_id: hex(&span.parent_span_id),
        name: span.name,
        kind: span.kind,
        attributes: texts(span.attributes),
        links: span.links.iter().map(|link| hex(&link.span_id)).collect(),
        times: (span.start_time_unix_nano, span.end_time_unix_nano),
        resource: resource.clone(),
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Option<Any>| match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes
        .into_iter()
        .map(|one| (one.key, text(one.value.and_then(|any| any.value))))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
