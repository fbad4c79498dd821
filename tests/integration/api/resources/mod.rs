//! Apps, platforms, topics, and queries for notifications, purchases, events and deliveries.

mod platforms;
mod topics;

use super::edge::{Service, accept};
use api::route::Surface;
use api::router::router_of;
use serde_json::{Value, json};
use storage::Handling;

const ARN: &str = "arn:aws:sns:us-east-1:123456789012:reader";

#[tokio::test]
async fn an_app_is_created_read_renamed_and_deleted() {
    let service = Service::start("app").await;
    let created = service
        .send_json("POST", "/v1/apps", &json!({ "name": "reader" }))
        .await;
    assert_eq!(created.status, 201);
    let path = format!("/v1/apps/{}", created.body["id"].as_str().expect("an id"));
    assert_eq!(service.get(&path).await.body["name"], "reader");
    assert_eq!(
        service
            .send_json("PATCH", &path, &json!({ "name": "writer" }))
            .await
            .body["name"],
        "writer"
    );
    assert_eq!(
        service.send_json("PATCH", &path, &json!({})).await.body["name"],
        "writer"
    );
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
async fn a_list_is_read_page_by_page_without_gap_or_repetition() {
    let service = Service::start("list").await;
    for number in 0..7 {
        assert_eq!(
            service
                .send_json(
                    "POST",
                    "/v1/apps",
                    &json!({ "name": format!("app {number}") })
                )
                .await
                .status,
            201
        );
    }
    let (mut names, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = service.get(&format!("/v1/apps{query}")).await.body;
        let items = page["items"].as_array().expect("items").clone();
        assert!((1..=3).contains(&items.len()));
        names.extend(
            items
                .iter()
                .map(|app| app["name"].as_str().expect("a name").to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("?limit=3&cursor={cursor}");
    }
    names.sort();
    assert_eq!(
        names,
        (0..7)
            .map(|number| format!("app {number}"))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_message_is_shown_with_its_outcome() {
    let service = Service::start("message-view").await;
    let (_, platform) = service.platform().await;
    let (key, _) = accept(&service.store, platform, "receipt", Handling::Open).await;
    let rows = service
        .get(&format!("/v1/purchases/{key}/notifications"))
        .await
        .body;
    let id = rows["items"][0]["message_id"]
        .as_str()
        .expect("a message id")
        .to_owned();
    let message = service.get(&format!("/v1/notifications/{id}")).await.body;
    let notification = json!({ "collapse_key": key, "type": "SUBSCRIPTION_RENEWED", "outcome": null, "waiting_for": "window" });
    assert_eq!(message["message_id"], json!(id));
    assert_eq!(message["notifications"], json!([notification]), "{message}");
    assert_eq!(message["accepted_at"], rows["items"][0]["accepted_at"]);
    assert_eq!(message.as_object().map(|fields| fields.len()), Some(3));
}

#[tokio::test]
async fn readiness_depends_on_the_inbox_and_shows_the_engine() {
    let service = Service::start("ready").await;
    let ready = service.get("/readyz").await.body;
    assert_eq!(
        [&ready["temporal"], &ready["sweep"]],
        ["connected", "on_time"],
        "no sweep is expected so early"
    );
    assert!(
        ready["last_sweep_at"].is_null() && ready["workers"].is_null(),
        "{ready}"
    );
    service.engine.set_down(true);
    let ready = service.get("/readyz").await;
    assert_eq!(
        (ready.status, &ready.body["temporal"]),
        (200, &json!("unreachable"))
    );
}

#[tokio::test]
async fn metrics_show_the_inbox_age_and_the_schemas_are_listed() {
    let service = Service::start("metrics").await;
    let metrics = service.get("/metrics").await;
    assert!(metrics.media.starts_with("text/plain"), "{}", metrics.media);
    let index = service.get("/api/v1/events/schema/").await.body;
    let url = "https://settle.example.com/base/api/v1/events/schema/purchase.updated";
    let without_summary = |event: &Value| {
        let mut event = event.clone();
        assert!(
            event["summary"]
                .take()
                .as_str()
                .is_some_and(|summary| summary.ends_with('.')),
            "{event}"
        );
        event
    };
    let purchase = json!({ "type": "purchase.updated", "group": "purchase", "summary": null, "version": "2.0", "url": url });
    assert_eq!(without_summary(&index["events"][0]), purchase);
    let user = "https://settle.example.com/base/api/v1/events/schema/user.journey.trial.started";
    let journey = json!({ "type": "user.journey.trial.started", "group": "journey", "summary": null, "version": "1.0", "url": user });
    assert_eq!(without_summary(&index["events"][1]), journey);
    assert_eq!(
        index["events"].as_array().map(Vec::len),
        Some(domain::schemas::all().len())
    );
    let schema = service.get("/api/v1/events/schema/purchase.updated").await;
    assert_eq!(
        (schema.media.as_str(), &schema.body["title"]),
        ("application/schema+json", &json!("purchase.updated"))
    );
    assert_eq!(
        service
            .get("/api/v1/events/schema/purchase.eaten")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn each_link_of_the_index_of_schemas_is_served_to_everybody() {
    let mut service = Service::start("links").await;
    service.router = router_of(Surface::Public, service.edge.clone(), &pages::DASHBOARD);
    let index = service
        .send("GET", "/api/v1/events/schema/", None, Vec::new())
        .await;
    assert_eq!(index.status, 200, "{}", index.body);
    let events = index.body["events"].as_array().expect("a list");
    assert_eq!(events.len(), domain::schemas::all().len());
    for event in events {
        let url = event["url"].as_str().expect("a URL");
        let path = url
            .strip_prefix("https://settle.example.com/base")
            .expect("an address of this service");
        let schema = service.send("GET", path, None, Vec::new()).await;
        assert_eq!(
            (schema.status, &schema.body["title"]),
            (200, &event["type"]),
            "{url}"
        );
    }
}

#[tokio::test]
async fn a_later_check_that_confirms_a_revision_is_shown() {
    let service = Service::start("confirmed").await;
    service.platform().await;
    let key = service.seed(&["r1"]).await[0];
    service.seed_events();
    service.raw(r#"UPDATE events SET body = '{"attributes":{"verified":false}}'"#);
    let (path, explanation) = (
        format!("/v1/purchases/{key}"),
        format!("/v1/explain/purchases/{key}"),
    );
    let shown = service.get(&path).await.body;
    assert_eq!(
        (&shown["is_verified"], &shown["verified_at"]),
        (&json!(false), &Value::Null)
    );
    let explained = service.get(&explanation).await.body["summary"].to_string();
    assert!(!explained.contains("has confirmed it since"), "{explained}");
    service.raw(r#"UPDATE purchases SET purchase = '{"snapshot":{"at":"2027-01-15T08:00:00Z"}}'"#);
    let shown = service.get(&path).await.body;
    assert_eq!(
        (
            &shown["is_verified"],
            &shown["data"]["attributes"]["verified"]
        ),
        (&json!(true), &json!(false))
    );
    assert_eq!(shown["verified_at"], "2027-01-15T08:00:00.000000Z");
    let explained = service.get(&explanation).await.body["summary"].to_string();
    assert!(
        explained.contains("Amazon has confirmed it since, last at 2027-01-15T08:00:00"),
        "{explained}"
    );
}

#[tokio::test]
async fn alarms_are_listed_page_by_page_and_counted() {
    let service = Service::start("alarms").await;
    let (_, platform) = service.platform().await;
    for _ in 0..2 {
        service
            .store
            .alarm(Some(platform), "topic_pending", "a topic waits")
            .await
            .expect("kept");
    }
    service
        .store
        .alarm(None, "other", "something else")
        .await
        .expect("kept");
    let first = service.get("/v1/alarms?limit=1").await;
    assert_eq!(first.status, 200, "{}", first.body);
    assert_eq!(first.body["items"][0]["kind"], "other");
    let cursor = first.body["next_cursor"].as_str().expect("more");
    let rest = service
        .get(&format!("/v1/alarms?cursor={cursor}"))
        .await
        .body;
    let alarm = &rest["items"][0];
    assert_eq!(
        (&alarm["count"], &alarm["platform_id"]),
        (&json!(2), &json!(platform)),
        "{rest}"
    );
    assert_eq!(rest["next_cursor"], Value::Null);
    assert_eq!(service.get("/v1/alarms?cursor=x").await.status, 400);
}
