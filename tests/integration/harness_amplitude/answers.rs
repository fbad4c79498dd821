//! The answers of the fake Amplitude.

use super::{DAY, KEY, OTHER, error, event, fake, plain, post, profile, send, upload};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn a_malformed_request_is_refused_as_a_whole() {
    let fake = fake().await;
    let good = json!({ "api_key": KEY, "events": [plain("a", "device-1")] });
    let cases = [
        ("/batch", good.to_string(), "Invalid request path"),
        ("/2/httpapi", String::new(), "Missing request body"),
        ("/2/httpapi", "{".to_owned(), "Invalid JSON request body"),
        ("/2/httpapi", "[]".to_owned(), "Invalid JSON request body"),
        (
            "/2/httpapi",
            json!({ "events": [] }).to_string(),
            "Request missing required field",
        ),
        (
            "/2/httpapi",
            json!({ "api_key": KEY, "events": [] }).to_string(),
            "Request missing required field",
        ),
    ];
    for (path, body, expected) in cases {
        let answer = post(&fake, path, &body).await.expect("an answer");
        assert_eq!(error(&answer), (400, expected), "{path} {body}");
    }
    let missing: Vec<_> = fake
        .requests()
        .iter()
        .map(|exchange| exchange.answer["missing_field"].clone())
        .collect();
    assert_eq!(missing[4..], [json!("api_key"), json!("events")]);
    assert!(fake.events(KEY).is_empty());
    assert_eq!(
        fake.verdict().len(),
        6,
        "each of them is a defect of the sender"
    );
}

#[tokio::test]
async fn too_much_at_once_is_refused_with_413() {
    let fake = fake().await;
    let long = event(
        "a",
        "device-1",
        &json!({ "event_properties": { "text": "x".repeat(1_000_000) } }),
    );
    assert_eq!(send(&fake, json!([long])).await.status, 413);
    let many = |count: usize| -> Value {
        (0..count)
            .map(|n| plain(&n.to_string(), &format!("device-{n}")))
            .collect()
    };
    assert_eq!(send(&fake, many(2000)).await.status, 413);
    assert!(fake.events(KEY).is_empty());
    assert_eq!(send(&fake, many(1999)).await.status, 200);
    assert_eq!(fake.events(KEY).len(), 1999);
}

#[tokio::test]
async fn an_unknown_key_is_echoed_in_clear() {
    let fake = fake().await;
    let body = json!({ "api_key": "wrong-key", "events": [plain("a", "device-1")] });
    let answer = upload(&fake, &body).await;
    assert_eq!(error(&answer), (400, "Invalid API key: wrong-key"));
    fake.rekey(KEY, "wrong-key");
    assert_eq!(upload(&fake, &body).await.status, 200);
    assert_eq!(
        error(&send(&fake, json!([plain("b", "device-1")])).await),
        (400, "Invalid API key: key-of-one")
    );
}

#[tokio::test]
async fn several_projects_count_separately() {
    let fake = fake().await;
    let answer = send(
        &fake,
        json!([plain("a", "device-1"), plain("b", "device-1")]),
    )
    .await;
    assert_eq!(
        (
            answer.status,
            &answer.body["code"],
            &answer.body["events_ingested"]
        ),
        (200, &json!(200), &json!(2))
    );
    let sizes = (
        answer.body["payload_size_bytes"].as_i64(),
        answer.body["server_upload_time"].as_i64(),
    );
    assert!(
        sizes.0.is_some_and(|bytes| bytes > 100)
            && sizes.1.is_some_and(|time| time > 1_700_000_000_000),
        "{answer:?}"
    );
    let other = upload(
        &fake,
        &json!({ "api_key": OTHER, "events": [plain("a", "device-1")] }),
    )
    .await;
    assert_eq!(other.body["events_ingested"], 1);
    assert_eq!((fake.events(KEY).len(), fake.events(OTHER).len()), (2, 1));
    assert_eq!(fake.requests().len(), 2);
    fake.check();
}

#[tokio::test]
async fn only_the_first_offending_event_is_named() {
    let fake = fake().await;
    let good = plain("a", "device-1");
    let typeless = json!({ "device_id": "device-1", "insert_id": "b" });
    let nobody = json!({ "event_type": "bought", "insert_id": "c", "user_id": null });
    let answer = send(&fake, json!([good, typeless, nobody, typeless])).await;
    assert_eq!(error(&answer), (400, "Request missing required field"));
    assert_eq!(
        answer.body["events_with_missing_fields"],
        json!({ "event_type": [1] })
    );
    let answer = send(&fake, json!([nobody, typeless])).await;
    assert_eq!(
        answer.body["events_with_missing_fields"],
        json!({ "user_id": [0] })
    );
    assert!(
        fake.events(KEY).is_empty(),
        "nothing of such a request is kept"
    );
}

