//! The fields shared by all kinds of destinations: names, events, filters, limits.

use super::{Answer, check_wrong, create, desk, webhook, webhook_with};
use crate::api::edge::Service;
use serde_json::{Value, json};

#[tokio::test]
async fn absent_fields_have_their_defaults() {
    let (service, list) = desk("defaults").await;
    let (path, created) = create(&service, &list, &webhook()).await;
    let shown = service.get(&path).await.body;
    let expected = [
        ("name", json!("hook")),
        ("kind", json!("webhook")),
        ("events", json!(["*"])),
        ("filter", json!({ "platforms": [], "environments": [] })),
        ("rate", Value::Null),
        ("concurrency", json!(32)),
        ("schedule", Value::Null),
        ("enabled", json!(true)),
        ("both_environments", json!(false)),
        ("state", json!("healthy")),
    ];
    for (field, value) in expected {
        assert_eq!(
            (&created[field], &shown[field]),
            (&value, &value),
            "{field}"
        );
    }
    let health = json!({
        "failures": 0, "last_error": null, "first_failure_at": null, "last_failure_at": null, "last_success_at": null,
        "opened_at": null, "probed_at": null, "recovered_at": null, "paused_until": null, "pending": 0, "waiting": 0,
        "failed": 0, "skipped": 0,
    });
    assert_eq!(shown["health"], health);
    assert!(
        shown.get("reason").is_none() && shown["since"].is_string(),
        "{shown}"
    );
    let listed = service.get(&list).await.body;
    assert_eq!(listed["items"][0]["id"], shown["id"]);
    assert!(
        listed["items"][0].get("health").is_none(),
        "figures are for one: {listed}"
    );
}

/// Changes the parts of the filter one after the other.
async fn check_filter(service: &Service, path: &str, platform: &Value) {
    let filter = |platforms: Value, environments: Value| json!({ "platforms": platforms, "environments": environments });
    let steps = [
        (
            json!({ "platforms": [platform] }),
            filter(json!([platform]), json!([])),
        ),
        (
            json!({ "environments": ["sandbox"] }),
            filter(json!([platform]), json!(["sandbox"])),
        ),
        (
            json!({ "platforms": null }),
            filter(json!([]), json!(["sandbox"])),
        ),
        (json!({}), filter(json!([]), json!(["sandbox"]))),
        (Value::Null, filter(json!([]), json!([]))),
    ];
    for (sent_fields, expected) in steps {
        let changed = service
            .send_json("PATCH", path, &json!({ "filter": sent_fields }))
            .await;
        assert_eq!(
            (changed.status, &changed.body["filter"]),
            (200, &expected),
            "{sent_fields}: {}",
            changed.body
        );
    }
    service
        .send_json(
            "PATCH",
            path,
            &json!({ "filter": { "platforms": [platform] } }),
        )
        .await;
    let deleted = service
        .send_json(
            "DELETE",
            &format!("/v1/platforms/{}", platform.as_str().expect("an id")),
            &Value::Null,
        )
        .await;
    let changed = service
        .send_json(
            "PATCH",
            path,
            &json!({ "filter": { "environments": ["sandbox"] } }),
        )
        .await;
    assert_eq!(
        (deleted.status, changed.status),
        (204, 200),
        "a platform of before may be gone: {}",
        changed.body
    );
}

