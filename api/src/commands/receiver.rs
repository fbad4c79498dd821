//! A small webhook receiver: verifies each event by the Standard Webhooks rules, prints it, and may forward it.
//!
//! `settle listen` and the demo of `settle run` use it.

use super::forward::Forward;
use super::table;
use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use std::future::Future;
use std::sync::Arc;
use tokio::net::TcpListener;

/// The body limit: larger than any event.
const BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// Output format of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One readable line.
    Line,
    /// One line of JSON.
    Json,
}

/// How events are received and printed.
pub struct Receiver {
    /// Verifies the signatures of requests.
    pub webhook: Webhook,
    pub style: Style,
    /// The program to which requests are forwarded, if any.
    pub forward: Option<Forward>,
}

/// Returns the verifier for requests that are signed with this secret.
pub fn webhook(secret: &SecretString) -> anyhow::Result<Webhook> {
    let secret = secret
        .expose_secret()
        .strip_prefix("whsec_")
        .filter(|key| !key.is_empty());
    secret
        .and_then(|secret| Webhook::new(secret).ok())
        .ok_or_else(|| {
            anyhow::anyhow!("not a webhook secret (expected `whsec_` followed by base64)")
        })
}

/// Receives events until `stop` completes.
pub async fn receive(
    listener: TcpListener,
    receiver: Receiver,
    stop: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let router = Router::new()
        .fallback(event)
        .layer(DefaultBodyLimit::max(BODY_LIMIT_BYTES))
        .with_state(Arc::new(receiver));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop)
        .await
        .context("the receiver stopped")
}

async fn event(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> Response {
    let id = headers
        .get("webhook-id")
        .and_then(|id| id.to_str().ok())
        .unwrap_or("-");
    if let Err(error) = receiver.webhook.verify(&body, &headers) {
        table::plain(&refused(receiver.style, id, &error.to_string()));
        return (
            StatusCode::UNAUTHORIZED,
            "not signed with this receiver's secret\n",
        )
            .into_response();
    }
    let event = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let Some(forward) = &receiver.forward else {
        table::plain(&received(receiver.style, id, &event));
        return (StatusCode::OK, "received\n").into_response();
    };
    let forwarded = forward.send(&headers, body).await;
    match receiver.style {
        Style::Json => table::plain(
            &json!({
                "webhook_id": id, "verified": true, "event": event, "forwarded": forwarded.shown(forward),
            })
            .to_string(),
        ),
        Style::Line => {
            table::plain(&received(Style::Line, id, &event));
            table::plain(&forwarded.line(forward));
        }
    }
    forwarded.answer()
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
    // A batch of device events is printed as one line per event.
    if let Some(events) = event.as_array() {
        return events
            .iter()
            .map(|event| received(style, id, event))
            .collect::<Vec<_>>()
            .join("\n");
    }
    let at = |path: &str| Some(table::field(event, path)).filter(|text| !text.is_empty());
    // `purchase.updated` has `attributes` and `data`; all other events are flat. A test has a `type` and a message.
    let revision = at("attributes.revision").map(|revision| format!("revision {revision}"));
    let parts = [
        Some("received".to_owned()),
        at("attributes.event_type")
            .or_else(|| at("event_type"))
            .or_else(|| at("type")),
        revision
            .or_else(|| at("user_revision").map(|revision| format!("user_revision {revision}"))),
        Some(summary(event)).filter(|text| !text.is_empty()),
        Some(
            match at("attributes.event_id").or_else(|| at("event_type").and_then(|_| at("id"))) {
                Some(event_id) => format!("(verified, event {event_id}, webhook-id {id})"),
                None => format!("(verified, webhook-id {id})"),
            },
        ),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// Returns the fields of an event that are printed, if they are present.
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
        let value = data.get(name).or_else(|| {
            event
                .get("attributes")
                .and_then(|attributes| attributes.get(name))
        });
        if let Some(value) = value.filter(|value| !value.is_null()) {
            facts.push(format!("{name}={}", table::text(value)));
        }
    }
    facts.join("  ")
}

#[cfg(test)]
mod tests {
    use super::{Style, received, webhook};
    use serde_json::json;

    #[test]
    fn each_kind_of_event_is_one_line_without_gaps() {
        let updated = json!({
            "attributes": {"event_id": "e", "event_type": "purchase.updated", "revision": 2},
            "data": {"product_ref_id": "gold"},
        });
        let renewed = json!({"event_type": "user.subscription.renewed", "user_revision": 4, "environment": "sandbox"});
        let failing = json!({"event_type": "destination.failing", "id": "f"});
        let test = json!({"type": "test", "id": "test_1", "data": {"message": "A test."}});
        for (event, line) in [
            (
                updated,
                "received  purchase.updated  revision 2  product_ref_id=gold  (verified, event e, webhook-id w)",
            ),
            (
                renewed,
                "received  user.subscription.renewed  user_revision 4  (verified, webhook-id w)",
            ),
            (
                failing,
                "received  destination.failing  (verified, event f, webhook-id w)",
            ),
            (test, "received  test  (verified, webhook-id w)"),
        ] {
            assert_eq!(received(Style::Line, "w", &event), line);
        }
    }

    #[test]
    fn only_what_settle_shows_as_a_secret_is_one() {
        assert!(webhook(&"whsec_bm9uc2Vuc2U=".into()).is_ok());
        for wrong in [
            "nonsense",
            "bm9uc2Vuc2U=",
            "whsec_",
            "whsk_bm9uc2Vuc2U=",
            "whsec_?",
        ] {
            assert!(webhook(&wrong.into()).is_err(), "{wrong}");
        }
    }
}