#[tokio::test]
async fn forbidden_ids_are_refused() {
    let fake = fake().await;
    let zeros = "00000000-0000-0000-0000-000000000000";
    let forbidden = [
        "anonymous",
        "nil",
        "none",
        "null",
        "n/a",
        "na",
        "undefined",
        "unknown",
        "",
        zeros,
        "{}",
        "lmy47d",
        "0",
        "-1",
        " Unknown ",
        "ANONYMOUS",
    ];
    for id in forbidden {
        let of_user = event("a", "device-1", &json!({ "user_id": id }));
        let answer = send(&fake, json!([plain("b", "device-1"), of_user])).await;
        assert_eq!(
            (answer.status, &answer.body["events_with_invalid_fields"]),
            (400, &json!({ "user_id": [1] })),
            "{id}"
        );
        let answer = send(&fake, json!([plain("a", id)])).await;
        assert_eq!(
            (answer.status, &answer.body["events_with_invalid_fields"]),
            (400, &json!({ "device_id": [0] })),
            "{id}"
        );
    }
    let answer = send(
        &fake,
        json!([event("a", "device-1", &json!({ "idfa": zeros }))]),
    )
    .await;
    assert_eq!(
        answer.body["events_with_invalid_fields"],
        json!({ "idfa": [0] })
    );
    assert!(fake.events(KEY).is_empty());
}

#[tokio::test]
async fn a_short_id_is_removed_and_refused_when_none_is_left() {
    let fake = fake().await;
    let answer = send(&fake, json!([plain("a", "device-1"), plain("b", "four")])).await;
    assert_eq!(
        (
            answer.status,
            &answer.body["events_with_invalid_id_lengths"]
        ),
        (400, &json!({ "device_id": [1] }))
    );
    let short = json!([event("a", "device-1", &json!({ "user_id": "4711" }))]);
    assert_eq!(send(&fake, short.clone()).await.status, 200);
    assert_eq!(
        profile(&fake, "device-1").user_id,
        None,
        "the user is lost, and only the check shows it"
    );
    assert!(
        fake.verdict()
            .iter()
            .any(|wrong| wrong.contains("1 ids were too short")),
        "{:?}",
        fake.verdict()
    );
    let lower = json!({ "api_key": OTHER, "events": short, "options": { "min_id_length": 1 } });
    assert_eq!(upload(&fake, &lower).await.status, 200);
    assert_eq!(
        fake.profile(OTHER, "4711")
            .and_then(|profile| profile.user_id),
        Some("4711".to_owned())
    );
}

#[tokio::test]
async fn a_field_of_a_wrong_type_is_refused() {
    let fake = fake().await;
    let wrong = [
        ("time", json!("2026-11-20T00:00:00Z")),
        ("time", json!(1_900_000_000)),
        ("time", json!(1.9e12)),
        ("event_properties", json!([])),
        ("user_properties", json!("x")),
        ("revenue", json!("9.99")),
        ("currency", json!("usd")),
        ("event_id", json!(3_000_000_000_i64)),
        ("$skip_user_properties_sync", json!("true")),
        ("insert_id", json!(7)),
        ("ingestion_metadata", json!("settle")),
    ];
    for (field, value) in wrong {
        let answer = send(
            &fake,
            json!([
                plain("a", "device-1"),
                event("b", "device-1", &json!({ field: value }))
            ]),
        )
        .await;
        assert_eq!(
            error(&answer),
            (400, "Invalid field values on some events"),
            "{field} {value}"
        );
        assert_eq!(
            answer.body["events_with_invalid_fields"],
            json!({ field: [1] }),
            "{value}"
        );
    }
    assert!(fake.events(KEY).is_empty());
}

#[tokio::test]
async fn reserved_types_and_operators_are_refused() {
    let fake = fake().await;
    for name in [
        "[Amplitude] Revenue",
        "[Amplitude] Merged User",
        "$groupidentify",
    ] {
        let answer = send(
            &fake,
            json!([event("a", "device-1", &json!({ "event_type": name }))]),
        )
        .await;
        assert_eq!(
            answer.body["events_with_invalid_fields"],
            json!({ "event_type": [0] }),
            "{name}"
        );
    }
    for operator in ["$set", "$unset", "$append"] {
        let more = json!({ "user_properties": { "plan": "gold", operator: { "plan": "gold" } } });
        let answer = send(&fake, json!([event("a", "device-1", &more)])).await;
        assert_eq!(
            answer.body["events_with_invalid_fields"],
            json!({ "user_properties": [0] }),
            "{operator}"
        );
    }
    assert!(fake.events(KEY).is_empty());
}

