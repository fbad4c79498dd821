//! `/v1/stores`: receives stores' messages. Each store's folder parses and stores them.

use crate::answer::Text;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{BodyLimit, Ids, Message};
use crate::operation::{Input, Operation, Schemas};
use crate::stores::ingress::{Answer, StoreRequest};
use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State};
use axum::http::{HeaderMap, StatusCode};
use storage::chain;
use tokio::task::JoinError;
use traces::{Span, SpanKind};

/// A store's message to a platform's ingress key. The key and headers are checked before the body is read, because
/// reading a body costs memory and time.
pub struct Delivered {
    store: String,
    ingress_key: String,
    headers: HeaderMap,
    body: Message,
    span: Span,
}

impl FromRequest<Shared> for Delivered {
    type Rejection = Error;

    async fn from_request(request: Request, edge: &Shared) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let Ids(store, ingress_key) =
            Ids::<String, String>::from_request_parts(&mut parts, edge).await?;
        let checked = edge
            .check_ingress(&store, &ingress_key, &parts.headers)
            .await;
        checked
            .ok_or_else(|| Error::missing("store", &store))?
            .map_err(refused)?;
        // Requests with unknown keys create no spans.
        let span = Span::of(
            &[],
            "POST /v1/stores/{store}/{ingress_key}",
            SpanKind::Server,
        );
        span.describe(|span| describe(span, &store));
        let headers = parts.headers.clone();
        let mut request = Request::from_parts(parts, body);
        let known = edge.known.iter().find(|known| known.name == store);
        if let Some(limit) = known.map(|known| known.max_body_bytes) {
            DefaultBodyLimit::max(limit).apply(&mut request);
            request.extensions_mut().insert(BodyLimit(limit));
        }
        let body = Message::from_request(request, edge).await?;
        Ok(Self {
            store,
            ingress_key,
            headers,
            body,
            span,
        })
    }
}

impl Input for Delivered {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Ids::<String, String>::describe(operation, schemas);
        Message::describe(operation, schemas);
    }
}

/// `POST /v1/stores/{store}/{ingress_key}`
pub async fn receive(
    State(edge): State<Shared>,
    message: Delivered,
) -> Result<(StatusCode, Text), Error> {
    let Delivered {
        store,
        ingress_key,
        headers,
        body: Message(body),
        span,
    } = message;
    // A separate task, so that it finishes even if the client disconnects: what it stores must also be signalled.
    let name = store.clone();
    let receiving = span.within(async move {
        let request = StoreRequest {
            ingress_key: &ingress_key,
            headers: &headers,
            body: &body,
        };
        edge.receive(&name, request).await
    });
    let receiving = tokio::spawn(receiving);
    let Some(answer) = receiving.await.map_err(|error| failed(&error))? else {
        return Err(Error::missing("store", store));
    };
    span.set("http.response.status_code", i64::from(answer.status));
    if answer.status >= StatusCode::INTERNAL_SERVER_ERROR.as_u16() {
        span.describe(|span| span.fail(answer.status.to_string()));
    }
    match StatusCode::from_u16(answer.status) {
        Ok(status) if status.is_success() => {
            // A 204 with content would end the connection.
            let has_content = status != StatusCode::NO_CONTENT;
            let reason = if has_content { answer.reason } else { "" };
            let (media, text) = ("text/plain; charset=utf-8", reason.to_owned());
            Ok((status, Text { media, text }))
        }
        _ => Err(refused(answer)),
    }
}

/// Sets a span's attributes. The path ends with the ingress key, which is a secret.
fn describe(span: &Span, store: &str) {
    span.set("http.request.method", "POST");
    span.set("http.route", "/v1/stores/{store}/{ingress_key}");
    span.set("url.scheme", "http");
    span.set("url.path", format!("/v1/stores/{store}/REDACTED"));
}

fn refused(answer: Answer) -> Error {
    Error::Store {
        status: answer.status,
        reason: answer.reason.to_owned(),
    }
}

/// Logs that the receiving task panicked or was cancelled, and returns a 500.
fn failed(error: &JoinError) -> Error {
    tracing::error!(error = chain(error), "the ingress of a store failed");
    Error::Internal
}
