//! A client's mistake is answered with a 4xx that names it, never with a 500.

use super::edge::{Answer, Service, TOKEN};
use api::route::Access;
use api::routes::routes;
use serde_json::{Value, json};

const UNKNOWN: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
const EVENT: &str = "?destination_id=6b275a67-0bbb-4f3a-99b9-6600bf711993&type=user.erased";

/// Returns the path of a route with `with` in place of each parameter.
fn filled(path: &str, with: &str) -> String {
    let mut filled = String::new();
    for (at, part) in path.split('/').enumerate() {
        if at > 0 {
            filled.push('/');
        }
        filled.push_str(if part.starts_with('{') { with } else { part });
    }
    filled
}

fn is_problem(answer: &Answer, what: &str) {
    assert_eq!(
        answer.media, "application/problem+json",
        "{what}: {answer:?}"
    );
    assert_eq!(answer.body["status"], answer.status, "{what}");
    for field in ["type", "title", "detail"] {
        assert!(
            answer.body[field]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "{what}: {field}"
        );
    }
}

#[tokio::test]
async fn every_admin_route_needs_the_token() {
    let service = Service::start("token").await;
    let wrong = [
        "Bearer wrong",
        "Bearer",
        "Bearer ",
        "Basic dGVzdA==",
        "the-admin-token-of-the-tests",
    ];
    for route in routes()
        .iter()
        .filter(|route| route.access == Access::Admin)
    {
        let path = filled(route.path, UNKNOWN);
        for shown in [None].into_iter().chain(wrong.map(Some)) {
            let answer = service.send(route.method, &path, shown, Vec::new()).await;
            assert_eq!(answer.status, 401, "{} {path} with {shown:?}", route.method);
            is_problem(&answer, &path);
        }
    }
    let longer = format!("Bearer {TOKEN}x");
    assert_eq!(
        service
            .send("GET", "/v1/apps", Some(&longer), Vec::new())
            .await
            .status,
        401
    );
    assert_eq!(service.get("/v1/apps").await.status, 200);
}