#[tokio::test]
async fn a_refused_type_is_named_by_the_first_offending_index() {
    let fake = fake().await;
    fake.refuse_type(KEY, "tried");
    let tried = |insert_id: &str| event(insert_id, "device-1", &json!({ "event_type": "tried" }));
    let answer = send(
        &fake,
        json!([
            plain("a", "device-1"),
            tried("b"),
            plain("c", "device-1"),
            tried("d")
        ]),
    )
    .await;
    assert_eq!(
        answer.body["events_with_invalid_fields"],
        json!({ "event_properties": [1] })
    );
    let answer = send(
        &fake,
        json!([plain("a", "device-1"), plain("c", "device-1"), tried("d")]),
    )
    .await;
    assert_eq!(
        answer.body["events_with_invalid_fields"],
        json!({ "event_properties": [2] })
    );
    assert_eq!(
        send(
            &fake,
            json!([plain("a", "device-1"), plain("c", "device-1")])
        )
        .await
        .status,
        200
    );
    assert_eq!(
        upload(&fake, &json!({ "api_key": OTHER, "events": [tried("b")] }))
            .await
            .status,
        200,
        "another project takes the type"
    );
}

#[tokio::test]
async fn a_silenced_device_is_refused() {
    let fake = fake().await;
    fake.silence(KEY, "device-2");
    let answer = send(
        &fake,
        json!([
            plain("a", "device-1"),
            plain("b", "device-2"),
            plain("c", "device-2")
        ]),
    )
    .await;
    assert_eq!(
        (answer.status, &answer.body["silenced_events"]),
        (400, &json!([1]))
    );
    assert_eq!(answer.body["silenced_devices"], json!(["device-2"]));
    for field in [
        "eps_threshold",
        "exceeded_daily_quota_devices",
        "throttled_devices",
        "throttled_events",
    ] {
        assert!(!answer.body[field].is_null(), "{field}");
    }
    assert_eq!(
        send(&fake, json!([plain("a", "device-1")])).await.status,
        200
    );
    assert_eq!(fake.events(KEY).len(), 1);
}

#[tokio::test]
async fn a_throttled_user_stops_only_requests_with_its_events() {
    let fake = fake().await;
    fake.throttle(KEY, "anna@shop", Duration::from_secs(600));
    let of_anna = event("a", "device-1", &json!({ "user_id": "anna@shop" }));
    let answer = send(&fake, json!([plain("b", "device-2"), of_anna])).await;
    assert_eq!(
        (answer.status, &answer.body["throttled_users"]),
        (429, &json!({ "anna@shop": 31 }))
    );
    assert_eq!(
        (
            &answer.body["eps_threshold"],
            &answer.body["throttled_events"]
        ),
        (&json!(30), &json!([1]))
    );
    assert!(
        fake.events(KEY).is_empty(),
        "nothing of the request is taken, not even of others"
    );
    assert_eq!(
        send(&fake, json!([plain("b", "device-2")])).await.status,
        200
    );
    fake.throttle(KEY, "device-2", Duration::from_secs(30));
    let answer = send(&fake, json!([plain("c", "device-2")])).await;
    assert_eq!(
        (answer.status, &answer.body["throttled_devices"]),
        (429, &json!({ "device-2": 31 }))
    );
    fake.pass(Duration::from_secs(601));
    assert_eq!(
        send(&fake, json!([plain("c", "device-2"), of_anna]))
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn thirty_events_a_second_of_one_device_are_the_limit() {
    let fake = fake().await;
    let many = |from: usize, to: usize| -> Value {
        (from..to)
            .map(|n| plain(&n.to_string(), "device-1"))
            .collect()
    };
    let answer = send(&fake, many(0, 901)).await;
    assert_eq!(
        (answer.status, &answer.body["throttled_devices"]),
        (429, &json!({ "device-1": 31 }))
    );
    assert_eq!(send(&fake, many(0, 900)).await.status, 200);
    assert_eq!(send(&fake, many(900, 901)).await.status, 429);
    assert_eq!(
        send(&fake, json!([plain("x", "device-2")])).await.status,
        200,
        "another device is not throttled"
    );
    fake.pass(Duration::from_secs(31));
    assert_eq!(send(&fake, many(900, 901)).await.status, 200);
    assert_eq!(fake.events(KEY).len(), 902);
}

#[tokio::test]
async fn a_daily_quota_lasts_a_day() {
    let fake = fake().await;
    fake.exceed_quota(KEY, "device-1");
    let body = json!([plain("a", "device-1")]);
    let answer = send(&fake, body.clone()).await;
    assert_eq!(
        (answer.status, &answer.body["throttled_events"]),
        (429, &json!([0]))
    );
    assert_eq!(
        answer.body["exceeded_daily_quota_devices"],
        json!({ "device-1": 500_001 })
    );
    assert_eq!(answer.body["exceeded_daily_quota_users"], json!({}));
    fake.pass(DAY - Duration::from_secs(60));
    assert_eq!(send(&fake, body.clone()).await.status, 429);
    fake.pass(Duration::from_secs(61));
    assert_eq!(send(&fake, body).await.status, 200);
}
