//! A small webhook receiver: verifies each event by the Standard Webhooks rules and prints it.
//!
//! `settle listen` and the demo of `settle run` use it.

use super::table;
use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The body limit: larger than any event.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// How an event is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One readable line.
    Line,
    /// One line of JSON.
    Json,
}

struct Receiver {
    webhook: Webhook,
    style: Style,
}

/// Receives until `stop` ends.
pub async fn receive(
    listener: TcpListener,
    secret: &SecretString,
    style: Style,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let webhook = Webhook::new(secret.expose_secret()).map_err(|_| {
        anyhow::anyhow!("this is not a webhook secret (expected `whsec_` and base64, as settle showed it)")
    })?;
    let router = Router::new()
        .fallback(event)
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .with_state(Arc::new(Receiver { webhook, style }));
    axum::serve(listener, router).with_graceful_shutdown(stop).await.context("the receiver stopped")
}

async fn event(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or("-");
    if let Err(error) = receiver.webhook.verify(&body, &headers) {
        table::plain(&refused(receiver.style, id, &error.to_string()));
        return (StatusCode::UNAUTHORIZED, "not signed with the secret that this receiver knows\n");
    }
    let event = serde_json::from_slice(&body).unwrap_or(Value::Null);
    table::plain(&received(receiver.style, id, &event));
    (StatusCode::OK, "received\n")
}

fn refused(style: Style, id: &str, reason: &str) -> String {
    match style {
        Style::Json => json!({"webhook_id": id, "verified": false, "reason": reason}).to_string(),
        Style::Line => format!("refused   webhook-id {id}: {reason}"),
    }
}

fn received(style: Style, id: &str, event: &Value) -> String {
    if style == Style::Json {
        return json!({"webhook_id": id, "verified": true, "event": event}).to_string();
    }
    let at = |path: &str| table::field(event, path);
    // `purchase.updated` has `attributes` and `data`; all other events are flat.
    let either =
        |nested: &str, flat: &str| Some(at(nested)).filter(|text| !text.is_empty()).unwrap_or_else(|| at(flat));
    format!(
        "received  {}  revision {}  {}  (verified, event {}, webhook-id {id})",
        either("attributes.event_type", "event_type"),
        either("attributes.revision", "user_revision"),
        summary(event),
        either("attributes.event_id", "id"),
    )
}

/// The fields of an event that are printed, if they are present.
fn summary(event: &Value) -> String {
    let data = event.get("data").unwrap_or(event);
    let shown = [
        "transaction_id",
        "product_ref_id",
        "purchase_price",
        "is_active",
        "is_auto_renewable",
        "expires_at",
        "coalesced",
    ];
    let mut facts: Vec<String> = Vec::new();
    for name in shown {
        let value = data.get(name).or_else(|| event.get("attributes").and_then(|attributes| attributes.get(name)));
        if let Some(value) = value.filter(|value| !value.is_null()) {
            facts.push(format!("{name}={}", table::text(value)));
        }
    }
    facts.join("  ")
}
