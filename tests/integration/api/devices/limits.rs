//! Devices that exceed limits.

use super::{request, service, start};
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use serde_json::json;
use tower::ServiceExt;

#[tokio::test]
async fn an_address_that_sends_too_many_bytes_is_put_off() {
    let limits = [("SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS", "32KiB")];
    let (service, key) = service("device-bytes", &limits).await;
    let bearer = format!("Bearer {key}");
    let large = request(&json!(vec![json!(["x".repeat(1000)]); 490]))
        .to_string()
        .into_bytes();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(
            service
                .send("POST", "/v1/device/events", Some(&bearer), large.clone())
                .await
                .status,
        );
    }
    assert_eq!(statuses[..2], [200, 200], "1 MiB at once");
    assert_eq!(statuses[3], 429, "{statuses:?}");
    let spared = service
        .send("POST", "/v1/device/events", Some(&bearer), b"{".to_vec())
        .await;
    assert_eq!(
        spared.status, 400,
        "a small one is within the bound, and counted before it is read"
    );
}

#[tokio::test]
async fn too_many_requests_are_put_off() {
    let limits = [("SETTLE_DEVICES_REQUESTS_PER_SECOND", "1")];
    let (service, key) = service("device-limits", &limits).await;
    let body = request(&json!([start("a")]));
    for _ in 0..10 {
        assert_eq!(service.report(&key, &body).await.status, 200);
    }
    let mut more = 0;
    let answer = loop {
        let request = Request::builder().method("POST").uri("/v1/device/events");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        let request = request
            .body(Body::from(body.to_string()))
            .expect("a request");
        let answer = service
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        more += 1;
        assert!(more < 1000, "a thousand requests were taken at once");
        if answer.status().as_u16() != 200 {
            break answer;
        }
    };
    assert_eq!(
        (
            answer.status().as_u16(),
            &answer.headers()[header::RETRY_AFTER]
        ),
        (429, &HeaderValue::from_static("1"))
    );
    let mut other = body.clone();
    other["device"]["id"] = json!("5d2b9f0e-52cf-4a8e-b6a4-8f6ad6a7c001");
    assert_eq!(
        service.report(&key, &other).await.status,
        200,
        "another device is not held up"
    );
}
