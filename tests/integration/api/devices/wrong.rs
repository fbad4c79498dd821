//! Malformed events among valid ones.

use super::{impression, request, service, start, transaction};
use serde_json::{Value, json};

/// Returns an event with this value at this JSON pointer.
fn changed(mut event: Value, place: &str, value: Value) -> Value {
    let (parent, name) = place.rsplit_once('/').expect("a place");
    event.pointer_mut(parent).expect("a parent")[name] = value;
    event
}

#[tokio::test]
async fn a_wrong_event_is_named_and_the_others_are_stored() {
    let (service, key) = service("device-wrong", &[]).await;
    let wrong = [
        (changed(start("b"), "/time", json!("yesterday")), "time"),
        (
            changed(start("c"), "/session_id", Value::Null),
            "session_id",
        ),
        (start("a/b"), "id"),
        (
            changed(start("e"), "/impression", json!({ "paywall": "x" })),
            "impression",
        ),
        (
            changed(
                transaction("f"),
                "/transaction/app_user_id",
                json!("undefined"),
            ),
            "transaction.app_user_id",
        ),
        (changed(start("g"), "/type", json!("device.dance")), "type"),
        (changed(start("h"), "/colour", json!("red")), "colour"),
        (json!(5), "event"),
        (
            changed(
                impression("i"),
                "/impression/paywall",
                json!("x".repeat(201)),
            ),
            "impression.paywall",
        ),
    ];
    let mut events = vec![start("a")];
    events.extend(wrong.iter().map(|(event, _)| event.clone()));
    events.push(impression("z"));
    let answer = service.report(&key, &request(&json!(events))).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"]),
        (200, &json!(2)),
        "{}",
        answer.body
    );
    let rejected = answer.body["rejected"].as_array().expect("a list");
    for ((index, rejected), (_, field)) in (1..).zip(rejected).zip(&wrong) {
        assert_eq!(
            (&rejected["index"], &rejected["errors"][0]["field"]),
            (&json!(index), &json!(field)),
            "{rejected}"
        );
        assert!(
            rejected["errors"][0]["expected"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{rejected}"
        );
    }
    assert_eq!(rejected.len(), wrong.len());
}

