//! `settle codec`: the codec server of the Temporal UI and command line, which shows them the payloads that settle
//! encrypted (<https://docs.temporal.io/codec-server>).
//!
//! It has the keys of payloads and no database: who may read is decided by the service, with the key of the API that
//! the head of a request has. Nothing of a body is read before that.

use super::client::{Callers, Remote};
use super::stop::Stop;
use super::{serve, settings, sockets, table};
use crate::config::{environment, load};
use crate::listener::Listener;
use crate::telemetry;
use activities::engine::{Codec, CodecError};
use anyhow::{Context, bail};
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use storage::Role;
use temporalio_common::protos::temporal::api::common::v1::Payload;
use tower_http::cors::CorsLayer;
use url::Url;

/// Maximum size of a body in bytes: a page of a history.
const BODY_LIMIT: usize = 16 * 1024 * 1024;
/// The least role that may read payloads: they name what support sees in the API.
const LEAST: Role = Role::Support;
/// The header by which the UI and the command line name a namespace.
const NAMESPACE: HeaderName = HeaderName::from_static("x-namespace");

/// Decrypt payloads for the Temporal UI and command line. Needs SETTLE_ENGINE_KEY, and a running service.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Who reads needs a key of the API of all apps, with the role support or more, as
`Authorization: Bearer KEY`. The service checks it, so it must run.

Example:
  SETTLE_ENGINE_KEY=… settle codec --ui http://localhost:8233
  temporal workflow show --workflow-id purchase/KEY --codec-endpoint http://127.0.0.1:8084 --codec-auth \"Bearer sk_…\"
Next: in the Temporal UI set the codec endpoint http://127.0.0.1:8084 and that
it passes the user's access token, or put a proxy before it that adds the key.")]
pub struct Options {
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", value_parser = settings::address, default_value = "127.0.0.1:8084")]
    listen: SocketAddr,
    /// Origin of a Temporal UI that may call it, such as http://localhost:8233; may be repeated.
    #[arg(long, value_name = "ORIGIN")]
    ui: Vec<Url>,
    #[command(flatten)]
    remote: Remote,
}

/// What the handlers need.
struct Server {
    codec: Codec,
    callers: Callers,
}

type Shared = Arc<Server>;

/// Serves until the process is stopped.
pub async fn codec(options: Options) -> anyhow::Result<ExitCode> {
    let variables = environment();
    telemetry::start(&variables).map_err(anyhow::Error::msg)?;
    let config = load(&options.remote.flags(), &variables)?;
    if config.engine_key.is_none() {
        bail!("no key of payloads: set SETTLE_ENGINE_KEY to that of the service, which encrypts them with it");
    }
    let callers = Callers::of(&options.remote.service()?)?;
    let server = Arc::new(Server { codec: serve::codec(&config), callers });
    let origins = options.ui.iter().map(origin).collect::<anyhow::Result<Vec<_>>>()?;
    let socket = sockets::bind("--listen", options.listen)?;
    table::line(&format!("The codec server listens on http://{} (Ctrl-C ends)", socket.local_addr()?));
    let stop = Stop::on_signals()?;
    let listener = Listener { name: "codec", socket, limits: sockets::of_codec() };
    sockets::until_cut_off(listener.serve(router(server, origins), stop.clone().requested()), stop).await;
    Ok(ExitCode::SUCCESS)
}

fn origin(url: &Url) -> anyhow::Result<HeaderValue> {
    let origin = url.origin();
    if !origin.is_tuple() || url.path() != "/" {
        bail!("--ui takes an origin such as http://localhost:8233, and `{url}` is none");
    }
    HeaderValue::try_from(origin.ascii_serialization()).context("the origin of a UI")
}

/// The routes. Browsers let pages of these origins alone read the answers.
fn router(server: Shared, origins: Vec<HeaderValue>) -> Router {
    let cors = CorsLayer::new().allow_origin(origins).allow_methods([Method::POST]).allow_headers([
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        NAMESPACE,
    ]);
    Router::new()
        .route("/encode", post(encode))
        .route("/decode", post(decode))
        .route_layer(from_fn_with_state(server.clone(), allow))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(cors)
        .with_state(server)
}

