//! Reports of devices over HTTP: the publishable key, CORS, limits, and invalid events among valid ones.

mod admission;
mod limits;
mod wrong;

use super::edge::{Answer, Service, TOKEN};
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

const DEVICE: &str = "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11";
const SESSION: &str = "b4f6c7a2-94d1-4c5e-9a41-6f1f6a6f2d10";

/// Returns a service and its platform's publishable key.
async fn service(name: &str, variables: &[(&str, &str)]) -> (Service, String) {
    let service = Service::with(name, variables).await;
    let (_, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await.body;
    let key = shown["publishable_key"].as_str().expect("a key").to_owned();
    (service, key)
}

fn request(events: &Value) -> Value {
    json!({
        "device": {
            "id": DEVICE, "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "web/1",
            "os": { "name": "fireos", "version": "8" },
        },
        "sent_at": "2026-11-20T12:00:00Z",
        "events": events,
    })
}

fn start(id: &str) -> Value {
    json!({ "id": id, "type": "device.session.start", "time": "2026-11-20T11:59:00Z", "session_id": SESSION })
}

fn impression(id: &str) -> Value {
    json!({
        "id": id, "type": "device.impression", "time": "2026-11-20T11:59:30Z", "session_id": SESSION,
        "impression": { "paywall": "summer", "products": [{ "sku": "month", "price": "4.99", "currency": "EUR" }] },
    })
}

fn transaction(id: &str) -> Value {
    json!({
        "id": id, "type": "device.transaction", "time": "2026-11-20T11:59:40Z", "session_id": SESSION,
        "transaction": {
            "kind": "purchased", "receipt_id": format!("receipt-{id}"), "app_user_id": "u1", "sku": "month",
            "price": "4.99", "currency": "EUR", "marketplace": "DE", "impression_id": "b",
        },
    })
}

impl Service {
    async fn report(&self, key: &str, body: &Value) -> Answer {
        self.send(
            "POST",
            "/v1/device/events",
            Some(&format!("Bearer {key}")),
            body.to_string().into_bytes(),
        )
        .await
    }
}

#[tokio::test]
async fn events_are_stored_once() {
    let (service, key) = service("device", &[]).await;
    let body = request(&json!([start("a"), impression("b")]));
    let first = service.report(&key, &body).await;
    assert_eq!(
        (first.status, &first.body),
        (
            200,
            &json!({ "accepted": 2, "repeated": 0, "rejected": [] })
        )
    );
    let again = service.report(&key, &body).await;
    assert_eq!(
        again.body,
        json!({ "accepted": 0, "repeated": 2, "rejected": [] })
    );
    assert_eq!(service.count("device_events"), 2);
}

#[tokio::test]
async fn only_the_publishable_key_opens_the_device_api() {
    let (service, key) = service("device-key", &[]).await;
    let body = request(&json!([start("a")]));
    for wrong in [
        "pk_00000000000000000000000000000000",
        TOKEN,
        "",
        &"x".repeat(5000),
    ] {
        assert_eq!(service.report(wrong, &body).await.status, 401, "{wrong}");
    }
    let without = service
        .send(
            "POST",
            "/v1/device/events",
            None,
            body.to_string().into_bytes(),
        )
        .await;
    assert_eq!(without.status, 401);
    assert!(
        without.body["detail"]
            .as_str()
            .expect("a string")
            .contains("pk_"),
        "{}",
        without.body
    );
    let admin = service
        .send(
            "GET",
            "/v1/apps",
            Some(&format!("Bearer {key}")),
            Vec::new(),
        )
        .await;
    assert_eq!(admin.status, 401, "a publishable key is no API key");
    let apps = service.get("/v1/apps").await.body;
    let app = apps["items"][0]["id"].as_str().expect("an id");
    let platforms = service.get(&format!("/v1/apps/{app}/platforms")).await.body;
    let path = format!(
        "/v1/platforms/{}/rotate-publishable-key",
        platforms["items"][0]["id"].as_str().expect("an id")
    );
    let rotated = service.send_json("POST", &path, &json!({})).await.body;
    let new = rotated["publishable_key"].as_str().expect("a key");
    assert_eq!(
        service.report(&key, &body).await.status,
        401,
        "the old key no longer works"
    );
    assert_eq!(service.report(new, &body).await.status, 200);
}

#[tokio::test]
async fn a_page_of_any_origin_may_report() {
    let (service, key) = service("device-cors", &[]).await;
    let send = async |builder: axum::http::request::Builder, body: String| {
        let request = builder
            .uri("/v1/device/events")
            .header(header::ORIGIN, "https://tv.example.com");
        service
            .router
            .clone()
            .oneshot(request.body(Body::from(body)).expect("a request"))
            .await
            .expect("an answer")
    };
    let preflight = Request::builder()
        .method("OPTIONS")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            "authorization,content-type,settle-device-secret",
        );
    let allowed = send(preflight, String::new()).await;
    assert!(allowed.status().is_success(), "{allowed:?}");
    let shown = |name: header::HeaderName| {
        allowed.headers()[name]
            .to_str()
            .expect("a string")
            .to_lowercase()
    };
    assert_eq!(shown(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    assert!(shown(header::ACCESS_CONTROL_ALLOW_METHODS).contains("post"));
    for name in [
        "authorization",
        "content-type",
        "if-none-match",
        "settle-device-secret",
    ] {
        assert!(
            shown(header::ACCESS_CONTROL_ALLOW_HEADERS).contains(name),
            "{allowed:?}"
        );
    }
    let post = || Request::builder().method("POST");
    for (builder, status) in [
        (
            post().header(header::AUTHORIZATION, format!("Bearer {key}")),
            200,
        ),
        (post().header(header::AUTHORIZATION, "Bearer pk_no"), 401),
    ] {
        let answer = send(builder, request(&json!([start("a")])).to_string()).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(
            answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN],
            "*",
            "a page can read the error, too"
        );
        assert_eq!(
            answer.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS],
            "etag,retry-after"
        );
    }
    let admin = Request::builder()
        .uri("/v1/apps")
        .header(header::ORIGIN, "https://tv.example.com");
    let admin = service
        .router
        .clone()
        .oneshot(admin.body(Body::empty()).expect("a request"))
        .await
        .expect("an answer");
    assert!(
        admin
            .headers()
            .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
            .is_none()
    );
}

