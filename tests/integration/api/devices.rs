//! What devices report over HTTP: the key, CORS, limits, and a wrong event among right ones.

use super::edge::{Answer, Service, TOKEN};
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

const DEVICE: &str = "2f0d2ef6-3b3f-4b9c-8a64-0a1d4f7c9e11";
const SESSION: &str = "b4f6c7a2-94d1-4c5e-9a41-6f1f6a6f2d10";

/// A service, and the publishable key of its platform.
async fn service(name: &str, variables: &[(&str, &str)]) -> (Service, String) {
    let service = Service::with(name, variables).await;
    let (_, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await.body;
    let key = shown["publishable_key"].as_str().expect("a key").to_owned();
    (service, key)
}

fn request(events: &Value) -> Value {
    json!({
        "device": {
            "id": DEVICE, "first_launch": "2026-11-01T08:00:00Z", "app_version": "3.1", "sdk_version": "web/1",
            "os": { "name": "fireos", "version": "8" },
        },
        "sent_at": "2026-11-20T12:00:00Z",
        "events": events,
    })
}

fn start(id: &str) -> Value {
    json!({ "id": id, "type": "device.session.start", "time": "2026-11-20T11:59:00Z", "session_id": SESSION })
}

fn impression(id: &str) -> Value {
    json!({
        "id": id, "type": "device.impression", "time": "2026-11-20T11:59:30Z", "session_id": SESSION,
        "impression": { "paywall": "summer", "products": [{ "sku": "month", "price": "4.99", "currency": "EUR" }] },
    })
}

fn transaction(id: &str) -> Value {
    json!({
        "id": id, "type": "device.transaction", "time": "2026-11-20T11:59:40Z", "session_id": SESSION,
        "transaction": {
            "kind": "purchased", "receipt_id": format!("receipt-{id}"), "app_user_id": "u1", "sku": "month",
            "price": "4.99", "currency": "EUR", "marketplace": "DE", "impression_id": "b",
        },
    })
}

impl Service {
    async fn report(&self, key: &str, body: &Value) -> Answer {
        self.send(
            "POST",
            "/v1/device/events",
            Some(&format!("Bearer {key}")),
            body.to_string().into_bytes(),
        )
        .await
    }
}

#[tokio::test]
async fn events_are_stored_once() {
    let (service, key) = service("device", &[]).await;
    let body = request(&json!([start("a"), impression("b")]));
    let first = service.report(&key, &body).await;
    assert_eq!(
        (first.status, &first.body),
        (
            200,
            &json!({ "accepted": 2, "repeated": 0, "rejected": [] })
        )
    );
    let again = service.report(&key, &body).await;
    assert_eq!(
        again.body,
        json!({ "accepted": 0, "repeated": 2, "rejected": [] })
    );
    assert_eq!(service.count("device_events"), 2);
}

#[tokio::test]
async fn only_the_publishable_key_opens_the_api_of_devices() {
    let (service, key) = service("device-key", &[]).await;
    let body = request(&json!([start("a")]));
    for wrong in [
        "pk_00000000000000000000000000000000",
        TOKEN,
        "",
        &"x".repeat(5000),
    ] {
        assert_eq!(service.report(wrong, &body).await.status, 401, "{wrong}");
    }
    let without = service
        .send(
            "POST",
            "/v1/device/events",
            None,
            body.to_string().into_bytes(),
        )
        .await;
    assert_eq!(without.status, 401);
    assert!(
        without.body["detail"]
            .as_str()
            .expect("a text")
            .contains("pk_"),
        "{}",
        without.body
    );
    let admin = service
        .send(
            "GET",
            "/v1/apps",
            Some(&format!("Bearer {key}")),
            Vec::new(),
        )
        .await;
    assert_eq!(admin.status, 401, "the key is public");
    let apps = service.get("/v1/apps").await.body;
    let app = apps["items"][0]["id"].as_str().expect("an id");
    let platforms = service.get(&format!("/v1/apps/{app}/platforms")).await.body;
    let path = format!(
        "/v1/platforms/{}/rotate-publishable-key",
        platforms["items"][0]["id"].as_str().expect("an id")
    );
    let rotated = service.send_json("POST", &path, &json!({})).await.body;
    let new = rotated["publishable_key"].as_str().expect("a key");
    assert_eq!(
        service.report(&key, &body).await.status,
        401,
        "the old key ended"
    );
    assert_eq!(service.report(new, &body).await.status, 200);
}

/// An event with another value at this place.
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
    let sender = (&key[..], Some(super::edge::DEVICE_SECRET));
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
async fn a_page_of_any_origin_may_report() {
    let (service, key) = service("device-cors", &[]).await;
    let send = async |builder: axum::http::request::Builder, body: String| {
        let request = builder
            .uri("/v1/device/events")
            .header(header::ORIGIN, "https://tv.example.com");
        service
            .router
            .clone()
            .oneshot(request.body(Body::from(body)).expect("a request"))
            .await
            .expect("an answer")
    };
    let preflight = Request::builder()
        .method("OPTIONS")
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(
            header::ACCESS_CONTROL_REQUEST_HEADERS,
            "authorization,content-type,settle-device-secret",
        );
    let allowed = send(preflight, String::new()).await;
    assert!(allowed.status().is_success(), "{allowed:?}");
    let shown = |name: header::HeaderName| {
        allowed.headers()[name]
            .to_str()
            .expect("a text")
            .to_lowercase()
    };
    assert_eq!(shown(header::ACCESS_CONTROL_ALLOW_ORIGIN), "*");
    assert!(shown(header::ACCESS_CONTROL_ALLOW_METHODS).contains("post"));
    for name in [
        "authorization",
        "content-type",
        "if-none-match",
        "settle-device-secret",
    ] {
        assert!(
            shown(header::ACCESS_CONTROL_ALLOW_HEADERS).contains(name),
            "{allowed:?}"
        );
    }
    let post = || Request::builder().method("POST");
    for (builder, status) in [
        (
            post().header(header::AUTHORIZATION, format!("Bearer {key}")),
            200,
        ),
        (post().header(header::AUTHORIZATION, "Bearer pk_no"), 401),
    ] {
        let answer = send(builder, request(&json!([start("a")])).to_string()).await;
        assert_eq!(answer.status().as_u16(), status);
        assert_eq!(
            answer.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN],
            "*",
            "a page may read the error, too"
        );
        assert_eq!(
            answer.headers()[header::ACCESS_CONTROL_EXPOSE_HEADERS],
            "etag,retry-after"
        );
    }
    let admin = Request::builder()
        .uri("/v1/apps")
        .header(header::ORIGIN, "https://tv.example.com");
    let admin = service
        .router
        .clone()
        .oneshot(admin.body(Body::empty()).expect("a request"))
        .await
        .expect("an answer");
    assert!(
        admin
            .headers()
            .get(header::ACCESS_CONTROL_ALLOW_ORIGIN)
            .is_none()
    );
}

