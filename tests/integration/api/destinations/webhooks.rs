//! The settings of a webhook: URL, headers, signatures, and a secret that is shown once and can be rotated.

use super::super::edge::Service;
use super::{check_wrong, create, desk, webhook, webhook_with};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use system_tests::receiver::{Receiver, Reply};

#[tokio::test]
async fn a_secret_is_shown_once() {
    let (service, list) = desk("secret").await;
    let (path, created) = create(&service, &list, &webhook()).await;
    let secret = created["secret"].as_str().expect("a secret").to_owned();
    assert!(
        secret.starts_with("whsec_") && secret.len() == 50,
        "{} characters",
        secret.len()
    );
    let change = json!({ "url": "https://example.com/other" });
    let changed = service.send_json("PATCH", &path, &change).await;
    assert_eq!(changed.body["url"], "https://example.com/other");
    for read in [changed, service.get(&path).await, service.get(&list).await] {
        assert!(!read.body.to_string().contains("whsec_"), "{}", read.body);
    }
    assert_eq!(
        service
            .send_json("DELETE", &path, &Value::Null)
            .await
            .status,
        204
    );
    assert_eq!(service.get(&path).await.status, 404);
}

#[tokio::test]
async fn headers_are_shown_by_their_names_alone() {
    let (service, list) = desk("headers").await;
    let headers = json!({ "Authorization": "Bearer hunter2", "X-Tenant": "hunter2-too" });
    let (path, shown) = create(&service, &list, &webhook_with("headers", &headers)).await;
    assert_eq!(shown["headers"], json!(["authorization", "x-tenant"]));
    let changed = service
        .send_json(
            "PATCH",
            &path,
            &json!({ "headers": { "x-tenant": null, "x-new": "hunter2" } }),
        )
        .await;
    assert_eq!(
        changed.body["headers"],
        json!(["authorization", "x-new"]),
        "{}",
        changed.body
    );
    for read in [
        shown,
        changed.body,
        service.get(&path).await.body,
        service.get(&list).await.body,
    ] {
        assert!(!read.to_string().contains("hunter2"), "{read}");
    }
    let wrong = service
        .send_json(
            "PATCH",
            &path,
            &json!({ "headers": { "webhook-id": "x", "host": "hunter2", "a": 1 } }),
        )
        .await;
    check_wrong(&wrong, &["headers.a", "headers.host", "headers.webhook-id"]);
    assert!(
        !wrong.body.to_string().contains("hunter2"),
        "{}",
        wrong.body
    );
    let none = service
        .send_json("PATCH", &path, &json!({ "headers": null }))
        .await;
    assert_eq!(none.body["headers"], json!([]));
}

#[tokio::test]
async fn a_signature_of_another_kind_shows_what_verifies_it() {
    let (service, list) = desk("signature").await;
    let (path, shown) = create(&service, &list, &webhook_with("signature", &json!("v1a"))).await;
    let public = shown["public_key"]
        .as_str()
        .expect("a public key")
        .to_owned();
    assert!(
        public.starts_with("whpk_") && shown.get("secret").is_none(),
        "{shown}"
    );
    assert_eq!(
        service.get(&path).await.body["public_key"],
        json!(public),
        "a public key is always shown"
    );
    let both = service
        .send_json("PATCH", &path, &json!({ "signature": "v1,v1a" }))
        .await
        .body;
    assert!(
        both["secret"]
            .as_str()
            .is_some_and(|secret| secret.starts_with("whsec_")),
        "it was never shown: {both}"
    );
    assert_eq!(both["public_key"], json!(public));
    assert!(!service.get(&path).await.body.to_string().contains("whsk_"));
    check_wrong(
        &service
            .send_json("PATCH", &path, &json!({ "signature": "v2" }))
            .await,
        &["signature"],
    );
}

