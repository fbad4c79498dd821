//! The settings of an Amplitude integration: its region, keys that are never shown, and how it names users.

use super::super::edge::Service;
use super::{check_wrong, create, desk};
use serde_json::{Value, json};
use system_tests::amplitude::Amplitude;

const KEY: &str = "c0ffee00c0ffee00c0ffee00c0ffee00";
const SECRET: &str = "5ec2e700000000000000000000000000";
const SANDBOX: &str = "5a17db0c5a17db0c5a17db0c5a17db0c";

/// Returns the body of a new integration: the required fields and those of `more`.
fn integration(more: &Value) -> Value {
    let mut body =
        json!({ "kind": "amplitude", "name": "analytics", "endpoint": "eu", "api_key": KEY });
    for (field, value) in more.as_object().expect("fields") {
        body[field] = value.clone();
    }
    body
}

#[tokio::test]
async fn an_integration_without_the_key_of_a_sandbox_is_warned() {
    let (service, list) = desk("amplitude-sandbox").await;
    let without = service
        .send_json("POST", &list, &integration(&json!({})))
        .await
        .body;
    assert_eq!(
        without["warnings"],
        json!(null),
        "the app has no sandbox platform"
    );
    let platform = service
        .get(&list.replace("destinations", "platforms"))
        .await
        .body["items"][0]["id"]
        .clone();
    let path = format!("/v1/platforms/{}", platform.as_str().expect("an id"));
    service
        .send_json("PATCH", &path, &json!({ "environment": "sandbox" }))
        .await;
    let warned = service
        .send_json("POST", &list, &integration(&json!({ "name": "second" })))
        .await
        .body;
    assert!(
        warned["warnings"][0]
            .to_string()
            .contains("`sandbox_api_key`"),
        "{warned}"
    );
    for more in [
        json!({ "name": "third", "sandbox_api_key": SANDBOX }),
        json!({ "name": "fourth", "filter": { "environments": ["production"] } }),
    ] {
        let created = service
            .send_json("POST", &list, &integration(&more))
            .await
            .body;
        assert_eq!(
            (created["kind"].as_str(), &created["warnings"]),
            (Some("amplitude"), &json!(null)),
            "{created}"
        );
    }
}

#[tokio::test]
async fn absent_fields_have_their_defaults() {
    let (service, list) = desk("amplitude-defaults").await;
    let (path, created) = create(&service, &list, &integration(&json!({}))).await;
    let shown = service.get(&path).await.body;
    let expected = [
        ("kind", json!("amplitude")),
        ("events", json!(["*"])),
        ("endpoint", json!("eu")),
        ("user_id", json!("external_id")),
        ("without_external_id", json!("send")),
        ("min_id_length", json!(5)),
        ("prefix", json!("namiml_")),
        ("has_api_key", json!(true)),
        ("has_secret_key", json!(false)),
        ("has_sandbox_api_key", json!(false)),
        ("rate", json!(90)),
        ("concurrency", json!(32)),
        ("schedule", Value::Null),
        ("state", json!("healthy")),
    ];
    for (field, value) in expected {
        assert_eq!(
            (&created[field], &shown[field]),
            (&value, &value),
            "{field}"
        );
    }
}

