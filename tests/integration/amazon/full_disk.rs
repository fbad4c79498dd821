//! The service's answers while the disk is full, and while less than the reserve is free.

use super::{World, renewal};
use api::router;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

const FULL: &str = "the disk of the database is full";

/// A device's secret of 32 bytes, in base64.
const SECRET: &str = "c2V0dGxlLXRlc3Qtc2VjcmV0LW9mLTMyLWJ5dGVzIS0";

/// Sends a request with a publishable key; returns the status, `Retry-After` and the body.
async fn send(router: &Router, path: &str, body: Option<&Value>) -> (u16, Option<String>, Value) {
    let method = if body.is_some() { "POST" } else { "GET" };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::AUTHORIZATION, "Bearer pk_test");
    let request = request.header("settle-device-secret", SECRET);
    let body = body.map(Value::to_string).unwrap_or_default();
    let request = request.body(Body::from(body)).expect("a request");
    let (parts, body) = router
        .clone()
        .oneshot(request)
        .await
        .expect("an answer")
        .into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("a body");
    let wait = parts
        .headers
        .get(header::RETRY_AFTER)
        .map(|wait| wait.to_str().expect("a text").to_owned());
    (
        parts.status.as_u16(),
        wait,
        serde_json::from_slice(&bytes).unwrap_or_default(),
    )
}

fn device() -> Value {
    json!({
        "id": "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11", "first_launch": "2026-01-01T08:00:00Z", "app_version": "3.1",
        "sdk_version": "web/1", "os": { "name": "fireos", "version": "8" },
    })
}

fn report(id: &str) -> Value {
    let impression = json!({ "paywall": "summer" });
    let event = json!({
        "id": id, "type": "device.impression", "time": "2026-06-01T12:00:00Z", "impression": impression,
    });
    json!({ "device": device(), "sent_at": "2026-06-01T12:00:00Z", "events": [event] })
}

async fn check_refused(router: &Router) {
    let login = json!({ "device": device(), "external_id": "anna" });
    let logout = json!({ "device": device() });
    for (path, body) in [
        ("events", &report("a")),
        ("login", &login),
        ("logout", &logout),
    ] {
        let (status, wait, body) = send(router, &format!("/v1/device/{path}"), Some(body)).await;
        assert_eq!(
            (status, wait.as_deref()),
            (503, Some("60")),
            "{path}: {body}"
        );
        assert_eq!(body["type"], "urn:settle:problem:no_room", "{body}");
        assert!(
            body["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains("disk")),
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_full_disk_is_not_ready() {
    let world = World::following().await;
    let edge = world.edge(&[]);
    let (router, room) = (
        router::router(edge.clone(), &pages::DASHBOARD),
        &edge.devices.room,
    );
    let point = format!(
        "storage.full/{}",
        world.folder.path().join("settle.db").display()
    );
    fail::cfg(&point, "return").expect("a fail point");
    let mut accepted = 0;
    let answer = loop {
        let answer = world.post(&renewal(accepted)).await;
        if answer.0 != 200 {
            break answer;
        }
        accepted += 1;
        assert!(
            accepted < 1000,
            "a database that cannot grow takes everything"
        );
    };
    assert_eq!(answer, (503, FULL));
    for _ in 0..2 {
        let (status, _, body) = send(&router, "/readyz", None).await;
        assert_eq!(status, 503);
        assert!(
            body["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(FULL)),
            "{body}"
        );
        check_refused(&router).await;
        room.refresh(&world.store).await;
    }

    fail::remove(&point);
    room.refresh(&world.store).await;
    let (status, _, body) = send(&router, "/readyz", None).await;
    assert_eq!(status, 200, "there is room, and nothing was sent: {body}");
    assert_eq!(
        world.post(&renewal(accepted)).await.0,
        200,
        "the store repeats its message"
    );
    check_refused(&router).await;
    let (status, _, body) = send(
        &router,
        "/v1/device/entitlements?device_id=2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11",
        None,
    )
    .await;
    assert_eq!(status, 200, "what only reads is answered: {body}");
}

#[tokio::test]
async fn a_flood_of_devices_leaves_the_reserve_of_the_disk() {
    let world = World::following().await;
    let edge = world.edge(&[("SETTLE_DEVICES_DISK_RESERVE", "16000000TiB")]);
    let router = router::router(edge.clone(), &pages::DASHBOARD);
    let (status, _, body) = send(&router, "/v1/device/events", Some(&report("before"))).await;
    assert_eq!(status, 200, "before the first refresh: {body}");
    for number in 0..10 {
        edge.devices.room.refresh(&world.store).await;
        check_refused(&router).await;
        assert_eq!(
            world.post(&renewal(number)).await.0,
            200,
            "a notification is no device's"
        );
    }
    assert_eq!(send(&router, "/readyz", None).await.0, 200);
    assert_eq!(
        (world.alarms().await, world.raised().await),
        (vec!["disk_reserve".to_owned()], 1)
    );
    let edge = world.edge(&[("SETTLE_DEVICES_DISK_RESERVE", "off")]);
    edge.devices.room.refresh(&world.store).await;
    let (status, _, body) = send(
        &router::router(edge, &pages::DASHBOARD),
        "/v1/device/events",
        Some(&report("after")),
    )
    .await;
    assert_eq!((status, &body["accepted"]), (200, &json!(1)), "{body}");
}
