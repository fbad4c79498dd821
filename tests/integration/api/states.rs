//! The entitlements of a customer and a device over HTTP: the parameters, the `ETag`, and the limits on devices.

use super::edge::{DEVICE_SECRET, Service, TOKEN};
use api::devices::SECRET_HEADER;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

const DEVICE: &str = "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11";

/// Requests a path with an `If-None-Match`; returns the status, the headers and the body.
async fn read(
    service: &Service,
    path: &str,
    key: &str,
    tag: Option<&str>,
) -> (u16, HeaderMap, Value) {
    let request = Request::builder()
        .uri(path)
        .header(header::AUTHORIZATION, format!("Bearer {key}"));
    let request = request
        .header(header::ORIGIN, "https://tv.example.com")
        .header(SECRET_HEADER, DEVICE_SECRET);
    let request = if let Some(tag) = tag {
        request.header(header::IF_NONE_MATCH, tag)
    } else {
        request
    };
    let request = request.body(Body::empty()).expect("a request");
    let answer = service
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("an answer");
    let (parts, body) = answer.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("a body");
    (
        parts.status.as_u16(),
        parts.headers,
        serde_json::from_slice(&bytes).unwrap_or_default(),
    )
}

fn tag(headers: &HeaderMap) -> String {
    headers[header::ETAG].to_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_state_is_tagged_and_read_again_only_when_it_changed() {
    let service = Service::start("states").await;
    let (app, _) = service.platform().await;
    let name = json!({ "external_id": "anna", "app_user_id": "u1" });
    let user = service
        .send_json("PUT", &format!("/v1/apps/{app}/customers"), &name)
        .await
        .body["user_id"]
        .clone();
    let path = format!("/v1/apps/{app}/customers/state?external_id=anna");
    let shown = service.get(&path).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert_eq!(
        (&shown.body["user_id"], &shown.body["environment"]),
        (&user, &json!("production"))
    );
    assert_eq!(
        (&shown.body["purchases"], &shown.body["active_skus"]),
        (&json!([]), &json!([]))
    );
    let names = json!([
        { "key": "external_id", "type": "custom", "value": "anna" },
        { "key": "app_user_id", "type": "app_user_id", "value": "u1" },
    ]);
    assert_eq!(shown.body["external_ids"], names);
    let (status, headers, body) = read(&service, &path, TOKEN, None).await;
    assert_eq!((status, body), (200, shown.body));
    let first = tag(&headers);
    let (status, headers, body) = read(&service, &path, TOKEN, Some(&first)).await;
    assert_eq!(
        (status, tag(&headers), body),
        (304, first.clone(), Value::Null)
    );
    service
        .send_json(
            "PUT",
            &format!("/v1/apps/{app}/customers"),
            &json!({ "external_id": "anna", "app_user_id": "u2" }),
        )
        .await;
    let (status, headers, _) = read(&service, &path, TOKEN, Some(&first)).await;
    assert_eq!(status, 200, "another name");
    assert_ne!(tag(&headers), first);
    let past = service
        .get(&format!("{path}&at=2026-01-01T00:00:00Z"))
        .await
        .body;
    assert_eq!(past["announcement"]["status"], "nothing_announced");
    assert!(
        past["announcement"]["note"]
            .as_str()
            .is_some_and(|note| note.ends_with('.')),
        "{past}"
    );
    assert_eq!(
        (&past["active_entitlements"], &past["at"]),
        (&Value::Null, &json!("2026-01-01T00:00:00.000000Z"))
    );
    let by_user = service
        .get(&format!(
            "/v1/apps/{app}/customers/state?user_id={}",
            user.as_str().expect("an id")
        ))
        .await;
    assert_eq!(by_user.status, 200);
    for (query, field) in [
        ("", "external_id"),
        (
            "?external_id=a&user_id=0198c5a2-7b1e-7c3f-9d20-5a6b7c8d9e0f",
            "external_id",
        ),
        ("?external_id=a&environment=moon", "environment"),
        ("?external_id=a&at=yesterday", "at"),
        ("?user_id=me", "user_id"),
    ] {
        let answer = service
            .get(&format!("/v1/apps/{app}/customers/state{query}"))
            .await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec![field]),
            "{query}: {}",
            answer.body
        );
    }
    assert_eq!(
        service
            .get(&format!("/v1/apps/{app}/customers/state?external_id=otto"))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_device_reads_what_it_may_use_with_the_public_key() {
    let service = Service::with(
        "states-device",
        &[("SETTLE_DEVICES_REQUESTS_PER_SECOND", "1")],
    )
    .await;
    let (_, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await.body;
    let key = shown["publishable_key"].as_str().expect("a key");
    let path = format!("/v1/device/entitlements?device_id={DEVICE}");
    let own = (key, Some(DEVICE_SECRET));
    let answer = service
        .send_of_device(("GET", &path), own, Vec::new())
        .await;
    assert_eq!(
        (answer.status, &answer.body["entitlements"]),
        (200, &json!([])),
        "{}",
        answer.body
    );
    let (_, headers, _) = read(&service, &path, key, None).await;
    assert_eq!(headers[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
    let exposed = headers[header::ACCESS_CONTROL_EXPOSE_HEADERS]
        .to_str()
        .expect("a text")
        .to_lowercase();
    assert!(
        exposed.contains("etag") && exposed.contains("retry-after"),
        "{exposed}"
    );
    assert_eq!(
        read(&service, &path, key, Some(&tag(&headers))).await.0,
        304
    );
    for wrong in ["pk_00000000000000000000000000000000", TOKEN] {
        assert_eq!(read(&service, &path, wrong, None).await.0, 401);
    }
    let nameless = service
        .send_of_device(("GET", "/v1/device/entitlements"), own, Vec::new())
        .await;
    assert_eq!(
        (nameless.status, nameless.wrong_fields()),
        (400, vec!["device_id"])
    );
    let mut last = 200;
    for _ in 0..1000 {
        last = read(&service, &path, key, None).await.0;
        if last != 200 {
            break;
        }
    }
    assert_eq!(last, 429, "the limit of the device");
}