#[tokio::test]
async fn no_key_is_ever_shown() {
    let (service, list) = desk("amplitude-keys").await;
    let keys = json!({ "secret_key": SECRET, "sandbox_api_key": SANDBOX });
    let (path, created) = create(&service, &list, &integration(&keys)).await;
    let changed = service
        .send_json(
            "PATCH",
            &path,
            &json!({ "api_key": "f00d0000f00d0000f00d0000f00d0000" }),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let refused = service
        .send_json("PATCH", &path, &json!({ "sandbox_api_key": "f00d 0000" }))
        .await;
    check_wrong(&refused, &["sandbox_api_key"]);
    let (shown, listed) = (service.get(&path).await.body, service.get(&list).await.body);
    for read in [created, changed.body, refused.body, shown.clone(), listed] {
        for secret in [KEY, SECRET, SANDBOX, "f00d"] {
            assert!(!read.to_string().contains(secret), "{read}");
        }
    }
    for field in ["has_api_key", "has_secret_key", "has_sandbox_api_key"] {
        assert_eq!(shown[field], true, "{field}");
    }
    let removed = service
        .send_json("PATCH", &path, &json!({ "secret_key": null }))
        .await
        .body;
    assert_eq!(
        (&removed["has_secret_key"], &removed["has_sandbox_api_key"]),
        (&json!(false), &json!(true))
    );
    let last = service
        .send_json(
            "PATCH",
            &path,
            &json!({ "api_key": null, "sandbox_api_key": null }),
        )
        .await;
    check_wrong(&last, &["api_key"]);
}

#[tokio::test]
async fn each_field_is_changed_alone_and_reset() {
    let (service, list) = desk("amplitude-fields").await;
    let (path, _) = create(&service, &list, &integration(&json!({}))).await;
    let cases = [
        ("endpoint", json!("standard"), None),
        ("user_id", json!("user_id"), Some(json!("external_id"))),
        ("without_external_id", json!("wait"), Some(json!("send"))),
        ("without_external_id", json!("skip"), Some(json!("send"))),
        ("min_id_length", json!(1), Some(json!(5))),
        ("prefix", json!("settle_"), Some(json!("namiml_"))),
        ("partner_id", json!("shop"), Some(Value::Null)),
        (
            "user_properties",
            json!("extended"),
            Some(json!("documented")),
        ),
        ("rate", json!(7), Some(json!(90))),
        ("schedule", json!([5, 60]), Some(Value::Null)),
    ];
    for (field, value, without) in cases {
        let changed = service
            .send_json("PATCH", &path, &json!({ field: value }))
            .await;
        assert_eq!(
            (changed.status, &changed.body[field]),
            (200, &value),
            "{}",
            changed.body
        );
        if let Some(without) = without {
            let cleared = service
                .send_json("PATCH", &path, &json!({ field: null }))
                .await;
            assert_eq!(
                (cleared.status, &cleared.body[field]),
                (200, &without),
                "{}",
                cleared.body
            );
        }
    }
    let shown = service.get(&path).await.body;
    assert_eq!(
        (&shown["endpoint"], &shown["has_api_key"]),
        (&json!("standard"), &json!(true))
    );
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once_across_layers() {
    let (service, list) = desk("amplitude-wrong").await;
    let wrong = integration(&json!({
        "endpoint": "https://example.com", "api_key": "two words", "user_id": "email", "without_external_id": "drop",
        "min_id_length": 0, "prefix": "", "rate": 91, "events": ["purchase.eaten"], "url": "https://example.com",
        "headers": {}, "partner_id": "two words",
    }));
    let fields = [
        "api_key",
        "endpoint",
        "events",
        "headers",
        "min_id_length",
        "partner_id",
        "prefix",
        "rate",
        "url",
        "user_id",
        "without_external_id",
    ];
    let answer = service.send_json("POST", &list, &wrong).await;
    check_wrong(&answer, &fields);
    assert!(
        answer.body["detail"].to_string().contains("from 1 to 90"),
        "its own bound: {}",
        answer.body
    );
    let nothing = service
        .send_json(
            "POST",
            &list,
            &json!({ "kind": "amplitude", "name": "analytics" }),
        )
        .await;
    check_wrong(&nothing, &["api_key", "endpoint"]);
    let (path, _) = create(&service, &list, &integration(&json!({}))).await;
    check_wrong(
        &service
            .send_json("PATCH", &path, &json!({ "rate": 91, "signature": "v1" }))
            .await,
        &["rate", "signature"],
    );
}

#[tokio::test]
async fn an_integration_signs_nothing_so_rotation_is_refused() {
    let (service, list) = desk("amplitude-rotate").await;
    let (path, _) = create(&service, &list, &integration(&json!({}))).await;
    let answer = service
        .send_json("POST", &format!("{path}/rotate-secret"), &Value::Null)
        .await;
    assert_eq!(answer.status, 422, "{}", answer.body);
    assert!(
        answer.body["detail"].to_string().contains("`webhook`"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_test_needs_the_secret_key_and_shows_whether_keys_are_known() {
    let fake = Amplitude::start().await;
    fake.project(KEY, SECRET);
    let service = Service::with(
        "amplitude-test",
        &[("SETTLE_AMPLITUDE_ALLOWED_URLS", &fake.url())],
    )
    .await;
    let (app, _) = service.platform().await;
    let list = format!("/v1/apps/{app}/destinations");
    let (path, _) = create(
        &service,
        &list,
        &integration(&json!({ "endpoint": fake.url() })),
    )
    .await;
    let test = format!("{path}/test");
    let missing = service.send_json("POST", &test, &Value::Null).await;
    assert_eq!(missing.status, 409, "{}", missing.body);
    assert!(
        missing.body["detail"].to_string().contains("`secret_key`"),
        "{}",
        missing.body
    );
    service
        .send_json("PATCH", &path, &json!({ "secret_key": SECRET }))
        .await;
    let well = service.send_json("POST", &test, &Value::Null).await;
    assert_eq!(
        (well.status, &well.body["ok"]),
        (200, &json!(true)),
        "{}",
        well.body
    );
    assert_eq!(
        well.body["detail"],
        "Amplitude knows the `api_key` and the `secret_key`"
    );
    let sample = service
        .send_json(
            "POST",
            &test,
            &json!({ "event_type": "user.subscription.renewed" }),
        )
        .await;
    check_wrong(&sample, &["event_type"]);
    service
        .send_json("PATCH", &path, &json!({ "secret_key": "0000000000000000" }))
        .await;
    let ill = service.send_json("POST", &test, &Value::Null).await;
    assert_eq!(
        (ill.status, &ill.body["ok"]),
        (200, &json!(false)),
        "{}",
        ill.body
    );
    assert!(
        ill.body["detail"].to_string().contains("does not know"),
        "{}",
        ill.body
    );
    assert_eq!(fake.events(KEY).len(), 0, "a test sends no event");
}

#[tokio::test]
async fn a_custom_endpoint_is_accepted_with_its_path() {
    let allowed = [(
        "SETTLE_AMPLITUDE_ALLOWED_URLS",
        "http://proxy.internal:8443",
    )];
    let service = Service::with("amplitude-proxy", &allowed).await;
    let (app, _) = service.platform().await;
    let list = format!("/v1/apps/{app}/destinations");
    let own = json!({ "endpoint": "http://proxy.internal:8443/analytics" });
    let (_, created) = create(&service, &list, &integration(&own)).await;
    assert_eq!(created["endpoint"], "http://proxy.internal:8443/analytics");
    for foreign in [
        "http://proxy.internal",
        "https://proxy.internal:8443",
        "https://example.com/2/httpapi",
    ] {
        let refused = service
            .send_json("POST", &list, &integration(&json!({ "endpoint": foreign })))
            .await;
        check_wrong(&refused, &["endpoint"]);
        let detail = refused.body["detail"].to_string();
        assert!(
            detail.contains("SETTLE_AMPLITUDE_ALLOWED_URLS"),
            "it names what to set: {detail}"
        );
    }
}