#[tokio::test]
async fn the_open_routes_need_no_token() {
    let service = Service::start("open").await;
    let paths = [
        "/livez",
        "/readyz",
        "/openapi.json",
        "/openapi/device.json",
        "/api/v1/events/schema/",
        "/api/v1/events/schema/purchase.updated",
    ];
    for path in paths {
        assert_eq!(
            service.send("GET", path, None, Vec::new()).await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_unknown_id_is_not_found_on_every_route() {
    let service = Service::start("unknown").await;
    for route in routes().iter().filter(|route| route.path.contains('{')) {
        for id in [UNKNOWN, "no-id", "%ff", "%00"] {
            let mut path = filled(route.path, id);
            path += match route.path.rsplit('/').next() {
                Some("access") => "?on=2026-01-31",
                Some("explain") => EVENT,
                _ => "",
            };
            let body = sample_body(route.path);
            let answer = service.send_json(route.method, &path, &body).await;
            assert_eq!(
                answer.status, 404,
                "{} {path}: {}",
                route.method, answer.body
            );
            is_problem(&answer, &path);
        }
    }
}

/// Returns a valid body for a route, so that only the id is wrong.
fn sample_body(path: &str) -> Value {
    match path
        .rsplit_once("/v1/")
        .map_or("", |(_, rest)| rest.split('/').nth(2).unwrap_or_default())
    {
        "customers" if path.ends_with("/customers") => {
            return json!({ "external_id": "anna", "app_user_id": "u" });
        }
        "entitlements" => return json!({ "name": "Gold" }),
        "products" => return json!({ "entitlements": [] }),
        "catalogue" => return json!({ "entitlements": [], "products": [] }),
        "rates" => return json!({ "rates": [] }),
        "import" => return json!({ "purchases": [] }),
        _ => {}
    }
    if path.ends_with("/customers/move/preview") {
        return json!({ "from": { "app_user_id": "u" }, "external_id": "anna" });
    }
    if path.ends_with("/customers/move") {
        return json!({ "from": { "app_user_id": "u" }, "external_id": "anna", "reason": "ticket 1" });
    }
    if path.ends_with("/acknowledge") {
        return json!({ "note": "seen" });
    }
    if ["/undo", "/approve", "/refuse"]
        .iter()
        .any(|verb| path.contains("/transfer") && path.ends_with(verb))
    {
        return json!({ "reason": "ticket 1" });
    }
    if path.ends_with("/platforms") {
        return json!({ "store": "amazon", "name": "fire", "package_name": "com.example" });
    }
    if path.ends_with("/destinations") {
        return json!({ "kind": "webhook", "name": "hook", "url": "https://example.com" });
    }
    Value::Null
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let service = Service::start("paths").await;
    for (method, path, status) in [
        ("GET", "/", 404),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/apps", 405),
        ("DELETE", "/livez", 405),
    ] {
        let answer = service.send_json(method, path, &Value::Null).await;
        assert_eq!(answer.status, status, "{method} {path}");
        is_problem(&answer, path);
    }
}

/// Returns routes with a body, for existing resources, each with its required fields.
async fn with_bodies(service: &Service) -> Vec<(&'static str, String, Value)> {
    let (app, platform) = service.platform().await;
    let webhook = json!({ "kind": "webhook", "name": "hook", "url": "https://example.com/hooks" });
    let created = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &webhook)
        .await;
    let destination = created.body["id"].as_str().expect("an id").to_owned();
    let (key, _) =
        super::edge::accept(&service.store, platform, "receipt", storage::Handling::Open).await;
    let mut bodies = vec![
        ("POST", "/v1/apps".to_owned(), json!({ "name": "another" })),
        ("PATCH", format!("/v1/apps/{app}"), json!({})),
        (
            "POST",
            format!("/v1/apps/{app}/platforms"),
            json!({ "store": "amazon", "name": "n", "package_name": "p" }),
        ),
        ("PATCH", format!("/v1/platforms/{platform}"), json!({})),
        ("POST", format!("/v1/apps/{app}/destinations"), webhook),
        (
            "PATCH",
            format!("/v1/destinations/{destination}"),
            json!({}),
        ),
        (
            "POST",
            format!("/v1/platforms/{platform}/rotate-ingress-key"),
            json!({}),
        ),
        (
            "POST",
            format!("/v1/platforms/{platform}/retry-parked"),
            json!({}),
        ),
        (
            "POST",
            format!("/v1/platforms/{platform}/try-access"),
            json!({}),
        ),
        ("POST", format!("/v1/platforms/{platform}/test"), json!({})),
        (
            "POST",
            format!("/v1/platforms/{platform}/import"),
            json!({ "purchases": [] }),
        ),
        ("POST", "/v1/resends".to_owned(), json!({ "failed": true })),
        (
            "POST",
            format!("/v1/destinations/{destination}/rotate-secret"),
            json!({}),
        ),
        (
            "POST",
            format!("/v1/destinations/{destination}/test"),
            json!({}),
        ),
        (
            "PUT",
            format!("/v1/apps/{app}/customers"),
            json!({ "external_id": "anna", "app_user_id": "u" }),
        ),
        (
            "PUT",
            format!("/v1/apps/{app}/entitlements/gold"),
            json!({ "name": "Gold" }),
        ),
        (
            "PUT",
            format!("/v1/apps/{app}/products/month"),
            json!({ "entitlements": [] }),
        ),
        (
            "PUT",
            format!("/v1/apps/{app}/catalogue"),
            json!({ "entitlements": [], "products": [] }),
        ),
        (
            "PUT",
            format!("/v1/apps/{app}/rates"),
            json!({ "rates": [] }),
        ),
    ];
    for action in ["flush", "hold", "release", "discard"] {
        bodies.push(("POST", format!("/v1/purchases/{key}/{action}"), json!({})));
    }
    for action in ["enable", "disable", "probe"] {
        bodies.push((
            "POST",
            format!("/v1/destinations/{destination}/{action}"),
            json!({}),
        ));
    }
    bodies
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let service = Service::start("json").await;
    for (method, path, _) in with_bodies(&service).await {
        for body in ["{", "[]", "\"text\"", "1", "{\"a\":}", "\u{0}"] {
            let answer = service
                .send(method, &path, Some(&format!("Bearer {TOKEN}")), body.into())
                .await;
            assert_eq!(answer.status, 400, "{method} {path} {body}");
            assert_eq!(answer.wrong_fields(), ["body"], "{method} {path} {body}");
        }
    }
}

#[tokio::test]
async fn an_unknown_field_is_refused_by_its_name() {
    let service = Service::start("fields").await;
    for (method, path, mut body) in with_bodies(&service).await {
        body["surprise"] = json!(1);
        let answer = service.send_json(method, &path, &body).await;
        assert_eq!(answer.status, 400, "{method} {path}");
        assert_eq!(answer.wrong_fields(), ["surprise"], "{method} {path}");
    }
}

#[tokio::test]
async fn a_wrong_type_is_refused_by_the_fields_name() {
    let service = Service::start("types").await;
    let fields = [
        ("/v1/apps", "name", json!([1])),
        ("/platforms", "store", json!("unheard-of")),
        ("/platforms", "name", json!(7)),
        ("/platforms", "name", json!("")),
        ("/platforms", "name", json!("two\nlines")),
        ("/platforms", "environment", json!("live")),
        ("/platforms", "window_seconds", json!("120")),
        ("/platforms", "window_seconds", json!(0)),
        ("/platforms", "window_seconds", json!(3601)),
        ("/platforms", "window_seconds", json!(1.5)),
        ("/platforms", "max_wait_seconds", json!(119)),
        ("/platforms", "device_events_per_day", json!(-1)),
        ("/platforms", "device_bytes_per_day", json!("50GiB")),
        ("/platforms", "new_devices_per_day", json!(1.5)),
        ("/platforms", "topic_arn", json!("my-topic")),
        ("/platforms", "shared_secret", json!({})),
        ("/destinations", "kind", json!("pigeon")),
        ("/destinations", "url", json!("http://example.com")),
        (
            "/destinations",
            "url",
            json!("https://user:pass@example.com"),
        ),
        ("/destinations", "url", json!(["https://example.com"])),
        ("/destinations", "events", json!(["purchase.eaten"])),
        ("/destinations", "events", json!("*")),
        ("/destinations", "events", json!([])),
        ("/destinations", "enabled", json!("yes")),
        ("/destinations", "filter", json!(["production"])),
        ("/destinations", "rate", json!(0)),
        ("/destinations", "rate", json!(1001)),
        ("/destinations", "rate", json!("20")),
        ("/destinations", "concurrency", json!(0)),
        ("/destinations", "concurrency", json!(201)),
        ("/destinations", "schedule", json!("5s")),
        ("/destinations", "schedule", json!([])),
        ("/destinations", "schedule", json!([0])),
        ("/destinations", "schedule", json!([1.5])),
        ("/destinations", "schedule", json!([691_201])),
        ("/destinations", "schedule", json!(vec![1; 101])),
        ("/rotate-secret", "secret", json!("whsec_short")),
        ("/rotate-secret", "secret", json!(1)),
        ("/rotate-secret", "overlap_hours", json!(-1)),
        ("/rotate-secret", "overlap_hours", json!(169)),
        ("/enable", "newest_only", json!("yes")),
        ("/hold", "until", json!("tomorrow")),
        ("/hold", "until", json!(1)),
        ("/hold", "until", json!("2001-01-01T00:00:00Z")),
        ("/flush", "reason", json!(1)),
        ("/resends", "destination_id", json!("x")),
        ("/resends", "now", json!("yes")),
    ];
    let bodies = with_bodies(&service).await;
    for (end, field, value) in fields {
        let found = bodies
            .iter()
            .find(|(method, path, _)| *method == "POST" && path.ends_with(end));
        let (method, path, mut body) = found.cloned().expect("a route");
        body[field] = value.clone();
        let answer = service.send_json(method, &path, &body).await;
        assert_eq!(
            answer.status, 400,
            "{path} {field}={value}: {}",
            answer.body
        );
        assert_eq!(answer.wrong_fields(), [field], "{path} {field}={value}");
    }
}

#[tokio::test]
async fn a_bad_page_or_filter_is_refused_by_its_name() {
    let service = Service::start("pages").await;
    let (app, _) = service.platform().await;
    let lists = [
        "/v1/apps".to_owned(),
        format!("/v1/apps/{app}/platforms"),
        format!("/v1/apps/{app}/destinations"),
        "/v1/purchases".to_owned(),
        "/v1/events".to_owned(),
        "/v1/deliveries".to_owned(),
    ];
    let queries = [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("cursor=%20nonsense", "cursor"),
        ("page=2", "page"),
        ("limit=1&limit=2", "limit"),
    ];
    for list in &lists {
        assert_eq!(
            service.get(&format!("{list}?limit=500")).await.status,
            200,
            "{list}"
        );
        for (query, field) in queries {
            let answer = service.get(&format!("{list}?{query}")).await;
            assert_eq!(answer.status, 400, "{list}?{query}: {}", answer.body);
            assert_eq!(answer.wrong_fields(), [field], "{list}?{query}");
        }
    }
    for (query, field) in [
        ("purchases?platform_id=x", "platform_id"),
        ("events?collapse_key=x", "collapse_key"),
        ("deliveries?status=lost", "status"),
        ("deliveries?destination_id=x", "destination_id"),
    ] {
        let answer = service.get(&format!("/v1/{query}")).await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec![field]),
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_body_over_two_mebibytes_is_too_large() {
    let service = Service::start("large").await;
    let (app, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await;
    let url = shown.body["notification_url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let ingress = url
        .strip_prefix("https://settle.example.com/base")
        .expect("our public URL")
        .to_owned();
    let of_device = shown.body["publishable_key"].as_str().expect("a key");
    let platforms = format!("/v1/apps/{app}/platforms");
    for (path, key, mebibytes) in [
        (ingress.as_str(), TOKEN, 2),
        ("/v1/apps", TOKEN, 2),
        (&platforms, TOKEN, 2),
        ("/v1/device/events", of_device, 1),
    ] {
        let body = vec![b' '; mebibytes * 1024 * 1024 + 1];
        let answer = service
            .send("POST", path, Some(&format!("Bearer {key}")), body)
            .await;
        assert_eq!(answer.status, 413, "{path}");
        is_problem(&answer, path);
        assert_eq!(
            answer.body["detail"],
            format!("the body exceeds its limit of {mebibytes}MiB"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_nested_too_deep_is_refused_before_it_is_read() {
    let service = Service::start("deep").await;
    let (app, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await;
    let url = shown.body["notification_url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let ingress = url
        .strip_prefix("https://settle.example.com/base")
        .expect("our public URL")
        .to_owned();
    let admin = format!("/v1/apps/{app}/platforms");
    for path in [&ingress, &admin] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let body = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
            let body = if *path == ingress {
                body
            } else {
                format!("{{\"name\":{body}}}")
            };
            let answer = service
                .send(
                    "POST",
                    path,
                    Some(&format!("Bearer {TOKEN}")),
                    body.into_bytes(),
                )
                .await;
            assert_eq!(answer.status, 400, "{path}: {}", answer.body);
            is_problem(&answer, path);
        }
    }
    let deep = format!("{{\"name\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    let answer = service
        .send(
            "POST",
            &admin,
            Some(&format!("Bearer {TOKEN}")),
            deep.into_bytes(),
        )
        .await;
    assert_eq!(answer.wrong_fields(), ["body"]);
    assert!(
        answer.body["detail"]
            .to_string()
            .contains("recursion limit"),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict() {
    let service = Service::start("taken").await;
    let (app, _) = service.platform().await;
    let body = json!({ "store": "amazon", "name": "fire", "package_name": "com.example.other" });
    assert_eq!(
        service
            .send_json("POST", "/v1/apps", &json!({ "name": "reader" }))
            .await
            .status,
        409
    );
    assert_eq!(
        service
            .send_json("POST", &format!("/v1/apps/{app}/platforms"), &body)
            .await
            .status,
        409
    );
}

#[tokio::test]
async fn a_name_of_spaces_alone_is_refused() {
    let service = Service::start("spaces").await;
    let (app, platform) = service.platform().await;
    let hook =
        json!({ "kind": "webhook", "name": "hook", "url": "https://receiver.invalid/hooks" });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &hook)
        .await
        .body["id"]
        .clone();
    let hook = format!("/v1/destinations/{}", hook.as_str().expect("an id"));
    let tv = json!({ "store": "amazon", "package_name": "com.example.other", "name": " " });
    let other =
        json!({ "kind": "webhook", "url": "https://receiver.invalid/hooks", "name": "\u{2003}" });
    let name = json!({ "name": "  " });
    for (method, path, body) in [
        ("POST", "/v1/apps", &name),
        ("PATCH", &format!("/v1/apps/{app}"), &name),
        ("POST", &format!("/v1/apps/{app}/platforms"), &tv),
        ("PATCH", &format!("/v1/platforms/{platform}"), &name),
        ("POST", &format!("/v1/apps/{app}/destinations"), &other),
        ("PATCH", &hook, &name),
    ] {
        let answer = service.send_json(method, path, body).await;
        assert_eq!(
            (answer.status, answer.wrong_fields()),
            (400, vec!["name"]),
            "{method} {path}: {}",
            answer.body
        );
        assert!(
            answer.body.to_string().contains("not only spaces"),
            "{}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_message_of_no_store_is_refused_with_a_reason() {
    let service = Service::start("message").await;
    let (_, platform) = service.platform().await;
    let shown = service.get(&format!("/v1/platforms/{platform}")).await;
    let url = shown.body["notification_url"]
        .as_str()
        .expect("a URL")
        .to_owned();
    let path = url
        .strip_prefix("https://settle.example.com/base")
        .expect("our public URL");
    for body in ["", "nonsense", "{}", "{\"Type\":\"Notification\"}"] {
        let answer = service.send("POST", path, None, body.into()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.body);
        is_problem(&answer, body);
    }
}

#[tokio::test]
async fn a_type_of_an_event_that_does_not_exist_is_named() {
    let service = Service::start("types").await;
    for (path, kind, others) in [
        (
            "/v1/events",
            "purchase.updated",
            ["device.impression", "device.*", "user*"],
        ),
        (
            "/v1/device-events",
            "device.impression",
            ["purchase.updated", "user.*", "*"],
        ),
    ] {
        assert_eq!(
            service.get(&format!("{path}?type={kind}")).await.status,
            200
        );
        for wrong in others.into_iter().chain(["purchase.eaten", ""]) {
            let answer = service.get(&format!("{path}?type={wrong}")).await;
            assert_eq!(
                (answer.status, answer.wrong_fields()),
                (400, vec!["type"]),
                "{path} {wrong}"
            );
            let is_listed = answer.body["detail"]
                .as_str()
                .is_some_and(|detail| detail.contains(kind));
            assert!(is_listed || wrong.is_empty(), "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_name_of_two_mebibytes_is_not_sent_back() {
    let service = Service::start("names").await;
    let (app, _) = service.platform().await;
    let name = "x".repeat(2 * 1024 * 1024 - 64);
    let authorization = format!("Bearer {TOKEN}");
    for path in [
        "/v1/apps".to_owned(),
        format!("/v1/apps/{app}/destinations"),
        format!("/v1/apps/{app}/platforms"),
    ] {
        for body in [
            format!("{{\"{name}\":1}}"),
            format!("{{\"name\":{{\"{name}\":1}}}}"),
        ] {
            let answer = service
                .send("POST", &path, Some(&authorization), body.into_bytes())
                .await;
            assert_eq!(answer.status, 400, "{path}");
            is_problem(&answer, &path);
            let length = answer.body.to_string().len();
            assert!(length < 16 * 1024, "{path} answers {length} bytes");
        }
    }
    let (name, _) = name.split_at(name.len() / 2);
    let body = json!({ "kind": "webhook", "name": "n", "url": "https://example.com/", "headers": { name: "x" } });
    let path = format!("/v1/apps/{app}/destinations");
    let answer = service
        .send(
            "POST",
            &path,
            Some(&authorization),
            body.to_string().into_bytes(),
        )
        .await;
    assert_eq!(answer.status, 400);
    assert!(answer.body.to_string().len() < 16 * 1024);
}