#[tokio::test]
async fn an_optional_part_that_cannot_be_read_is_left_out_and_named() {
    let (service, key) = service("device-ornaments", &[]).await;
    let receipts = json!([
        { "receipt_id": "r1", "app_user_id": "u1" }, { "receipt_id": "r2", "app_user_id": "null" },
        5, { "receipt_id": "r4 ", "app_user_id": "u1" }, { "receipt_id": "", "app_user_id": "u1" },
    ]);
    let products = json!([
        { "sku": "month", "price": "4,99 €", "currency": "EUR" }, { "sku": "", "price": "1" }, { "sku": "year" },
    ]);
    let cases = [
        (
            changed(transaction("a"), "/transaction/price", json!("8,99\u{a0}€")),
            vec!["transaction.price"],
        ),
        (
            changed(transaction("b"), "/transaction/price", json!(8.99)),
            vec!["transaction.price"],
        ),
        (
            changed(transaction("c"), "/transaction/currency", json!("€")),
            vec!["transaction.currency"],
        ),
        (
            changed(transaction("d"), "/transaction/currency", Value::Null),
            vec!["transaction.currency"],
        ),
        (
            changed(
                transaction("e"),
                "/transaction/marketplace",
                json!("Germany"),
            ),
            vec!["transaction.marketplace"],
        ),
        (
            changed(transaction("f"), "/transaction/impression_id", json!("")),
            vec!["transaction.impression_id"],
        ),
        (
            changed(transaction("g"), "/session_id", json!("none")),
            vec!["session_id"],
        ),
        (
            changed(impression("h"), "/impression/placement", json!("")),
            vec!["impression.placement"],
        ),
        (
            changed(impression("i"), "/impression/products", products),
            vec!["impression.products[0].price", "impression.products[1].sku"],
        ),
        (
            changed(start("j"), "/receipts", receipts),
            vec![
                "receipts[1].app_user_id",
                "receipts[2]",
                "receipts[4].receipt_id",
            ],
        ),
        (
            changed(impression("k"), "/impression/products", json!("month")),
            vec!["impression.products"],
        ),
    ];
    let events: Vec<&Value> = cases.iter().map(|(event, _)| event).collect();
    let mut body = request(&json!(events));
    body["device"]["analytics_device_id"] = json!("");
    let answer = service.report(&key, &body).await;
    let (accepted, rejected) = (&answer.body["accepted"], &answer.body["rejected"]);
    assert_eq!(
        (answer.status, accepted, rejected),
        (200, &json!(cases.len()), &json!([])),
        "{}",
        answer.body
    );
    let names = |errors: &Value| -> Vec<String> {
        let all = errors.as_array().into_iter().flatten();
        all.map(|error| error["field"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let left_out = answer.body["left_out"].as_array().expect("a list");
    assert_eq!(
        names(&left_out[0]["errors"]),
        ["device.analytics_device_id"],
        "{}",
        left_out[0]
    );
    for (index, (one, (event, fields))) in left_out[1..].iter().zip(&cases).enumerate() {
        assert_eq!(one["index"], json!(index), "{event}");
        assert_eq!(names(&one["errors"]), *fields, "{one}");
    }
    assert_eq!(left_out.len(), cases.len() + 1);
    assert_eq!(
        service.count("claims"),
        9,
        "seven of transactions, and those of r1 and r4"
    );
    assert_eq!(
        service.count("claims WHERE receipt_id = 'r4'"),
        1,
        "without the blank"
    );
}

#[tokio::test]
async fn a_store_that_confirms_pairs_needs_the_customer() {
    let (service, key) = service("device-customers", &[]).await;
    let mut bought = transaction("a");
    let fields = bought["transaction"].as_object_mut().expect("an object");
    fields.remove("app_user_id");
    let receipts = json!([{ "receipt_id": "r1" }, { "receipt_id": "r2", "app_user_id": "u1" }]);
    let listed = changed(start("b"), "/receipts", receipts);
    let absent = changed(transaction("c"), "/transaction/app_user_id", Value::Null);
    let answer = service
        .report(&key, &request(&json!([bought, listed, absent])))
        .await;
    let wrong = |field: &str| json!([{ "field": field, "expected": "text of 1 to 1000 characters; it is required" }]);
    let expected = json!({
        "accepted": 1, "repeated": 0,
        "rejected": [
            { "index": 0, "errors": wrong("transaction.app_user_id") },
            { "index": 2, "errors": wrong("transaction.app_user_id") },
        ],
        "left_out": [{ "index": 1, "errors": wrong("receipts[0].app_user_id") }],
    });
    assert_eq!(answer.body, expected);
}

#[tokio::test]
async fn ids_of_the_store_are_as_long_as_an_index_allows() {
    let (service, key) = service("device-long-ids", &[]).await;
    let (longest, longer) = ("\u{fc}".repeat(500), "\u{fc}".repeat(501));
    let receipts = json!([
        { "receipt_id": longest, "app_user_id": longest },
        { "receipt_id": longer, "app_user_id": "u1" },
    ]);
    let of_receipt = |id: &str, receipt: &str| {
        changed(transaction(id), "/transaction/receipt_id", json!(receipt))
    };
    let events = json!([
        changed(start("a"), "/receipts", receipts),
        of_receipt("b", &longest),
        of_receipt("c", &longer),
    ]);
    let answer = service.report(&key, &request(&events)).await;
    assert_eq!(answer.body["accepted"], 2, "{}", answer.body);
    let wrong = |list: &str| answer.body[list][0]["errors"][0]["field"].clone();
    assert_eq!(wrong("left_out"), "receipts[1].receipt_id");
    assert_eq!(wrong("rejected"), "transaction.receipt_id");
    assert!(service.count(&format!("claims WHERE receipt_id = '{longest}'")) > 0);
}

#[tokio::test]
async fn a_request_that_is_wrong_as_a_whole_is_refused() {
    let (service, key) = service("device-refused", &[]).await;
    let whole = request(&json!([start("a")]));
    let wrong = |place: &str, value: Value| {
        let mut body = whole.clone();
        *body.pointer_mut(place).expect("a field") = value;
        body
    };
    for (body, field) in [
        (
            wrong("/device/id", json!("00000000-0000-1000-8000-000000000000")),
            "device.id",
        ),
        (wrong("/device/id", json!("me")), "device.id"),
        (wrong("/device/os/name", json!("")), "device.os.name"),
        (wrong("/sent_at", json!(5)), "sent_at"),
        (wrong("/events", json!(vec![start("a"); 501])), "events"),
        (json!([]), "body"),
        (
            wrong("/device/app_version", json!(vec![json!({}); 30_000])),
            "body",
        ),
    ] {
        let answer = service.report(&key, &body).await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec![field]),
            "{}",
            answer.body
        );
    }
    assert_eq!(service.count("device_events"), 0);
}

#[tokio::test]
async fn an_event_of_any_shape_leaves_the_others() {
    let (service, key) = service("device-shapes", &[]).await;
    let wrong = [
        json!(vec![0; 400_000]).to_string(),
        "[".repeat(5000) + &"]".repeat(5000),
        json!({ "id": "x".repeat(17_000) }).to_string(),
        r#"{"id": 1e999}"#.to_owned(),
        r#""\ud800""#.to_owned(),
    ];
    let written = request(&json!([start("a"), "others"]))
        .to_string()
        .replace("\"others\"", &wrong.join(","));
    let sender = (&key[..], Some(super::super::edge::DEVICE_SECRET));
    let answer = service
        .send_of_device(("POST", "/v1/device/events"), sender, written.into_bytes())
        .await;
    assert_eq!(
        (answer.status, &answer.body["accepted"]),
        (200, &json!(1)),
        "{}",
        answer.body
    );
    let rejected = answer.body["rejected"].as_array().expect("a list");
    let places: Vec<u64> = rejected
        .iter()
        .filter_map(|one| one["index"].as_u64())
        .collect();
    assert_eq!(places, [1, 2, 3, 4, 5], "{}", answer.body);
    let login = json!({ "device": {}, "external_id": "x".repeat(70_000) });
    let answer = service
        .send_of_device(
            ("POST", "/v1/device/login"),
            sender,
            login.to_string().into_bytes(),
        )
        .await;
    assert_eq!(answer.status, 413, "{}", answer.body);
}

#[tokio::test]
async fn a_request_of_wrong_events_alone_is_answered_with_each() {
    let (service, key) = service("device-all-wrong", &[]).await;
    let events: Vec<Value> = (0..499)
        .map(|_| json!({ "kind": "?" }))
        .chain([start("a")])
        .collect();
    let answer = service.report(&key, &request(&json!(events))).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"]),
        (200, &json!(1)),
        "{}",
        answer.body
    );
    assert_eq!(answer.body["rejected"].as_array().map(Vec::len), Some(499));
}