#[tokio::test]
async fn an_address_that_sends_too_many_bytes_is_put_off() {
    let limits = [("SETTLE_DEVICES_BYTES_PER_SECOND_AND_ADDRESS", "32KiB")];
    let (service, key) = service("device-bytes", &limits).await;
    let bearer = format!("Bearer {key}");
    let large = request(&json!(vec![json!(["x".repeat(1000)]); 490]))
        .to_string()
        .into_bytes();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(
            service
                .send("POST", "/v1/device/events", Some(&bearer), large.clone())
                .await
                .status,
        );
    }
    assert_eq!(statuses[..2], [200, 200], "1 MiB at once");
    assert_eq!(statuses[3], 429, "{statuses:?}");
    let spared = service
        .send("POST", "/v1/device/events", Some(&bearer), b"{".to_vec())
        .await;
    assert_eq!(
        spared.status, 400,
        "a small one is within the bound, and counted before it is read"
    );
}

#[tokio::test]
async fn too_many_requests_are_put_off() {
    let limits = [("SETTLE_DEVICES_REQUESTS_PER_SECOND", "1")];
    let (service, key) = service("device-limits", &limits).await;
    let body = request(&json!([start("a")]));
    for _ in 0..10 {
        assert_eq!(service.report(&key, &body).await.status, 200);
    }
    let mut more = 0;
    let answer = loop {
        let request = Request::builder().method("POST").uri("/v1/device/events");
        let request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        let request = request
            .body(Body::from(body.to_string()))
            .expect("a request");
        let answer = service
            .router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer");
        more += 1;
        assert!(more < 1000, "a thousand requests were taken at once");
        if answer.status().as_u16() != 200 {
            break answer;
        }
    };
    assert_eq!(
        (
            answer.status().as_u16(),
            &answer.headers()[header::RETRY_AFTER]
        ),
        (429, &HeaderValue::from_static("1"))
    );
    let mut other = body.clone();
    other["device"]["id"] = json!("5d2b9f0e-52cf-4a8e-b6a4-8f6ad6a7c001");
    assert_eq!(
        service.report(&key, &other).await.status,
        200,
        "another device is not held up"
    );
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
            // Near to a known name, and as long as a name that is compared may be.
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

#[tokio::test]
async fn an_event_is_found_and_explained() {
    let (service, key) = service("device-explained", &[]).await;
    service
        .report(&key, &request(&json!([start("a"), impression("b")])))
        .await;
    let listed = service
        .get(&format!("/v1/device-events?device_id={DEVICE}&client_id=b"))
        .await
        .body;
    let event = &listed["items"][0];
    assert_eq!(
        (listed["items"].as_array().map(Vec::len), &event["type"]),
        (Some(1), &json!("device.impression"))
    );
    let id = event["id"].as_str().expect("an id");
    let shown = service.get(&format!("/v1/device-events/{id}")).await.body;
    assert_eq!(
        (&shown["client_id"], &shown["body"]["data"]["paywall"]),
        (&json!("b"), &json!("summer"))
    );
    let explained = service.get(&format!("/v1/explain/events/{id}")).await.body;
    let summary = explained["summary"].as_str().expect("a sentence");
    assert!(
        summary.contains("device.impression") && summary.contains(DEVICE),
        "{summary}"
    );
    assert_eq!(
        explained["then"].as_array().map(Vec::len),
        Some(2),
        "its cause, and that there is no destination"
    );
    assert_eq!(
        service
            .get(&format!("/v1/device-events/{DEVICE}"))
            .await
            .status,
        404
    );
    assert_eq!(
        service.get("/v1/device-events?status=lost").await.status,
        400
    );
}
