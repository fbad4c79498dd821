//! The effects of accepted events in the fake Amplitude.

use super::{DAY, KEY, event, fake, plain, profile, send};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test]
async fn an_event_is_counted_once_in_seven_days() {
    let fake = fake().await;
    let nameless = json!({ "event_type": "bought", "user_id": "anna@shop", "insert_id": "a" });
    let unmarked = json!({ "event_type": "bought", "device_id": "device-1" });
    for _ in 0..2 {
        let all = json!([
            plain("a", "device-1"),
            plain("a", "device-2"),
            nameless,
            unmarked
        ]);
        let answer = send(&fake, all).await;
        assert_eq!(
            answer.body["events_ingested"], 4,
            "repeated ones are ingested too"
        );
    }
    assert_eq!(
        fake.events(KEY).len(),
        5,
        "only what has no insert_id is counted again"
    );
    assert_eq!(fake.repeated(KEY), 3);
    fake.pass(7 * DAY - Duration::from_secs(60));
    send(&fake, json!([plain("a", "device-1")])).await;
    assert_eq!(fake.events(KEY).len(), 5);
    fake.pass(Duration::from_secs(61));
    send(&fake, json!([plain("a", "device-1")])).await;
    assert_eq!(
        fake.events(KEY).len(),
        6,
        "counted twice, seven days after it was accepted first"
    );
}

#[tokio::test]
async fn a_nameless_device_joins_the_user_at_the_first_naming() {
    let fake = fake().await;
    let named = |insert_id: &str, device: &str, user: &str| {
        let more = json!({ "user_id": user, "user_properties": { "last": insert_id } });
        event(insert_id, device, &more)
    };
    let before = event(
        "a",
        "device-1",
        &json!({ "user_properties": { "last": "a", "first": "a" } }),
    );
    send(&fake, json!([before])).await;
    assert_eq!(profile(&fake, "device-1").user_id, None);
    send(&fake, json!([named("b", "device-1", "anna@shop")])).await;
    let anna = profile(&fake, "anna@shop");
    assert_eq!(
        (anna.events.len(), &anna.properties),
        (2, &json!({ "last": "b", "first": "a" }))
    );
    send(
        &fake,
        json!([
            plain("c", "device-2"),
            named("d", "device-2", "anna@shop"),
            plain("e", "device-2")
        ]),
    )
    .await;
    let anna = profile(&fake, "anna@shop");
    let ids: Vec<_> = anna
        .events
        .iter()
        .filter_map(|event| event["insert_id"].as_str())
        .collect();
    assert_eq!(
        ids,
        ["a", "b", "c", "d", "e"],
        "events before and after the naming"
    );
    assert_eq!(anna.device_ids.len(), 2);
    send(&fake, json!([named("f", "device-1", "bert@shop")])).await;
    assert_eq!(
        profile(&fake, "bert@shop").events.len(),
        1,
        "a named user is never taken over"
    );
    assert_eq!(profile(&fake, "anna@shop").events.len(), 5);
}

#[tokio::test]
async fn user_properties_are_set_unless_the_event_skips_them() {
    let fake = fake().await;
    let with = |insert_id: &str, skip: bool, properties: Value| {
        event(
            insert_id,
            "device-1",
            &json!({ "user_properties": properties, "$skip_user_properties_sync": skip }),
        )
    };
    send(
        &fake,
        json!([with("a", false, json!({ "plan": "gold", "grace": false }))]),
    )
    .await;
    send(
        &fake,
        json!([with("b", false, json!({ "plan": "silver" }))]),
    )
    .await;
    send(
        &fake,
        json!([with("c", true, json!({ "plan": "old", "more": 1 }))]),
    )
    .await;
    send(
        &fake,
        json!([with("a", false, json!({ "plan": "repeated" }))]),
    )
    .await;
    assert_eq!(
        profile(&fake, "device-1").properties,
        json!({ "plan": "silver", "grace": false })
    );
    assert_eq!(fake.events(KEY).len(), 3, "each is counted");
}