#[tokio::test]
async fn a_rotated_secret_is_shown_once_and_both_sign_for_a_while() {
    let (service, receiver, list) = with_receiver("rotate").await;
    let (path, first) = create(
        &service,
        &list,
        &webhook_with("url", &json!(receiver.url())),
    )
    .await;
    let rotated = service
        .send_json("POST", &format!("{path}/rotate-secret"), &Value::Null)
        .await;
    assert_eq!(rotated.status, 200, "{}", rotated.body);
    assert!(
        rotated.body["secret"].is_string() && rotated.body["secret"] != first["secret"],
        "{}",
        rotated.body
    );
    assert!(!service.get(&path).await.body.to_string().contains("whsec_"));
    for secret in [&first["secret"], &rotated.body["secret"]] {
        receiver.trust(secret.as_str().expect("a secret"));
        assert_eq!(
            service
                .send_json("POST", &format!("{path}/test"), &Value::Null)
                .await
                .body["ok"],
            true
        );
    }
    let own = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    let rotation = json!({ "secret": own, "overlap_hours": 0 });
    let rotation = service
        .send_json("POST", &format!("{path}/rotate-secret"), &rotation)
        .await;
    assert_eq!(
        (rotation.status, &rotation.body["secret"]),
        (200, &json!(own)),
        "{}",
        rotation.body
    );
    receiver.want_refusals();
    service
        .send_json("POST", &format!("{path}/test"), &Value::Null)
        .await;
    receiver.trust(own);
    service
        .send_json("POST", &format!("{path}/test"), &Value::Null)
        .await;
    let verified: Vec<bool> = receiver
        .all()
        .iter()
        .map(|one| one.verified.is_ok())
        .collect();
    assert_eq!(
        verified,
        [true, true, false, true],
        "without an overlap the old key no longer signs"
    );
}

#[tokio::test]
async fn a_test_is_signed_and_marked_and_shows_the_answer() {
    let (service, receiver, list) = with_receiver("test").await;
    let (path, shown) = create(
        &service,
        &list,
        &webhook_with("url", &json!(receiver.url())),
    )
    .await;
    receiver.trust(shown["secret"].as_str().expect("a secret"));
    let test = format!("{path}/test");
    let well = service.send_json("POST", &test, &Value::Null).await;
    assert_eq!(
        (well.status, &well.body["ok"]),
        (200, &json!(true)),
        "{}",
        well.body
    );
    receiver.answer_next(1, &Reply::Status(418));
    let ill = service.send_json("POST", &test, &Value::Null).await;
    assert_eq!(
        (ill.status, &ill.body["ok"]),
        (200, &json!(false)),
        "{}",
        ill.body
    );
    assert!(
        ill.body["detail"].to_string().contains("418"),
        "{}",
        ill.body
    );
    let requests = receiver.all();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert!(request.verified.is_ok(), "{:?}", request.verified);
        assert_eq!(
            (&request.body["type"], &request.headers["webhook-test"]),
            (&json!("test"), &"true".parse().expect(""))
        );
    }
    assert_ne!(requests[0].webhook_id, requests[1].webhook_id);
    let deliveries = service.get("/v1/deliveries").await.body;
    assert_eq!(
        deliveries["items"],
        json!([]),
        "a test is not in the ledger"
    );
    assert_eq!(
        service.get(&path).await.body["health"]["last_failure_at"],
        Value::Null
    );
}

/// All types documented for receivers.
const DOCUMENTED: [&str; 20] = [
    "device.impression",
    "device.session.end",
    "device.session.start",
    "device.transaction",
    "purchase.updated",
    "user.journey.trial.converted",
    "user.journey.trial.did_not_convert",
    "user.journey.trial.started",
    "user.subscription.cancelled",
    "user.subscription.expired",
    "user.subscription.in_grace_period",
    "user.subscription.paused",
    "user.subscription.pending_sku_change",
    "user.subscription.purchased",
    "user.subscription.renewal_in_grace_period",
    "user.subscription.renewed",
    "user.subscription.resumed",
    "user.subscription.sku_change",
    "user.subscription.transferred.from",
    "user.subscription.transferred.to",
];

