//! Apps, platforms, topics, and reading notifications, purchases, events and deliveries.

use super::edge::{Service, accept};
use api::route::Surface;
use api::router::router_of;
use domain::TopicId;
use secrecy::SecretString;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use storage::{Fate, TopicRequest, TopicState};
use system_tests::wait;
use system_tests::world::SOON;

const ARN: &str = "arn:aws:sns:us-east-1:123456789012:reader";
const SUBSCRIBE: &str = "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription\
    &TopicArn=arn:aws:sns:us-east-1:123456789012:reader&Token=2336412f37fb687f5d51e6e241d09c805a5a57b30d712f794cc5f6a988666d92768dd60a747ba6f3beb71854e285d6ad02428b09ceece29417f1f02d609c582afbacc99c583a916b9981dd2728f4ae6fdb82efd087cc3b7849e05798d2d2785c03b0879594eeac82c01f235d0e717736";

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
async fn a_platform_has_defaults_and_shows_no_secret() {
    let service = Service::start("platform").await;
    let (app, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let shown = service.get(&path).await.body;
    assert_eq!(
        (&shown["window_seconds"], &shown["max_wait_seconds"]),
        (&json!(120), &Value::Null)
    );
    assert_eq!(shown["environment"], "production");
    assert_eq!(shown["topic"], json!({ "state": "none", "arn": null }));
    assert_eq!(shown["has_shared_secret"], false);
    let url = shown["notification_url"].as_str().expect("a URL");
    let key = url
        .strip_prefix("https://settle.example.com/base/v1/stores/amazon/")
        .expect("our public URL");
    assert!(
        key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{key}"
    );
    let change = json!({ "shared_secret": "2:open-sesame", "window_seconds": 5, "max_wait_seconds": 60, "topic_arn": ARN });
    let changed = service.send_json("PATCH", &path, &change).await;
    assert_eq!(
        (
            &changed.body["window_seconds"],
            &changed.body["max_wait_seconds"]
        ),
        (&json!(5), &json!(60))
    );
    assert_eq!(changed.body["has_shared_secret"], true);
    assert_eq!(
        changed.body["topic"],
        json!({ "state": "confirmed", "arn": ARN })
    );
    for read in [
        changed,
        service.get(&path).await,
        service.get(&format!("/v1/apps/{app}/platforms")).await,
    ] {
        assert!(!read.body.to_string().contains("sesame"), "{}", read.body);
    }
    let removed = json!({ "shared_secret": null, "max_wait_seconds": null });
    let removed = service.send_json("PATCH", &path, &removed).await.body;
    assert_eq!(
        (&removed["has_shared_secret"], &removed["max_wait_seconds"]),
        (&json!(false), &Value::Null)
    );
}

#[tokio::test]
async fn null_restores_a_default_and_leaves_what_has_none() {
    let service = Service::start("null").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let before = service.get(&path).await.body;
    let other = json!({
        "environment": "sandbox", "product_ref": "parent", "flush_on_revoke": true, "unknown_receipts": "believe",
        "transfers": "never", "window_seconds": 5, "max_wait_seconds": 60, "new_users_per_day": 0, "shares_package": true,
    });
    let changed = service.send_json("PATCH", &path, &other).await.body;
    let mut nulls = json!({ "name": null, "package_name": null, "topic_arn": null });
    for (name, value) in other.as_object().expect("an object") {
        assert_eq!(&changed[name], value, "{name}");
        nulls[name] = Value::Null;
    }
    let restored = service.send_json("PATCH", &path, &nulls).await;
    assert_eq!((restored.status, restored.body), (200, before));
}

#[tokio::test]
async fn a_second_platform_of_a_package_needs_a_permission() {
    let service = Service::start("shared-package").await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": "radio" }))
        .await
        .body["id"]
        .clone();
    let path = format!("/v1/apps/{}/platforms", app.as_str().expect("an id"));
    let create = async |name: &str, change: Value| {
        let mut body =
            json!({ "store": "amazon", "name": name, "package_name": "com.example.radio" });
        body.as_object_mut()
            .expect("an object")
            .extend(change.as_object().expect("an object").clone());
        service.send_json("POST", &path, &body).await
    };
    let tv = create("tv", json!({})).await;
    assert_eq!(
        (tv.status, &tv.body["shares_package"]),
        (201, &json!(false))
    );
    let tablet = create("tablet", json!({})).await;
    assert_eq!(tablet.status, 409, "{}", tablet.body);
    assert!(
        tablet
            .body
            .to_string()
            .contains("the platform `tv` of this app has the package name"),
        "{}",
        tablet.body
    );
    let test = create("test", json!({ "environment": "sandbox" })).await;
    assert_eq!(test.status, 201, "{}", test.body);
    let test = format!("/v1/platforms/{}", test.body["id"].as_str().expect("an id"));
    let production = json!({ "environment": "production" });
    assert_eq!(
        service.send_json("PATCH", &test, &production).await.status,
        409
    );
    assert_eq!(
        service.get(&test).await.body["environment"],
        "sandbox",
        "nothing is changed"
    );
    assert_eq!(
        service
            .send_json("PATCH", &test, &json!({ "name": "beta" }))
            .await
            .status,
        200
    );
    assert_eq!(
        create("tablet", json!({ "shares_package": true }))
            .await
            .status,
        201
    );
    // Another release left two of them: they stay as they are, and can be changed.
    service.raw("UPDATE platforms SET shares_package = FALSE");
    let tv = format!("/v1/platforms/{}", tv.body["id"].as_str().expect("an id"));
    assert_eq!(
        service
            .send_json("PATCH", &tv, &json!({ "window_seconds": 60 }))
            .await
            .status,
        200
    );
    assert_eq!(
        service
            .send_json("PATCH", &tv, &json!({ "package_name": "com.example.tv" }))
            .await
            .status,
        200
    );
    assert_eq!(
        service
            .send_json(
                "PATCH",
                &tv,
                &json!({ "package_name": "com.example.radio" })
            )
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn two_changes_of_a_platform_at_once_both_hold() {
    let service = Service::start("at-once").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    for window in 1..=20 {
        let (name, window) = (
            json!({ "name": format!("n{window}") }),
            json!({ "window_seconds": window }),
        );
        let (one, other) = tokio::join!(
            service.send_json("PATCH", &path, &name),
            service.send_json("PATCH", &path, &window)
        );
        assert_eq!((one.status, other.status), (200, 200));
        let shown = service.get(&path).await.body;
        assert_eq!(
            (&shown["name"], &shown["window_seconds"]),
            (&name["name"], &window["window_seconds"])
        );
    }
}

#[tokio::test]
async fn a_window_above_the_max_wait_is_refused_on_change_too() {
    let service = Service::start("wait").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    assert_eq!(
        service
            .send_json("PATCH", &path, &json!({ "max_wait_seconds": 200 }))
            .await
            .status,
        200
    );
    let answer = service
        .send_json("PATCH", &path, &json!({ "window_seconds": 300 }))
        .await;
    assert_eq!(
        (answer.status, answer.wrong_fields()),
        (400, vec!["max_wait_seconds"])
    );
}

#[tokio::test]
async fn a_rotated_notification_url_takes_messages_until_its_end() {
    let service = Service::start("rotate").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let old = service.get(&path).await.body["notification_url"].clone();
    let rotate = async |body: &Value| {
        let answer = service
            .send_json("POST", &format!("{path}/rotate-ingress-key"), body)
            .await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let at = |url: &Value| {
        let url = url
            .as_str()
            .and_then(|url| url.strip_prefix("https://settle.example.com/base"));
        url.expect("our public URL").to_owned()
    };
    // What is no message of SNS is answered 400 at a known URL.
    let status = async |url: &str| service.send("POST", url, None, b"{}".to_vec()).await.status;
    let ends = async |url: &str| {
        let found = async || match status(url).await {
            404 => Ok(()),
            other => Err(other.to_string()),
        };
        wait::until(SOON, "the old URL ends within a second", found).await;
    };
    let first = rotate(&Value::Null).await;
    assert_ne!(old, first["notification_url"]);
    let shown = &first["old_notification_url"];
    let until: domain::Timestamp = shown["until"]
        .as_str()
        .and_then(|text| text.parse().ok())
        .expect("a time");
    let hours = until.millis_since(api::clock::now()) / 3_600_000;
    assert!(
        (71..=72).contains(&hours) && shown["last_used_at"].is_null(),
        "{shown}"
    );
    for url in [&old, &first["notification_url"]] {
        assert_eq!(status(&at(url)).await, 400, "{url}");
    }
    // The end by a command, by its time, and by a rotation without an overlap.
    let after = service
        .send_json(
            "POST",
            &format!("{path}/retire-old-ingress-key"),
            &Value::Null,
        )
        .await;
    assert_eq!(
        (after.status, &after.body["old_notification_url"]),
        (200, &Value::Null)
    );
    ends(&at(&old)).await;
    let second = rotate(&json!({ "overlap_hours": 1 })).await;
    assert_eq!(status(&at(&first["notification_url"])).await, 400);
    service.raw("UPDATE platforms SET old_ingress_until = 1");
    assert_eq!(
        service.get(&path).await.body["old_notification_url"],
        Value::Null
    );
    ends(&at(&first["notification_url"])).await;
    let third = rotate(&json!({ "overlap_hours": 0 })).await;
    assert_eq!(third["old_notification_url"], Value::Null);
    ends(&at(&second["notification_url"])).await;
    assert_eq!(status(&at(&third["notification_url"])).await, 400);
}

async fn pending(service: &Service) -> (domain::PlatformId, TopicId, String) {
    let (_, platform) = service.platform().await;
    let expires = api::clock::now().plus_millis(60_000);
    service
        .store
        .add_pending_topic(TopicRequest::new(
            platform,
            ARN,
            SecretString::from(SUBSCRIBE),
            expires,
        ))
        .await
        .expect("kept");
    let topic = service.store.topics(platform).await.expect("topics")[0].id;
    (platform, topic, format!("/v1/platforms/{platform}/topics"))
}

#[tokio::test]
async fn an_approved_topic_is_confirmed_and_what_waited_is_signalled() {
    let service = Service::start("approve").await;
    let (platform, topic, topics) = pending(&service).await;
    let (key, seq) = accept(&service.store, platform, "receipt", Fate::WaitTopic(topic)).await;
    let listed = service.get(&topics).await.body;
    assert_eq!(
        (&listed["items"][0]["state"], &listed["items"][0]["arn"]),
        (&json!("pending"), &json!(ARN))
    );
    assert!(!listed.to_string().contains("Token"));
    assert_eq!(service.engine.signals(), []);
    let approved = service
        .send_json("POST", &format!("{topics}/{topic}/approve"), &Value::Null)
        .await;
    assert_eq!(
        (approved.status, &approved.body["state"]),
        (200, &json!("confirmed")),
        "{}",
        approved.body
    );
    let again = service
        .send_json("POST", &format!("{topics}/{topic}/approve"), &Value::Null)
        .await;
    assert_eq!(again.status, 409);
    assert!(
        again.body["detail"]
            .to_string()
            .contains("the topic is confirmed now"),
        "{}",
        again.body
    );
    assert_eq!(*service.sns.visits.lock().expect("visits"), [SUBSCRIBE]);
    wait::until(SOON, "the released row's signal", async || {
        match &service.engine.signals()[..] {
            [(rows, workflows::signal::Signal::Notified(notified))]
                if *rows == key && notified.through == seq =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn a_confirmation_that_fails_leaves_the_topic_pending() {
    let service = Service::start("visit").await;
    let (platform, topic, topics) = pending(&service).await;
    service.sns.down.store(true, Ordering::SeqCst);
    let answer = service
        .send_json("POST", &format!("{topics}/{topic}/approve"), &Value::Null)
        .await;
    assert_eq!(answer.status, 502, "{}", answer.body);
    assert!(
        !answer.body.to_string().contains("Token")
            && answer.body["detail"].to_string().contains("approve again")
    );
    assert_eq!(
        service.store.topic(topic).await.expect("the topic").state,
        TopicState::Pending
    );
    assert_eq!(
        service.get(&format!("/v1/platforms/{platform}")).await.body["topic"]["state"],
        "pending"
    );
}

#[tokio::test]
async fn a_rejected_topic_stays_rejected_and_its_rows_are_refused() {
    let service = Service::start("reject").await;
    let (platform, topic, topics) = pending(&service).await;
    let (key, _) = accept(&service.store, platform, "receipt", Fate::WaitTopic(topic)).await;
    let rejected = service
        .send_json("POST", &format!("{topics}/{topic}/reject"), &Value::Null)
        .await;
    assert_eq!(
        (rejected.status, &rejected.body["state"]),
        (200, &json!("rejected")),
        "{}",
        rejected.body
    );
    for verb in ["approve", "reject"] {
        let again = service
            .send_json("POST", &format!("{topics}/{topic}/{verb}"), &Value::Null)
            .await;
        assert_eq!(again.status, 409);
        assert!(
            again.body["detail"].to_string().contains("is rejected now"),
            "{}",
            again.body
        );
    }
    let rows = service
        .get(&format!("/v1/purchases/{key}/notifications"))
        .await
        .body;
    assert_eq!(rows["items"][0]["outcome"], "refused", "{rows}");
}

#[tokio::test]
async fn a_rejection_while_the_approval_visits_stands() {
    let service = Service::start("overtaken").await;
    let (platform, topic, topics) = pending(&service).await;
    accept(&service.store, platform, "receipt", Fate::WaitTopic(topic)).await;
    let store = service.store.clone();
    *service.sns.meanwhile.lock().expect("no test panicked") = Some(Box::pin(async move {
        store
            .reject_topic(topic, TopicState::Pending)
            .await
            .expect("rejected");
    }));
    let answer = service
        .send_json("POST", &format!("{topics}/{topic}/approve"), &Value::Null)
        .await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(
        answer.body["detail"]
            .to_string()
            .contains("is rejected now"),
        "{}",
        answer.body
    );
    assert_eq!(
        service.store.topic(topic).await.expect("the topic").state,
        TopicState::Rejected
    );
    assert_eq!(
        service.store.open_after(0, 10).await.expect("the inbox"),
        []
    );
}

#[tokio::test]
async fn a_pending_topic_is_not_pinned_by_naming_it() {
    let service = Service::start("named").await;
    let (platform, topic, _) = pending(&service).await;
    let path = format!("/v1/platforms/{platform}");
    let refused = service
        .send_json("PATCH", &path, &json!({ "topic_arn": ARN }))
        .await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(
        refused.body["detail"].to_string().contains("approve"),
        "{}",
        refused.body
    );
    assert_eq!(
        service.store.topic(topic).await.expect("the topic").state,
        TopicState::Pending
    );
    for wrong in [
        "arn:aws:sqs:us-east-1:123456789012:reader",
        "arn:aws-cn:sns:cn-north-1:123456789012:reader",
    ] {
        let answer = service
            .send_json("PATCH", &path, &json!({ "topic_arn": wrong }))
            .await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec!["topic_arn"]),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_package_name_that_no_package_has_is_refused() {
    let service = Service::start("packages").await;
    let (_, platform) = service.platform().await;
    let path = format!("/v1/platforms/{platform}");
    let app = service.get(&path).await.body["app_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    for wrong in [
        "com.example settle",
        "com/example",
        "https://example.com",
        "com.exämple",
    ] {
        let body = json!({ "store": "amazon", "name": "second", "package_name": wrong });
        for (method, path) in [
            ("POST", format!("/v1/apps/{app}/platforms")),
            ("PATCH", path.clone()),
        ] {
            let body = if method == "POST" {
                body.clone()
            } else {
                json!({ "package_name": wrong })
            };
            let answer = service.send_json(method, &path, &body).await;
            assert_eq!(
                (answer.status, answer.wrong_fields()),
                (400, vec!["package_name"]),
                "{}",
                answer.body
            );
        }
    }
    let changed = service
        .send_json(
            "PATCH",
            &path,
            &json!({ "package_name": "com.example.settle_2" }),
        )
        .await;
    assert_eq!(changed.status, 200, "{}", changed.body);
}

#[tokio::test]
async fn a_topic_of_another_platform_is_not_found() {
    let service = Service::start("other").await;
    let (_, topic, _) = pending(&service).await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": "another" }))
        .await
        .body["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let body = json!({ "store": "amazon", "name": "fire", "package_name": "com.example.other" });
    let other = service
        .send_json("POST", &format!("/v1/apps/{app}/platforms"), &body)
        .await
        .body["id"]
        .clone();
    let path = format!(
        "/v1/platforms/{}/topics/{topic}/approve",
        other.as_str().expect("an id")
    );
    assert_eq!(
        service.send_json("POST", &path, &Value::Null).await.status,
        404
    );
}

#[tokio::test]
async fn a_message_is_shown_with_its_outcome() {
    let service = Service::start("message-view").await;
    let (_, platform) = service.platform().await;
    let (key, _) = accept(&service.store, platform, "receipt", Fate::Open).await;
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
    service.router = router_of(Surface::Public, service.edge.clone());
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
