//! Monitoring for operators: figures by the minute, alarms, filtered lists, a customer, and deliveries.

use super::edge::{Answer, Service};
use domain::{DestinationId, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use storage::{Counted, Series};
use system_tests::rows;

fn numbers(answer: &Answer, field: &str) -> Vec<i64> {
    let items = answer.body["items"]
        .as_array()
        .unwrap_or_else(|| panic!("{}", answer.body));
    items
        .iter()
        .map(|point| point[field].as_i64().unwrap_or(-1))
        .collect()
}

/// Makes queries that are refused: malformed ones, a range that ends before it begins, and an unknown destination.
async fn check_refused(service: &Service, from: Timestamp, until: Timestamp) {
    for query in [
        "",
        "what=nothing",
        "what=lag&step=61",
        "what=lag&step=60&from=2020-01-01T00:00:00Z",
    ] {
        assert_eq!(
            service.get(&format!("/v1/series?{query}")).await.status,
            400,
            "{query}"
        );
    }
    let later = format!("what=lag&from={until}&until={from}");
    assert_eq!(
        service
            .get(&format!("/v1/series?{later}"))
            .await
            .wrong_fields(),
        ["from"]
    );
    let unknown = "what=latency&destination_id=6b275a67-0bbb-4f3a-99b9-6600bf711993";
    assert_eq!(
        service.get(&format!("/v1/series?{unknown}")).await.status,
        404
    );
}

#[tokio::test]
async fn a_series_has_a_point_for_each_step() {
    let service = Service::start("series").await;
    let (app, _) = service.platform().await;
    let hook =
        json!({ "kind": "webhook", "name": "hook", "url": "https://receiver.invalid/hooks" });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await;
    let destination: DestinationId = hook.body["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let of = Counted {
        app: Some(app.parse().expect("an id")),
        destination: Some(destination),
    };
    for took in [10, 30] {
        service.store.count(Series::Delivered, of);
        service
            .store
            .count_timed(Series::Latency, of, Duration::from_millis(took));
    }
    service.store.write_minutes().await.expect("written");
    service.store.count(Series::Delivered, of);
    let now = api::clock::now();
    let shown = service.get("/v1/series?what=delivered").await;
    assert_eq!(shown.body["step"], 60);
    let counts = numbers(&shown, "count");
    assert!(
        (60..=62).contains(&counts.len()) && counts.iter().sum::<i64>() == 3,
        "{counts:?}"
    );
    assert!(shown.body["items"][0]["average_ms"].is_null());
    let (from, until) = (now.plus_millis(-3 * 3_600_000), now.plus_millis(3_600_000));
    let query =
        format!("what=latency&destination_id={destination}&from={from}&until={until}&step=3600");
    let latency = service.get(&format!("/v1/series?{query}")).await;
    assert_eq!(
        numbers(&latency, "count").iter().sum::<i64>(),
        2,
        "{}",
        latency.body
    );
    assert_eq!(
        (
            numbers(&latency, "average_ms").iter().max(),
            numbers(&latency, "longest_ms").iter().max()
        ),
        (Some(&20), Some(&30))
    );
    assert_eq!(numbers(&latency, "count").len(), 5);
    let first: Timestamp = latency.body["items"][0]["at"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    assert_eq!(
        first.micros() % 3_600_000_000,
        0,
        "a step begins at whole ones"
    );
    check_refused(&service, from, until).await;
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await;
    let key = json!({ "name": "k", "role": "read", "app_id": other.body["id"] });
    let key = service.send_json("POST", "/v1/keys", &key).await;
    let bearer = format!("Bearer {}", key.body["key"].as_str().expect("a key"));
    let foreign = format!("/v1/series?what=delivered&destination_id={destination}");
    assert_eq!(
        service
            .send("GET", &foreign, Some(&bearer), Vec::new())
            .await
            .status,
        404
    );
    let own = service
        .send(
            "GET",
            "/v1/series?what=delivered",
            Some(&bearer),
            Vec::new(),
        )
        .await;
    assert_eq!(
        numbers(&own, "count").iter().sum::<i64>(),
        0,
        "a key of another app counts nothing of this one"
    );
}

#[tokio::test]
async fn an_alarm_is_acknowledged_with_a_note_and_an_audit_entry() {
    let service = Service::start("alarms").await;
    let (app, platform) = service.platform().await;
    service
        .store
        .alarm(Some(platform), "odd", "look here")
        .await
        .expect("raised");
    let listed = service.get("/v1/alarms?open=true").await;
    let id = listed.body["items"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/v1/alarms/{id}/acknowledge");
    assert_eq!(
        service
            .send_json("POST", &path, &json!({}))
            .await
            .wrong_fields(),
        ["note"]
    );
    let done = service
        .send_json(
            "POST",
            &path,
            &json!({ "note": "it was the door", "by": "anna" }),
        )
        .await;
    assert_eq!(
        (done.status, &done.body["note"]),
        (200, &json!("it was the door")),
        "{}",
        done.body
    );
    assert_eq!(done.body["acknowledged_by"], "anna (admin token)");
    assert_eq!(
        service.get(&format!("/v1/alarms/{id}")).await.body,
        done.body
    );
    assert_eq!(
        service.get("/v1/alarms?open=true").await.body["items"],
        json!([])
    );
    assert_eq!(
        service.get("/v1/alarms?open=false").await.body["items"],
        json!([done.body])
    );
    let entry = service
        .get("/v1/audit-log?operation=alarm.acknowledge")
        .await
        .body["items"][0]
        .clone();
    assert_eq!(
        (&entry["reason"], &entry["subject"], &entry["app_id"]),
        (&json!("it was the door"), &json!(id), &json!(app))
    );
    service
        .store
        .alarm(Some(platform), "odd", "look here")
        .await
        .expect("raised");
    let again = service.get(&format!("/v1/alarms/{id}")).await.body;
    assert_eq!(
        (&again["count"], &again["acknowledged_at"], &again["note"]),
        (&json!(2), &Value::Null, &Value::Null)
    );
    let missing = "/v1/alarms/6b275a67-0bbb-4f3a-99b9-6600bf711993/acknowledge";
    assert_eq!(
        service
            .send_json("POST", missing, &json!({ "note": "x" }))
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn events_are_found_by_groups_and_times() {
    let service = Service::start("events").await;
    let (app, platform) = service.platform().await;
    service.seed(&["a", "b"]).await;
    service.seed_events();
    let renewed = rows::events()
        .of_each("purchases LIMIT 1")
        .text("id", "6b275a67-0bbb-4f3a-99b9-6600bf711993");
    let renewed = renewed
        .sql("collapse_key", "collapse_key")
        .sql("app_id", "app_id")
        .text("environment", "sandbox");
    service.raw(
        &renewed
            .text("event_type", "user.subscription.renewed")
            .sql("created_at", 5_000_000),
    );
    let count = async |query: &str| {
        let answer = service.get(&format!("/v1/events?{query}")).await;
        answer.body["items"]
            .as_array()
            .map_or_else(|| panic!("{query}: {}", answer.body), Vec::len)
    };
    for (query, expected) in [
        (String::new(), 3),
        ("type=user.*".to_owned(), 1),
        ("type=purchase.updated,user.subscription.*".to_owned(), 3),
        ("type=user.journey.*".to_owned(), 0),
        ("environment=sandbox".to_owned(), 1),
        (format!("environment=sandbox&app_id={app}"), 1),
        (format!("platform_id={platform}&type=purchase.updated"), 2),
        ("from=1970-01-01T00:00:05Z".to_owned(), 1),
        ("until=1970-01-01T00:00:05Z".to_owned(), 2),
        ("id=6b275a67-0bbb-4f3a-99b9-6600bf711993".to_owned(), 1),
        ("user_id=6b275a67-0bbb-4f3a-99b9-6600bf711993".to_owned(), 0),
    ] {
        assert_eq!(count(&query).await, expected, "{query}");
    }
    for (query, field) in [
        ("type=user", "type"),
        ("type=", "type"),
        ("environment=test", "environment"),
        ("from=x", "from"),
    ] {
        let wrong = service.get(&format!("/v1/events?{query}")).await;
        assert_eq!(
            (wrong.status, wrong.wrong_fields()),
            (400, vec![field]),
            "{query}: {}",
            wrong.body
        );
    }
    let one = service.get("/v1/events?type=user.*").await.body["items"][0].clone();
    assert_eq!(
        (&one["app_id"], &one["environment"]),
        (&json!(app), &json!("sandbox"))
    );
    let purchases = service
        .get("/v1/purchases?state=active&held=false&failing=false")
        .await;
    assert_eq!(
        purchases.body["items"].as_array().map(Vec::len),
        Some(2),
        "{}",
        purchases.body
    );
    assert_eq!(
        service
            .get("/v1/purchases?state=asleep")
            .await
            .wrong_fields(),
        ["state"]
    );
    assert_eq!(
        service
            .get("/v1/notifications?outcome=lost")
            .await
            .wrong_fields(),
        ["outcome"]
    );
    assert_eq!(
        service
            .get(&format!(
                "/v1/notifications?outcome=open&platform_id={platform}&from=2026-01-01T00:00:00Z"
            ))
            .await
            .status,
        200
    );
}

/// The headers of a request to a webhook with one custom header.
const HEADERS: [&str; 7] = [
    "content-type",
    "user-agent",
    "webhook-id",
    "webhook-signature",
    "webhook-timestamp",
    "x-team",
    "traceparent",
];

#[tokio::test]
async fn the_request_of_a_delivery_shows_its_body_and_no_secret() {
    let service = Service::start("request").await;
    let (app, _) = service.platform().await;
    let hook = json!({
        "kind": "webhook", "name": "hook", "url": "https://receiver.invalid/hooks", "headers": { "x-team": "a-hidden-value" },
    });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await
        .body;
    let analytics =
        json!({ "kind": "amplitude", "name": "a", "endpoint": "eu", "api_key": "c0ffee" });
    let analytics = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &analytics)
        .await
        .body;
    service.seed(&["r"]).await;
    service.seed_events();
    let [sent, waiting, other] = [1, 2, 3].map(|_| api::clock::random_uuid());
    let insert = |id: uuid::Uuid, to: &Value, body: &str| {
        let to = to["id"].as_str().expect("an id");
        let pending = rows::deliveries()
            .of_each("events")
            .text("id", id)
            .text("destination_id", to);
        let pending = pending
            .sql("event_id", "id")
            .sql("n", "(SELECT COUNT(*) FROM deliveries)");
        service.raw(
            &pending
                .sql("collapse_key", "collapse_key")
                .sql("attempts", 1)
                .sql("body", body),
        );
    };
    insert(sent, &hook, "'{\"a\":1}'");
    insert(waiting, &hook, "NULL");
    insert(
        other,
        &analytics,
        "'{\"sandbox\":false,\"event\":{\"user_id\":\"anna\"}}'",
    );
    let get = async |id: uuid::Uuid| {
        service
            .get(&format!("/v1/deliveries/{id}/request"))
            .await
            .body
    };
    let shown = get(sent).await;
    assert_eq!(
        (&shown["body"], &shown["webhook_id"], &shown["note"]),
        (&json!("{\"a\":1}"), &json!(sent), &Value::Null)
    );
    assert_eq!(shown["header_names"], json!(HEADERS));
    let text = shown.to_string();
    assert!(
        !text.contains("a-hidden-value") && !text.contains("whsec") && !text.contains("v1,"),
        "{text}"
    );
    let unsent = get(waiting).await;
    assert!(
        unsent["body"].is_null()
            && unsent["note"]
                .as_str()
                .is_some_and(|note| note.contains("first attempt")),
        "{unsent}"
    );
    let counted = get(other).await;
    assert_eq!(
        (&counted["body"], &counted["webhook_id"]),
        (&json!("{\"user_id\":\"anna\"}"), &Value::Null)
    );
    assert!(!counted.to_string().contains("c0ffee"), "{counted}");
    service.raw("UPDATE deliveries SET status = 'delivered', body = NULL, finished_at = 5");
    let done = get(sent).await;
    assert!(
        done["note"]
            .as_str()
            .is_some_and(|note| note.contains("only while the delivery is pending")),
        "{done}"
    );
    service
        .send_json(
            "DELETE",
            &format!("/v1/destinations/{}", hook["id"].as_str().expect("an id")),
            &Value::Null,
        )
        .await;
    assert_eq!(
        get(sent).await["header_names"],
        json!([]),
        "its destination is gone"
    );
}

#[tokio::test]
async fn a_customer_is_shown_with_purchases_and_what_they_give() {
    let service = Service::start("customer").await;
    let (app, _) = service.platform().await;
    let of_app = format!("/v1/apps/{app}/customers");
    let named = json!({ "external_id": "anna", "app_user_id": "u1" });
    let named = service.send_json("PUT", &of_app, &named).await.body;
    let user = named["user_id"].as_str().expect("an id");
    service.seed(&["r"]).await;
    service.raw(&format!("UPDATE purchases SET user_id = '{user}'"));
    let shown = service.get(&format!("{of_app}/{user}")).await;
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert_eq!(
        (&shown.body["external_id"], &shown.body["app_user_ids"]),
        (&json!("anna"), &json!(["u1"]))
    );
    assert_eq!(
        shown.body["purchases"].as_array().map(Vec::len),
        Some(1),
        "{}",
        shown.body
    );
    assert!(
        shown.body["production"]["active_skus"].is_array()
            && shown.body["sandbox"]["active_skus"].is_array()
    );
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await;
    let other = other.body["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        service
            .get(&format!("/v1/apps/{other}/customers/{user}"))
            .await
            .status,
        404
    );
    assert_eq!(service.get(&format!("{of_app}/nobody")).await.status, 404);
    let listed = service.get(&format!("/v1/purchases?user_id={user}")).await;
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn only_settle_run_takes_samples() {
    let service = Service::start("sample").await;
    let (_, platform) = service.platform().await;
    let answer = service
        .send_json(
            "POST",
            &format!("/v1/platforms/{platform}/sample"),
            &json!({}),
        )
        .await;
    assert_eq!(answer.status, 409, "{}", answer.body);
    assert!(
        answer.body["detail"]
            .as_str()
            .is_some_and(|why| why.contains("only `settle run` accepts samples")),
        "{}",
        answer.body
    );
    assert_eq!(
        service.count("audit_log WHERE operation = 'platform.sample'"),
        0
    );
}
