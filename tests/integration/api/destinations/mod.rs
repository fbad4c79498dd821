//! Destinations: the common fields, the fields of each kind, and actions.

mod actions;
mod amplitude;
mod documented;
mod email;
mod fields;
mod secret_urls;
mod slack;
mod webhooks;

use super::edge::{Answer, Service};
use serde_json::{Value, json};

/// Returns a service with an app, and the path of the app's destinations.
async fn desk(name: &str) -> (Service, String) {
    let service = Service::start(name).await;
    let (app, _) = service.platform().await;
    (service, format!("/v1/apps/{app}/destinations"))
}

/// Returns a service with this SMTP server, and the path of its app's destinations.
async fn desk_with_mail(name: &str, url: &str) -> (Service, String) {
    let service = Service::with(
        name,
        &[
            ("SETTLE_MAIL_URL", url),
            ("SETTLE_MAIL_FROM", "settle@example.com"),
        ],
    )
    .await;
    let (app, _) = service.platform().await;
    (service, format!("/v1/apps/{app}/destinations"))
}

/// Returns the body of a new email destination.
fn mails() -> Value {
    json!({ "kind": "email", "name": "on-call", "to": ["ops@example.com"], "events": ["destination.*"] })
}

/// Returns the body of a new webhook.
fn webhook() -> Value {
    json!({ "kind": "webhook", "name": "hook", "url": "https://example.com/hooks" })
}

/// Returns the body of a new webhook with this field.
fn webhook_with(field: &str, value: &Value) -> Value {
    let mut body = webhook();
    body[field] = value.clone();
    body
}

/// Creates a destination; returns its path and the answer.
async fn create(service: &Service, list: &str, body: &Value) -> (String, Value) {
    let created = service.send_json("POST", list, body).await;
    assert_eq!(created.status, 201, "{body}: {}", created.body);
    (
        format!(
            "/v1/destinations/{}",
            created.body["id"].as_str().expect("an id")
        ),
        created.body,
    )
}

/// Checks that the answer is a 400 that names exactly these fields.
fn check_wrong(answer: &Answer, fields: &[&str]) {
    let mut wrong = answer.wrong_fields();
    wrong.sort_unstable();
    assert_eq!(
        (answer.status, wrong),
        (400, fields.to_vec()),
        "{}",
        answer.body
    );
}