/// The body of requests and answers: the protobuf `Payloads` as JSON, where bytes are base64.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Payloads {
    payloads: Vec<JsonPayload>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct JsonPayload {
    metadata: BTreeMap<String, Bytes>,
    data: Bytes,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
struct Bytes(Vec<u8>);

impl TryFrom<String> for Bytes {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

impl From<Bytes> for String {
    fn from(Bytes(bytes): Bytes) -> Self {
        STANDARD.encode(bytes)
    }
}

impl From<JsonPayload> for Payload {
    fn from(JsonPayload { metadata, data }: JsonPayload) -> Self {
        let metadata = metadata.into_iter().map(|(name, Bytes(value))| (name, value)).collect();
        Self { metadata, data: data.0, ..Self::default() }
    }
}

impl From<Payload> for JsonPayload {
    fn from(payload: Payload) -> Self {
        let metadata = payload.metadata.into_iter().map(|(name, value)| (name, Bytes(value))).collect();
        Self { metadata, data: Bytes(payload.data) }
    }
}

/// Why a request is refused.
type Refusal = (StatusCode, String);
type Body = Result<Json<Payloads>, JsonRejection>;

async fn encode(State(server): State<Shared>, body: Body) -> Response {
    answer(body, |payload| server.codec.encrypt(payload))
}

async fn decode(State(server): State<Shared>, body: Body) -> Response {
    answer(body, |payload| server.codec.decrypt(payload))
}

fn answer(body: Body, convert: impl Fn(Payload) -> Result<Payload, CodecError>) -> Response {
    let Json(Payloads { payloads }) = match body {
        Ok(body) => body,
        Err(rejection) => return refused(refusal(rejection.status(), rejection.body_text())),
    };
    let converted = payloads.into_iter().map(|payload| convert(payload.into()).map(Into::into));
    match converted.collect() {
        Ok(payloads) => Json(Payloads { payloads }).into_response(),
        Err(error) => refused(refusal(StatusCode::BAD_REQUEST, error)),
    }
}

/// Lets those through who may read, by the head of the request.
async fn allow(
    State(server): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
    next: Next,
) -> Response {
    match server.authorize(peer, request.headers()).await {
        Ok(()) => next.run(request).await,
        Err(refusal) => refused(refusal),
    }
}

impl Server {
    /// Lets the service decide whose key it is.
    async fn authorize(&self, peer: SocketAddr, headers: &HeaderMap) -> Result<(), Refusal> {
        let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(authorization) = authorization else {
            return Err(refusal(StatusCode::UNAUTHORIZED, "a key of the API is missing: `Authorization: Bearer KEY`"));
        };
        let (status, caller) = self.callers.find(authorization, peer.ip()).await.map_err(|error| {
            tracing::warn!(error = format!("{error:#}"), "the service does not answer whose key it is");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "the service does not answer")
        })?;
        match StatusCode::from_u16(status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE) {
            StatusCode::OK => {}
            status if status.is_client_error() => return Err(refusal(status, "the service refuses this key")),
            _ => return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "the service does not answer")),
        }
        let role = caller["role"].as_str().and_then(|role| role.parse::<Role>().ok());
        if role.is_none_or(|role| role < LEAST) || !caller["app_id"].is_null() {
            let detail =
                format!("payloads are of all apps: this needs a key of all apps with the role {}", LEAST.as_str());
            return Err(refusal(StatusCode::FORBIDDEN, detail));
        }
        Ok(())
    }
}

fn refusal(status: StatusCode, detail: impl std::fmt::Display) -> Refusal {
    (status, detail.to_string())
}

fn refused((status, message): Refusal) -> Response {
    (status, Json(json!({ "message": message }))).into_response()
}
