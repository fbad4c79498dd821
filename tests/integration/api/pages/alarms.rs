//! Alarms: which roles acknowledge them, and what the page shows.

use super::catalogue::entries_of;
use super::visitor::Visitor;
use crate::api::edge::{Service, TOKEN};
use domain::DestinationId;
use serde_json::{Value, json};
use storage::About;

#[tokio::test]
async fn an_alarm_is_acknowledged_with_a_note() {
    let service = Service::start("alarms").await;
    let (_, platform) = service.platform().await;
    service
        .store
        .alarm(Some(platform), "topic_pending", "a topic waits")
        .await
        .expect("an alarm");
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let id = service.get("/v1/alarms").await.body["items"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/ui/alarms/{id}/acknowledge");
    let wrong = visitor.post(&service, &path, &[]).await;
    assert_eq!(wrong.status, 400);
    assert!(
        wrong
            .text
            .contains(&format!("aria-describedby=\"wrong-{id}\"")),
        "{}",
        wrong.text
    );
    assert!(
        wrong
            .text
            .contains(&format!("/ui/connect/platforms/{platform}/topics")),
        "{}",
        wrong.text
    );
    let done = visitor
        .post(&service, &path, &[("reason", "it is Amazon's")])
        .await;
    assert_eq!(
        (done.status, done.header("location")),
        (303, "/ui/alarms?done=acknowledge")
    );
    let open = visitor.get(&service, "/ui/alarms").await;
    assert!(open.text.contains("No open alarms"), "{}", open.text);
    let all = visitor.get(&service, "/ui/alarms?which=all").await;
    assert!(all.text.contains("it is Amazon&#39;s"), "{}", all.text);
    let entries = entries_of(&service, "alarm.acknowledge").await;
    assert_eq!(entries[0]["reason"], "it is Amazon's", "{entries}");
}

#[tokio::test]
async fn nobody_acknowledges_an_alarm_that_they_did_not_see() {
    let service = Service::start("alarm-seen").await;
    let (app, platform) = service.platform().await;
    let raise = async || {
        service
            .store
            .alarm(Some(platform), "odd", "it waits")
            .await
            .expect("an alarm")
    };
    raise().await;
    let visitor = Visitor::with_key(&service, TOKEN).await.expect("a sign-in");
    let read = async || service.get("/v1/alarms").await.body["items"][0].clone();
    let alarm = read().await;
    assert_eq!(alarm["app_id"], app, "{alarm}");
    let text = |name: &str| alarm[name].as_str().expect("a text").to_owned();
    let path = format!("/ui/alarms/{}/acknowledge", text("id"));
    let post = async |seen: &str, note: &str| {
        visitor
            .post(&service, &path, &[("last_at", seen), ("reason", note)])
            .await
    };
    raise().await;
    let refused = post(&text("last_at"), "I saw one").await;
    assert_eq!(refused.status, 409, "{}", refused.text);
    for part in [
        "raised again",
        "value=\"I saw one\"",
        "role=\"alert\"",
        "2 times since <time",
        "; latest: <time",
    ] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    assert_eq!(read().await["acknowledged_at"], Value::Null);
    let now = read().await["last_at"].as_str().expect("a time").to_owned();
    assert_eq!(post(&now, "I saw both").await.status, 303);
    let late = post(&now, "me too").await;
    assert_eq!(
        late.status, 409,
        "it is not in the list of open ones, and shown all the same"
    );
    assert!(
        late.text.contains("admin token already acknowledged it"),
        "{}",
        late.text
    );
    assert_eq!(read().await["note"], "I saw both");
    let long = post(&now, &"字".repeat(900)).await;
    assert_eq!(long.status, 400, "{}", long.text);
    let body = json!({ "note": "by the API", "last_at": text("last_at") });
    let by_api = service
        .send_json(
            "POST",
            &format!("/v1/alarms/{}/acknowledge", text("id")),
            &body,
        )
        .await;
    assert_eq!(by_api.status, 409, "{}", by_api.body);
}

#[tokio::test]
async fn an_alarm_of_a_destination_is_of_its_app() {
    let service = Service::start("alarm-app").await;
    let (app, _) = service.platform().await;
    let hook = json!({ "kind": "webhook", "name": "billing", "url": "https://example.com/hooks" });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await
        .body;
    let id: DestinationId = hook["id"].as_str().expect("an id").parse().expect("an id");
    let about = About::Destination(id);
    service
        .store
        .alarm(about, "destination", "billing: it is disabled")
        .await
        .expect("an alarm");
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await
        .body["id"]
        .clone();
    for (of, name, is_shown) in [(json!(app), "own", true), (other, "other", false)] {
        let body = json!({ "name": name, "role": "support", "app_id": of });
        let key = service.send_json("POST", "/v1/keys", &body).await.body["key"]
            .as_str()
            .expect("a key")
            .to_owned();
        let visitor = Visitor::with_key(&service, &key).await.expect("a sign-in");
        let page = visitor.get(&service, "/ui/alarms").await;
        assert_eq!(
            page.text
                .contains(&format!("href=\"/ui/destinations/{id}\"")),
            is_shown,
            "{name}: {}",
            page.text
        );
        let alarm = service.get("/v1/alarms").await.body["items"][0]["id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let path = format!("/ui/alarms/{alarm}/acknowledge");
        let answer = visitor.post(&service, &path, &[("reason", "I know")]).await;
        assert_eq!(
            answer.status,
            if is_shown { 303 } else { 404 },
            "{name}: {}",
            answer.text
        );
    }
}
