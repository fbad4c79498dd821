//! Webhooks whose body is a chat message: the setting, and the signed requests at a receiver.

use super::webhooks::with_receiver;
use super::{check_wrong, create, webhook, webhook_with};
use serde_json::{Value, json};

#[tokio::test]
async fn a_message_arrives_signed_and_follows_the_setting() {
    let (service, receiver, list) = with_receiver("slack").await;
    let mut body = webhook_with("url", &json!(receiver.url()));
    body["body"] = json!("slack");
    let (path, shown) = create(&service, &list, &body).await;
    assert_eq!(shown["body"], "slack");
    receiver.trust_shown(&shown);
    let test = format!("{path}/test");
    let send = async |sample: &Value| {
        let sent = service.send_json("POST", &test, sample).await;
        assert_eq!(
            (sent.status, &sent.body["ok"]),
            (200, &json!(true)),
            "{}",
            sent.body
        );
        let received = receiver.all().pop().expect("a request");
        assert!(received.verified.is_ok(), "{:?}", received.verified);
        assert_eq!(received.headers["content-type"], "application/json");
        received.body
    };
    assert_eq!(
        send(&Value::Null).await,
        json!({ "text": "*A test of this destination*\nEvent: none" })
    );
    let index = service.get("/api/v1/events/schema/").await.body;
    for one in index["events"].as_array().expect("types") {
        let message = send(&json!({ "event_type": one["type"] })).await;
        assert_eq!(
            message.as_object().map(serde_json::Map::len),
            Some(1),
            "{message}"
        );
        let text = message["text"].as_str().expect("a text");
        assert!(
            text.starts_with("*Test: ")
                && text
                    .lines()
                    .next()
                    .is_some_and(|title| title.ends_with('*')),
            "{text}"
        );
    }
    let failing = json!({ "event_type": "destination.failing" });
    assert!(
        send(&failing).await["text"]
            .as_str()
            .is_some_and(|text| text.contains(" is failing*\n"))
    );
    let changed = service
        .send_json("PATCH", &path, &json!({ "body": null }))
        .await;
    assert_eq!(
        (changed.status, &changed.body["body"]),
        (200, &json!("event")),
        "{}",
        changed.body
    );
    assert_eq!(send(&failing).await["event_type"], "destination.failing");
}

#[tokio::test]
async fn another_body_is_refused_with_the_choices() {
    let (service, receiver, list) = with_receiver("slack-refused").await;
    let refused = service
        .send_json("POST", &list, &webhook_with("body", &json!("teams")))
        .await;
    check_wrong(&refused, &["body"]);
    assert!(
        refused
            .body
            .to_string()
            .contains("`event` (the default) or `slack`"),
        "{}",
        refused.body
    );
    let (path, shown) = create(&service, &list, &webhook()).await;
    assert_eq!(shown["body"], "event");
    check_wrong(
        &service
            .send_json("PATCH", &path, &json!({ "body": "Slack" }))
            .await,
        &["body"],
    );
    assert_eq!(service.get(&path).await.body["body"], "event");
    assert_eq!(receiver.count(), 0);
    let document = service.get("/openapi.json").await.body;
    for schema in ["NewWebhook", "DestinationPatch", "DestinationDetail"] {
        let field = &document["components"]["schemas"][schema]["properties"]["body"];
        assert!(field.to_string().contains("slack"), "{schema}: {field}");
    }
}
