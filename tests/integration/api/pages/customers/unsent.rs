//! The page's reasons why a destination did not get an event.

use super::{customer, has, signed_in};
use crate::api::edge::Service;
use api::clock::random_uuid;
use serde_json::json;
use system_tests::rows;

#[tokio::test]
async fn why_a_destination_did_not_get_an_event_is_a_sentence() {
    let service = Service::start("customers-why").await;
    let (app, user) = customer(&service, "anna", "u1").await;
    let hook = json!({
        "kind": "webhook", "name": "Billing", "url": "https://example.com/hooks", "events": ["user.subscription.renewed"],
    });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await;
    let hook = hook.body["id"].as_str().expect("an id").to_owned();
    let visitor = signed_in(&service).await;
    let path = |name: &str| format!("/ui/customers/{app}/{user}?destination_id={hook}&type={name}");
    let first = visitor
        .get(&service, &format!("/ui/customers/{app}/{user}"))
        .await;
    has(&first, &["<option value=\"purchase.updated\" selected>"]);
    assert!(
        !first.text.contains("<option value=\"destination."),
        "{}",
        first.text
    );
    let recorded = visitor.get(&service, &path("purchase.updated")).await;
    has(&recorded, &["to <strong>Billing</strong>:", "?mark="]);
    let tree = {
        let event = service.get("/v1/events").await.body["items"][0]["id"].clone();
        service
            .get(&format!(
                "/v1/explain/events/{}",
                event.as_str().expect("an id")
            ))
            .await
            .body
    };
    let then = tree["then"].as_array().expect("nodes");
    let why = then
        .iter()
        .find(|node| node["what"] == "not_sent")
        .expect("a reason")["summary"]
        .clone();
    let first: String = why
        .as_str()
        .expect("a sentence")
        .split('`')
        .next()
        .unwrap_or_default()
        .chars()
        .skip(1)
        .collect();
    has(&recorded, &[&first]);
    let never = visitor
        .get(&service, &path("user.subscription.renewed"))
        .await;
    has(
        &never,
        &[
            "was recorded for this customer",
            "could not receive one",
            "/ui/purchases/",
        ],
    );
    let renewed = rows::events()
        .of_each("purchases")
        .text("id", random_uuid())
        .sql("collapse_key", "collapse_key");
    let renewed = renewed
        .sql("app_id", "app_id")
        .text("event_type", "user.subscription.renewed")
        .text("user_id", &user);
    service.raw(&renewed);
    let delivered = rows::deliveries()
        .of_each("purchases")
        .text("id", random_uuid())
        .text("destination_id", &hook);
    let delivered = delivered
        .sql("event_id", "collapse_key")
        .sql("collapse_key", "collapse_key")
        .sql("finished_at", 1);
    service.raw(
        &delivered
            .text("event_type", "user.subscription.renewed")
            .text("status", "delivered"),
    );
    let missing = visitor
        .get(&service, &format!("/ui/customers/{app}/{user}"))
        .await;
    has(&missing, &["<option value=\"purchase.updated\" selected>"]);
    let unknown = visitor.get(&service, &path("%3Cscript%3Ealert(1)")).await;
    assert_eq!(unknown.status, 200);
    assert!(!unknown.text.contains("<script>alert"), "{}", unknown.text);
}
