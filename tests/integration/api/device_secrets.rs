//! A device's secret over HTTP: the device's id alone authorises nothing.

use super::edge::{Answer, DEVICE_SECRET, Service};
use serde_json::{Value, json};

const DEVICE: &str = "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11";
const OTHER_SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// The advice to a device without a secret.
const ADVICE: &str = "create a new id with a secret";

/// A service, and its platform's publishable key.
struct Stage {
    service: Service,
    key: String,
}

impl Stage {
    async fn start(name: &str) -> Self {
        Self::with(name, &[]).await
    }

    async fn with(name: &str, variables: &[(&str, &str)]) -> Self {
        let service = Service::with(name, variables).await;
        let (_, platform) = service.platform().await;
        let shown = service.get(&format!("/v1/platforms/{platform}")).await.body;
        let key = shown["publishable_key"].as_str().expect("a key").to_owned();
        Self { service, key }
    }

    /// Returns the answers to the device's calls: events, login, logout and entitlements.
    async fn calls(&self, secret: Option<&str>) -> [Answer; 4] {
        let device = json!({
            "id": DEVICE, "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "web/1",
            "os": { "name": "fireos", "version": "8" },
        });
        let impression = json!({ "paywall": "summer" });
        let event = json!({ "id": "1", "type": "device.impression", "time": "2026-11-20T11:59:00Z", "impression": impression });
        let events =
            json!({ "device": device, "sent_at": "2026-11-20T12:00:00Z", "events": [event] });
        let post = async |path: &str, body: Value| {
            let body = body.to_string().into_bytes();
            self.service
                .send_of_device(("POST", path), (&self.key, secret), body)
                .await
        };
        let entitlements = format!("/v1/device/entitlements?device_id={DEVICE}");
        [
            post("/v1/device/events", events).await,
            post(
                "/v1/device/login",
                json!({ "device": device, "external_id": "mallory" }),
            )
            .await,
            post("/v1/device/logout", json!({ "device": device })).await,
            self.service
                .send_of_device(("GET", &entitlements), (&self.key, secret), Vec::new())
                .await,
        ]
    }
}

fn check_refused(answer: &Answer, sentence: &str) {
    let detail = answer.body["detail"].as_str().unwrap_or_default();
    let code = answer.body["type"].as_str().unwrap_or_default();
    assert!(
        answer.status == 403
            && code.ends_with("device_secret_required")
            && detail.contains(sentence),
        "{} {}",
        answer.status,
        answer.body
    );
}

#[tokio::test]
async fn who_knows_a_devices_id_cannot_log_in_on_it() {
    let stage = Stage::start("device-secret").await;
    assert_eq!(
        stage
            .calls(Some(DEVICE_SECRET))
            .await
            .map(|answer| answer.status),
        [200; 4]
    );
    let users = stage.service.count("users");
    for answer in stage.calls(Some(OTHER_SECRET)).await {
        check_refused(
            &answer,
            "is not the secret with which the device was created",
        );
        assert!(
            !answer.body.to_string().contains(OTHER_SECRET),
            "{}",
            answer.body
        );
    }
    for answer in stage.calls(None).await {
        check_refused(&answer, ADVICE);
    }
    assert_eq!(stage.service.count("users"), users);
    assert_eq!(
        stage
            .calls(Some(DEVICE_SECRET))
            .await
            .map(|answer| answer.status),
        [200; 4],
        "it is as before"
    );
}

#[tokio::test]
async fn wrong_secrets_use_up_nothing_of_the_device() {
    // Ten requests at once.
    let stage = Stage::with(
        "device-locked-out",
        &[("SETTLE_DEVICES_REQUESTS_PER_SECOND", "1")],
    )
    .await;
    assert_eq!(
        stage
            .calls(Some(DEVICE_SECRET))
            .await
            .map(|answer| answer.status),
        [200; 4]
    );
    let mut statuses = Vec::new();
    for secret in [
        Some(OTHER_SECRET),
        None,
        Some(OTHER_SECRET),
        None,
        Some(OTHER_SECRET),
        Some(OTHER_SECRET),
    ] {
        statuses.extend(stage.calls(secret).await.map(|answer| answer.status));
    }
    assert!(
        statuses.contains(&429) && statuses.iter().all(|status| matches!(status, 403 | 429)),
        "{statuses:?}"
    );
    assert_eq!(
        stage
            .calls(Some(DEVICE_SECRET))
            .await
            .map(|answer| answer.status),
        [200; 4],
        "it is as before"
    );
}

#[tokio::test]
async fn a_device_without_a_secret_may_call_events_alone() {
    let stage = Stage::start("device-no-secret").await;
    for secret in [None, Some(DEVICE_SECRET), None] {
        let [events, others @ ..] = stage.calls(secret).await;
        assert_eq!(events.status, 200, "{}", events.body);
        others
            .iter()
            .for_each(|answer| check_refused(answer, ADVICE));
    }
    assert_eq!(stage.service.count("users"), 0);
    let hashes = "SELECT COUNT(*) AS value FROM devices WHERE secret_hash IS NOT NULL";
    assert_eq!(stage.service.raw_number(hashes), 0);
}

#[tokio::test]
async fn a_secret_of_another_form_is_named_by_its_header() {
    let stage = Stage::start("device-wrong-secret").await;
    for answer in stage.calls(Some("hunter2")).await {
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec!["Settle-Device-Secret"]),
            "{}",
            answer.body
        );
        let expected = answer.body["errors"][0]["expected"]
            .as_str()
            .expect("a text");
        assert!(
            expected.contains("43 letters") && !answer.body.to_string().contains("hunter2"),
            "{}",
            answer.body
        );
    }
    assert_eq!(stage.service.count("devices"), 0);
}

#[tokio::test]
async fn a_secret_is_stored_as_its_hash_and_shown_nowhere() {
    let stage = Stage::start("device-hash").await;
    stage.calls(Some(DEVICE_SECRET)).await;
    let hash = storage::hex(
        ring::digest::digest(&ring::digest::SHA256, DEVICE_SECRET.as_bytes()).as_ref(),
    );
    let stored = format!("SELECT COUNT(*) AS value FROM devices WHERE secret_hash = '{hash}'");
    assert_eq!(stage.service.raw_number(&stored), 1);
    let listed = stage
        .service
        .get(&format!("/v1/device-events?device_id={DEVICE}"))
        .await
        .body;
    let id = listed["items"][0]["id"].as_str().expect("an id");
    for path in [
        format!("/v1/device-events/{id}"),
        format!("/v1/explain/events/{id}"),
        "/v1/audit-log".to_owned(),
    ] {
        let shown = stage.service.get(&path).await.body.to_string();
        assert!(
            !shown.contains(&hash) && !shown.contains(DEVICE_SECRET),
            "{path}: {shown}"
        );
    }
}

#[tokio::test]
async fn the_document_for_devices_shows_the_secret_first() {
    let stage = Stage::start("device-secret-document").await;
    let document = stage
        .service
        .send("GET", "/openapi/device.json", None, Vec::new())
        .await
        .body;
    for (path, method, is_required) in [
        ("/v1/device/events", "post", false),
        ("/v1/device/login", "post", true),
        ("/v1/device/logout", "post", true),
        ("/v1/device/entitlements", "get", true),
    ] {
        let first = &document["paths"][path][method]["parameters"][0];
        let expected = (
            &json!("Settle-Device-Secret"),
            &json!("header"),
            &json!(is_required),
        );
        assert_eq!(
            (&first["name"], &first["in"], &first["required"]),
            expected,
            "{path}"
        );
    }
}