#[tokio::test]
async fn an_event_is_found_and_explained() {
    let (service, key) = service("device-explained", &[]).await;
    service
        .report(&key, &request(&json!([start("a"), impression("b")])))
        .await;
    let listed = service
        .get(&format!("/v1/device-events?device_id={DEVICE}&client_id=b"))
        .await
        .body;
    let event = &listed["items"][0];
    assert_eq!(
        (listed["items"].as_array().map(Vec::len), &event["type"]),
        (Some(1), &json!("device.impression"))
    );
    let id = event["id"].as_str().expect("an id");
    let shown = service.get(&format!("/v1/device-events/{id}")).await.body;
    assert_eq!(
        (&shown["client_id"], &shown["body"]["data"]["paywall"]),
        (&json!("b"), &json!("summer"))
    );
    let explained = service.get(&format!("/v1/explain/events/{id}")).await.body;
    let summary = explained["summary"].as_str().expect("a sentence");
    assert!(
        summary.contains("device.impression") && summary.contains(DEVICE),
        "{summary}"
    );
    assert_eq!(
        explained["then"].as_array().map(Vec::len),
        Some(2),
        "the cause, and that there is no destination"
    );
    assert_eq!(
        service
            .get(&format!("/v1/device-events/{DEVICE}"))
            .await
            .status,
        404
    );
    assert_eq!(
        service.get("/v1/device-events?status=lost").await.status,
        400
    );
}