#[tokio::test]
async fn every_common_field_is_stored_changed_and_reset() {
    let (service, list) = desk("fields").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    let platform = service
        .get(&list.replace("destinations", "platforms"))
        .await
        .body["items"][0]["id"]
        .clone();
    let cases = [
        ("name", json!("other"), None),
        (
            "events",
            json!(["purchase.updated", "user.*", "destination.failing"]),
            None,
        ),
        ("rate", json!(1), Some(Value::Null)),
        ("rate", json!(1000), Some(Value::Null)),
        ("concurrency", json!(1), Some(json!(32))),
        ("concurrency", json!(200), Some(json!(32))),
        ("schedule", json!([5, 300, 3600]), Some(Value::Null)),
        ("schedule", json!([691_200]), Some(Value::Null)),
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
        assert_eq!(service.get(&path).await.body[field], value);
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
    check_filter(&service, &path, &platform).await;
    // Null leaves the switch and the subscription unchanged.
    let chosen = service.get(&path).await.body["events"].clone();
    for (enabled, sent_fields) in [
        (false, json!({ "enabled": false })),
        (false, json!({ "enabled": null, "events": null })),
    ] {
        let changed = service.send_json("PATCH", &path, &sent_fields).await.body;
        assert_eq!(
            (&changed["enabled"], &changed["events"]),
            (&json!(enabled), &chosen),
            "{sent_fields}: {changed}"
        );
    }
    let untouched = service.send_json("PATCH", &path, &json!({})).await.body;
    assert_eq!(
        (&untouched["name"], &untouched["url"]),
        (&json!("other"), &json!("https://example.com/hooks"))
    );
}

#[tokio::test]
async fn changes_of_a_destination_at_once_all_hold() {
    let (service, list) = desk("at-once").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    for rate in 1..=20 {
        let environment = if rate % 2 == 0 {
            "sandbox"
        } else {
            "production"
        };
        let changes = [
            json!({ "name": format!("n{rate}") }),
            json!({ "rate": rate }),
            json!({ "filter": { "environments": [environment] } }),
        ];
        let [name, rate, filter] = changes
            .each_ref()
            .map(|change| service.send_json("PATCH", &path, change));
        let (name, rate, filter) = tokio::join!(name, rate, filter);
        assert_eq!((name.status, rate.status, filter.status), (200, 200, 200));
        let shown = service.get(&path).await.body;
        assert_eq!(
            (&shown["name"], &shown["rate"]),
            (&changes[0]["name"], &changes[1]["rate"])
        );
        assert_eq!(
            shown["filter"]["environments"],
            changes[2]["filter"]["environments"]
        );
    }
}

#[tokio::test]
async fn all_common_fields_can_be_set_at_creation() {
    let (service, list) = desk("whole").await;
    let platform = service
        .get(&list.replace("destinations", "platforms"))
        .await
        .body["items"][0]["id"]
        .clone();
    let mut body = webhook();
    let sent_fields = json!({
        "events": ["user.*"], "filter": { "platforms": [platform], "environments": ["production"] }, "rate": 20,
        "concurrency": 4, "schedule": [5, 60], "enabled": false,
    });
    for (field, value) in sent_fields.as_object().expect("fields") {
        body[field] = value.clone();
    }
    let (path, _) = create(&service, &list, &body).await;
    let shown = service.get(&path).await.body;
    for (field, value) in sent_fields.as_object().expect("fields") {
        assert_eq!(shown[field], *value, "{field}");
    }
    assert_eq!(shown["state"], "disabled");
}

#[tokio::test]
async fn all_wrong_fields_are_named_at_once_across_layers() {
    let (service, list) = desk("wrong").await;
    let wrong = json!({
        "kind": "webhook", "name": 1, "url": "ftp://example.com", "events": ["purchase.eaten"], "rate": 0,
        "concurrency": "many", "schedule": [0], "filter": { "platforms": ["x"], "environments": ["live"], "country": 1 },
        "enabled": "yes", "surprise": true,
    });
    let fields = [
        "concurrency",
        "enabled",
        "events",
        "filter.country",
        "filter.environments[0]",
        "filter.platforms[0]",
        "name",
        "rate",
        "schedule",
        "surprise",
        "url",
    ];
    check_wrong(&service.send_json("POST", &list, &wrong).await, &fields);
    let (path, before) = create(&service, &list, &webhook()).await;
    let mut change = wrong.clone();
    change.as_object_mut().expect("fields").remove("kind");
    check_wrong(&service.send_json("PATCH", &path, &change).await, &fields);
    let after = service.get(&path).await.body;
    assert_eq!(
        (&after["name"], &after["url"]),
        (&before["name"], &before["url"]),
        "a refused change alters nothing"
    );
}

/// Returns the expectation that a refusal states for a field.
fn expected(answer: &Answer, field: &str) -> String {
    let errors = answer.body["errors"].as_array().expect("errors");
    let found = errors
        .iter()
        .find(|error| error["field"] == field)
        .and_then(|error| error["expected"].as_str());
    found
        .unwrap_or_else(|| panic!("{field} is not named: {}", answer.body))
        .to_owned()
}

#[tokio::test]
async fn a_mistyped_field_gets_a_list_and_the_nearest_name() {
    let (service, list) = desk("mistyped").await;
    let common = [
        "name",
        "events",
        "filter",
        "enabled",
        "rate",
        "concurrency",
        "schedule",
        "both_environments",
    ];
    let hook = ["url", "headers", "signature"];
    let keys = ["secret", "private_key"];
    let analytics = [
        "endpoint",
        "api_key",
        "secret_key",
        "sandbox_api_key",
        "user_id",
        "min_id_length",
        "prefix",
    ];
    let integration =
        json!({ "kind": "amplitude", "name": "analytics", "endpoint": "eu", "api_key": "c0ffee" });
    for (whole, own, at_making) in [
        (webhook(), &hook[..], &keys[..]),
        (integration, &analytics[..], &[][..]),
    ] {
        let (path, _) = create(&service, &list, &whole).await;
        let mut mistyped = whole.clone();
        (mistyped["event"], mistyped["surprise"]) = (json!(["*"]), json!(1));
        for (verb, path, once) in [
            ("POST", &list, [&["kind"][..], at_making].concat()),
            ("PATCH", &path, vec!["newest_only"]),
        ] {
            if verb == "PATCH" {
                mistyped.as_object_mut().expect("fields").remove("kind");
            }
            let answer = service.send_json(verb, path, &mistyped).await;
            check_wrong(&answer, &["event", "surprise"]);
            let message = expected(&answer, "event");
            assert!(message.ends_with("; did you mean `events`?"), "{message}");
            let (_, names) = message.split_once("(the fields are: ").expect("the fields");
            let (names, _) = names.split_once(')').expect("their end");
            let names: Vec<&str> = names.split(", ").collect();
            for name in common.iter().chain(own).chain(&once) {
                assert!(
                    names.contains(name),
                    "{verb}: `{name}` is missing in {message}"
                );
            }
            assert!(
                verb == "POST" || !names.contains(&"secret"),
                "only a rotation changes it: {message}"
            );
            assert!(!expected(&answer, "surprise").contains("did you mean"));
        }
    }
}

#[tokio::test]
async fn a_mistyped_event_gets_the_nearest_name() {
    let (service, list) = desk("mistyped-event").await;
    for (event, meant) in [
        (
            "user.subscripton.renewed",
            Some("user.subscription.renewed"),
        ),
        ("purchase.update", Some("purchase.updated")),
        ("users.*", Some("user.*")),
        ("everything", None),
    ] {
        let answer = service
            .send_json(
                "POST",
                &list,
                &webhook_with("events", &json!(["user.*", event])),
            )
            .await;
        check_wrong(&answer, &["events"]);
        let message = expected(&answer, "events");
        match meant {
            Some(meant) => {
                assert!(
                    message.ends_with(&format!("`{event}` is not one; did you mean `{meant}`?")),
                    "{message}"
                );
            }
            None => {
                assert!(!message.contains("did you mean"), "{message}");
                assert!(message.contains("user.subscription.renewed"), "{message}");
            }
        }
    }
}

#[tokio::test]
async fn the_kind_is_named_and_never_changed() {
    let (service, list) = desk("kind").await;
    let nameless = service
        .send_json(
            "POST",
            &list,
            &json!({ "name": "hook", "url": "https://example.com" }),
        )
        .await;
    check_wrong(&nameless, &["kind"]);
    let strange = service
        .send_json("POST", &list, &webhook_with("kind", &json!("pigeon")))
        .await;
    check_wrong(&strange, &["kind"]);
    assert!(
        strange.body["detail"]
            .to_string()
            .contains("`webhook`, `amplitude` or `email`"),
        "{}",
        strange.body
    );
    let (path, _) = create(&service, &list, &webhook()).await;
    check_wrong(
        &service
            .send_json("PATCH", &path, &json!({ "kind": "amplitude" }))
            .await,
        &["kind"],
    );
}

#[tokio::test]
async fn a_filter_takes_only_platforms_of_the_app() {
    let (service, list) = desk("foreign").await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": "another" }))
        .await
        .body["id"]
        .clone();
    let path = format!("/v1/apps/{}/platforms", app.as_str().expect("an id"));
    let body = json!({ "store": "amazon", "name": "fire", "package_name": "com.example.other" });
    let foreign = service.send_json("POST", &path, &body).await.body["id"].clone();
    let unknown = json!("6b275a67-0bbb-4f3a-99b9-6600bf711993");
    let filter = json!({ "platforms": [foreign, unknown] });
    let answer = service
        .send_json("POST", &list, &webhook_with("filter", &filter))
        .await;
    check_wrong(&answer, &["filter.platforms[0]", "filter.platforms[1]"]);
    assert!(
        answer.body["detail"]
            .to_string()
            .contains("of a platform of this app"),
        "{}",
        answer.body
    );
    let (destination, _) = create(&service, &list, &webhook()).await;
    let answer = service
        .send_json("PATCH", &destination, &json!({ "filter": filter }))
        .await;
    check_wrong(&answer, &["filter.platforms[0]", "filter.platforms[1]"]);
}

#[tokio::test]
async fn a_shown_destination_includes_its_pending_count() {
    let (service, list) = desk("pending").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    service.seed(&["r1", "r2"]).await;
    service.seed_events();
    let missing = json!({ "missing": true, "destination_id": path.rsplit('/').next() });
    service.send_json("POST", "/v1/resends", &missing).await;
    assert_eq!(service.get(&path).await.body["health"]["pending"], 2);
    service
        .raw("UPDATE deliveries SET status = 'failed' WHERE collapse_key = (SELECT MAX(collapse_key) FROM deliveries)");
    service.raw("UPDATE health SET failures = 3, last_failure_at = 1, last_error = 'the endpoint answered 503'");
    let health = service.get(&path).await.body["health"].clone();
    assert_eq!(
        (&health["pending"], &health["failed"], &health["failures"]),
        (&json!(1), &json!(1), &json!(3))
    );
    assert_eq!(health["last_failure_at"], "1970-01-01T00:00:00.000001Z");
    assert_eq!(health["last_error"], "the endpoint answered 503");
}

#[tokio::test]
async fn concurrent_changes_do_not_undo_each_other() {
    let (service, list) = desk("at-once").await;
    let (path, _) = create(&service, &list, &webhook()).await;
    let fields = [
        ("rate", json!(10)),
        ("concurrency", json!(4)),
        ("schedule", json!([5])),
        ("name", json!("other")),
    ];
    for round in 0..10 {
        let reset = json!({ "rate": null, "concurrency": null, "schedule": null, "name": "hook", "filter": null });
        assert_eq!(service.send_json("PATCH", &path, &reset).await.status, 200);
        let mut bodies: Vec<Value> = fields
            .iter()
            .map(|(field, value)| json!({ *field: value }))
            .collect();
        bodies.push(json!({ "filter": { "environments": ["sandbox"] } }));
        let answers = futures::future::join_all(
            bodies
                .iter()
                .map(|body| service.send_json("PATCH", &path, body)),
        )
        .await;
        assert!(answers.iter().all(|answer| answer.status == 200));
        let shown = service.get(&path).await.body;
        for (field, value) in &fields {
            assert_eq!(&shown[*field], value, "{field} in round {round}: {shown}");
        }
        assert_eq!(
            shown["filter"]["environments"],
            json!(["sandbox"]),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn every_documented_type_can_be_chosen_without_a_warning() {
    let (service, list) = desk("warnings").await;
    let types = domain::event::types();
    assert!(types.contains(&"user.subscription.paused"), "{types:?}");
    let (path, answer) = create(&service, &list, &webhook_with("events", &json!(types))).await;
    assert_eq!(answer["warnings"], json!(null), "{answer}");
    for event_type in types {
        let body = json!({ "events": [event_type] });
        let changed = service.send_json("PATCH", &path, &body).await;
        assert_eq!(
            (changed.status, &changed.body["warnings"]),
            (200, &json!(null)),
            "{event_type}"
        );
    }
}