#[tokio::test]
async fn a_test_carries_an_event_of_each_documented_type() {
    let (service, receiver, list) = with_receiver("samples").await;
    let (path, shown) = create(
        &service,
        &list,
        &webhook_with("url", &json!(receiver.url())),
    )
    .await;
    receiver.trust(shown["secret"].as_str().expect("a secret"));
    let test = format!("{path}/test");
    let index = service.get("/api/v1/events/schema/").await.body;
    let listed = index["events"]
        .as_array()
        .expect("types")
        .iter()
        .map(|one| one["type"].as_str().expect("a type"));
    let types: BTreeSet<&str> = listed.chain(DOCUMENTED).collect();
    for event_type in &types {
        let sent = service
            .send_json("POST", &test, &json!({ "event_type": event_type }))
            .await;
        assert_eq!(
            (sent.status, &sent.body["ok"]),
            (200, &json!(true)),
            "{event_type}: {}",
            sent.body
        );
        let received = receiver.all().pop().expect("a request");
        assert!(
            received.verified.is_ok() && received.headers.contains_key("webhook-test"),
            "{event_type}"
        );
        assert_eq!(received.event_type(), *event_type, "{}", received.body);
        let schema = service
            .get(&format!("/api/v1/events/schema/{event_type}"))
            .await
            .body;
        let validator = jsonschema::options()
            .should_validate_formats(true)
            .build(&schema)
            .expect("a schema");
        let wrong: Vec<String> = validator
            .iter_errors(&received.body)
            .map(|error| error.to_string())
            .collect();
        assert!(
            wrong.is_empty(),
            "{event_type}: {wrong:?} in {}",
            received.body
        );
    }
    check_wrong(
        &service
            .send_json("POST", &test, &json!({ "event_type": "user.asleep" }))
            .await,
        &["event_type"],
    );
    assert_eq!(receiver.all().len(), types.len());
}

#[tokio::test]
async fn a_test_of_a_forbidden_address_sends_and_reveals_nothing() {
    let (service, list) = desk("forbidden").await;
    let forbidden = webhook_with("url", &json!("https://169.254.169.254/"));
    check_wrong(
        &service.send_json("POST", &list, &forbidden).await,
        &["url"],
    );
    // Set in the database, as if the address had been allowed when it was set.
    let (path, _) = create(&service, &list, &webhook()).await;
    service.raw("UPDATE destinations SET settings = '{\"url\":\"https://169.254.169.254/\",\"headers\":[]}'");
    let answer = service
        .send_json("POST", &format!("{path}/test"), &Value::Null)
        .await;
    assert_eq!(
        (answer.status, &answer.body["ok"]),
        (200, &json!(false)),
        "{}",
        answer.body
    );
    assert!(
        answer.body["detail"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_webhook_whose_url_became_forbidden_is_not_tried() {
    let (service, list) = desk("no-more").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    service.raw(
        "UPDATE destinations SET settings = '{\"url\":\"http://example.com/\",\"headers\":[]}'",
    );
    let answer = service
        .send_json("POST", &format!("{path}/test"), &Value::Null)
        .await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(
        answer.body["detail"].to_string().contains("`url`"),
        "{}",
        answer.body
    );
}

/// Returns a service that may send to a receiver on this machine.
pub async fn with_receiver(name: &str) -> (Service, Receiver, String) {
    let here = [
        ("SETTLE_DESTINATIONS_ALLOWED_NETWORKS", "127.0.0.0/8"),
        ("SETTLE_DESTINATIONS_ALLOW_HTTP", "true"),
    ];
    let service = Service::with(name, &here).await;
    let (app, _) = service.platform().await;
    (
        service,
        Receiver::start().await,
        format!("/v1/apps/{app}/destinations"),
    )
}