#[tokio::test]
async fn five_hundred_wrong_events_are_answered_within_64_kib() {
    let (service, key) = service("device-many-wrong", &[]).await;
    let long = "\"".repeat(200);
    let wrong = |number: usize| {
        let mut event = start("right");
        for field in 0..12 {
            // Similar to a known name, and as long as a compared name may be.
            event[format!("imp{number}ression{field}")] = json!(1);
        }
        event[&long] = json!(1);
        event["id"] = json!(&long);
        event["time"] = json!(&long);
        event
    };
    let events: Vec<Value> = (0..499).map(wrong).chain([start("a")]).collect();
    let answer = service.report(&key, &request(&json!(events))).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"]),
        (200, &json!(1)),
        "{}",
        answer.body
    );
    let bytes = answer.body.to_string().len();
    assert!(bytes <= 64 * 1024, "{bytes} bytes");
    let rejected = answer.body["rejected"].as_array().expect("a list");
    let indexes: Vec<u64> = rejected
        .iter()
        .filter_map(|one| one["index"].as_u64())
        .collect();
    assert_eq!(indexes, (0..499).collect::<Vec<_>>(), "each is named");
    let errors: Vec<&Value> = rejected
        .iter()
        .filter_map(|one| one["errors"].as_array())
        .flatten()
        .collect();
    assert_eq!(
        errors.len(),
        101,
        "a hundred fields, and what stands for all others"
    );
    assert_eq!(errors[100]["field"], "…");
    assert!(
        errors[100]["expected"]
            .as_str()
            .is_some_and(|text| text.contains("more than these")),
        "{}",
        errors[100]
    );
    let meant = errors.iter().filter(|one| {
        one["expected"]
            .as_str()
            .is_some_and(|text| text.contains("did you mean"))
    });
    let meant = meant.count();
    assert!((1..=10).contains(&meant), "{meant} nearest names");
    let is_short = |one: &&Value| {
        one["field"]
            .as_str()
            .is_some_and(|name| name.len() <= 100 + "…".len())
    };
    assert!(errors.iter().all(is_short), "{errors:?}");
}
