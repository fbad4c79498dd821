//! A webhook with `body: slack` receives each event as a signed message; a changed setting applies to bodies rendered
//! later.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::receiver::{Received, Receiver};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const STOPPED: &str = "SUBSCRIPTION_AUTO_RENEWAL_OFF";

/// Waits for this number of acknowledged requests, checks their signatures, and returns them.
async fn acknowledged(receiver: &Receiver, count: usize) -> Vec<Received> {
    wait::until(SOON, &format!("{count} requests"), async || {
        let all: Vec<Received> = receiver
            .all()
            .into_iter()
            .filter(Received::is_acked)
            .collect();
        if all.len() >= count {
            Ok(())
        } else {
            Err(format!("{}", all.len()))
        }
    })
    .await;
    let all: Vec<Received> = receiver.all();
    for one in &all {
        assert!(one.verified.is_ok(), "{:?}", one.verified);
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_arrives_as_a_message_until_the_setting_changes() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    let chat = Receiver::start().await;
    let body = json!({
        "kind": "webhook", "name": "chat", "url": chat.url(), "body": "slack", "events": ["purchase.updated"],
    });
    let created = world.create_destination(&body).await;
    assert_eq!(created["body"], "slack");
    chat.trust_shown(&created);
    world.send(BOUGHT, "chatty").await;
    let first = acknowledged(&chat, 1).await;
    let text = first[0].body["text"].as_str().expect("a text");
    assert_eq!(first[0].body, json!({ "text": text }));
    assert!(
        text.starts_with("*A purchase's record changed")
            && text.contains("\nStore's purchase id: chatty"),
        "{text}"
    );
    assert_eq!(
        world.wait_received("chatty", 1).await[0].event_type(),
        "purchase.updated"
    );
    let path = format!(
        "/v1/destinations/{}",
        created["id"].as_str().expect("an id")
    );
    let changed = world
        .api
        .call(Method::PATCH, &path, &json!({ "body": "event" }))
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    world.send(STOPPED, "chatty").await;
    let second = acknowledged(&chat, 2).await;
    assert_eq!(
        (second[1].event_type(), &second[1].body["text"]),
        ("purchase.updated", &Value::Null)
    );
    world.finish().await;
}