#[tokio::test]
async fn an_identification_changes_the_profile_and_is_no_event() {
    let fake = fake().await;
    let identify = |insert_id: &str, properties: Value| {
        event(
            insert_id,
            "device-1",
            &json!({ "event_type": "$identify", "user_properties": properties }),
        )
    };
    let set = json!({ "$set": { "plan": "gold", "grace": true } });
    let answer = send(&fake, json!([identify("a", set.clone())])).await;
    assert_eq!(
        (answer.status, &answer.body["events_ingested"]),
        (200, &json!(1))
    );
    assert_eq!(
        profile(&fake, "device-1").properties,
        json!({ "plan": "gold", "grace": true })
    );
    let both = json!({ "$set": { "plan": "silver" }, "$unset": { "grace": "-" } });
    send(&fake, json!([identify("b", both)])).await;
    send(&fake, json!([identify("a", set)])).await;
    assert_eq!(
        profile(&fake, "device-1").properties,
        json!({ "plan": "silver" }),
        "the first one again is ignored"
    );
    assert_eq!(
        (
            fake.events(KEY).len(),
            fake.identified(KEY).len(),
            fake.repeated(KEY)
        ),
        (0, 2, 1)
    );
    assert!(profile(&fake, "device-1").events.is_empty());
    for wrong in [
        json!({ "$set": { "plan": "gold" }, "grace": true }),
        json!({ "$rename": { "plan": "gold" } }),
    ] {
        let answer = send(&fake, json!([identify("c", wrong)])).await;
        assert_eq!(
            answer.body["events_with_invalid_fields"],
            json!({ "user_properties": [0] })
        );
    }
    let answer = send(&fake, json!([identify("d", json!({}))])).await;
    assert_eq!(
        answer.body["events_with_missing_fields"],
        json!({ "user_properties": [0] })
    );
    send(&fake, json!([identify("e", json!({ "plan": "plain" }))])).await;
    assert_eq!(
        profile(&fake, "device-1").properties,
        json!({ "plan": "plain" })
    );
}

#[tokio::test]
async fn the_1801st_update_of_an_hour_is_dropped_silently() {
    let fake = fake().await;
    let update = |n: i64| {
        event(
            &n.to_string(),
            "device-1",
            &json!({ "user_properties": { "n": n } }),
        )
    };
    for part in 0..3 {
        let first = part * 600;
        assert_eq!(
            send(&fake, (first..first + 600).map(update).collect())
                .await
                .status,
            200
        );
        fake.pass(Duration::from_secs(60));
    }
    assert_eq!(send(&fake, json!([update(1800)])).await.status, 200);
    assert_eq!(profile(&fake, "device-1").properties, json!({ "n": 1799 }));
    assert_eq!(fake.events(KEY).len(), 1801);
    assert!(
        fake.verdict()
            .iter()
            .any(|wrong| wrong.contains("1 updates of user properties were dropped"))
    );
    fake.pass(Duration::from_secs(3600));
    send(&fake, json!([update(1801)])).await;
    assert_eq!(profile(&fake, "device-1").properties, json!({ "n": 1801 }));
}

#[tokio::test]
async fn long_values_are_cut_silently_and_the_check_fails() {
    let fake = fake().await;
    let fits = json!({ "text": "ü".repeat(1024), "list": ["x".repeat(500), "y".repeat(500)] });
    send(
        &fake,
        json!([event("a", "device-1", &json!({ "event_properties": fits }))]),
    )
    .await;
    fake.check();
    let long = json!({ "text": "ü".repeat(1025), "list": ["x".repeat(500), "y".repeat(500), "z".repeat(500)] });
    let answer = send(
        &fake,
        json!([event("b", "device-1", &json!({ "user_properties": long }))]),
    )
    .await;
    assert_eq!(answer.status, 200);
    let stored = profile(&fake, "device-1").properties;
    assert_eq!(
        stored["text"].as_str().map(|text| text.chars().count()),
        Some(1024)
    );
    assert_eq!(stored["list"].as_array().map(Vec::len), Some(2));
    assert_eq!(fake.verdict(), ["2 values were cut in key-of-one"]);
}
