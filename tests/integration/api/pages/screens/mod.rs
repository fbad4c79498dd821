//! The pages: hostile texts are shown as text, errors at their fields, and a search's results.

mod actions;
mod searching;

use super::visitor::{Answer, Visitor};
use crate::api::edge::{Service, TOKEN, accept};
use domain::{CollapseKey, PlatformId};
use serde_json::{Value, json};
use storage::Handling;
use system_tests::rows;

/// A text that is a script if it is not escaped.
pub const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>";

pub async fn signed_in(service: &Service) -> Visitor {
    Visitor::with_key(service, TOKEN).await.expect("a sign-in")
}

/// Inserts a settled purchase of the only platform, with an event that a destination refused; returns the purchase's
/// key.
pub async fn purchase(
    service: &Service,
    app: &str,
    platform: PlatformId,
    text: &str,
) -> CollapseKey {
    let name = json!({ "kind": "webhook", "name": text, "url": "https://example.com/hooks" });
    let hook = service
        .send_json("POST", &format!("/v1/apps/{app}/destinations"), &name)
        .await;
    assert_eq!(hook.status, 201, "{}", hook.body);
    let hook = hook.body["id"].as_str().expect("an id").to_owned();
    let (key, _) = accept(&service.store, platform, text, Handling::Open).await;
    let [event, delivery] = [0; 2].map(|_| api::clock::random_uuid());
    let quoted = text.replace('\'', "''");
    let body = json!({ "data": { "product_ref_id": text, "last_seen_external_id": text } });
    let purchase = rows::purchases(platform, app)
        .text("collapse_key", key)
        .text("receipt_id", text);
    service.raw(&purchase.text("app_user_id", text));
    let event_row = rows::events()
        .text("id", event)
        .text("collapse_key", key)
        .text("app_id", app);
    service.raw(&event_row.text("body", body));
    let failed = rows::deliveries()
        .text("id", delivery)
        .text("destination_id", hook)
        .text("event_id", event);
    let failed = failed
        .text("collapse_key", key)
        .text("status", "failed")
        .text("last_error", text);
    service.raw(&failed.sql("attempts", 1).sql("finished_at", 1));
    service.raw(&format!(
        "UPDATE notifications SET outcome = 'settled', revision = 1, reason = '{quoted}', finished_at = 1;
         INSERT INTO attempts (delivery_id, number, token, mode, counts, finished_at, started_at, latency_ms, status, class,
             error, headers, response)
             VALUES ('{delivery}', 1, 't', 'lane', TRUE, 1, 1, 5, 500, 'server_error', '{quoted}',
                 '[[\"x-answer\", \"{}\"]]', '{quoted}');",
        text.replace('\'', "''").replace('\\', "\\\\").replace('"', "\\\"")
    ));
    key
}

/// Checks that a hostile text has no effect in a page other than its display as text.
pub fn is_harmless(answer: &Answer, what: &str) {
    assert_eq!(answer.status, 200, "{what}: {}", answer.text);
    for mark in ["<script>alert", "<img src=x", "\"'><"] {
        assert!(
            !answer.text.contains(mark),
            "{what} has {mark}: {}",
            answer.text
        );
    }
}

#[tokio::test]
async fn a_script_in_any_text_is_shown_as_text() {
    let service = Service::start("hostile").await;
    let app = service
        .send_json("POST", "/v1/apps", &json!({ "name": HOSTILE }))
        .await;
    let app = app.body["id"].as_str().expect("an id").to_owned();
    let other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await;
    assert_eq!(other.status, 201);
    let platform =
        json!({ "store": "amazon", "name": HOSTILE, "package_name": "com.example.settle" });
    let platform = service
        .send_json("POST", &format!("/v1/apps/{app}/platforms"), &platform)
        .await;
    let platform: PlatformId = platform.body["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let key = purchase(&service, &app, platform, HOSTILE).await;
    service
        .store
        .alarm(Some(platform), HOSTILE, HOSTILE)
        .await
        .expect("an alarm");
    let visitor = Visitor::with_named_key(&service, &[("key", TOKEN), ("name", HOSTILE)])
        .await
        .expect("a sign-in");
    for path in [
        "/ui/",
        "/ui/purchases",
        "/ui/alarms",
        "/ui/audit-log",
        "/ui/team",
        "/ui/settings",
        &format!("/ui/purchases/{key}"),
    ] {
        let answer = visitor.get(&service, path).await;
        is_harmless(&answer, path);
        assert!(
            answer.text.contains("&#60;script&#62;alert(1)"),
            "{path} shows it: {}",
            answer.text
        );
    }
    let query = "%22%27%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let paths = [
        "/ui/audit-log?operation=",
        "/ui/audit-log?subject=",
        "/ui/purchases?app_id=",
        "/ui/purchases?done=",
    ];
    for path in paths
        .map(|path| format!("{path}{query}"))
        .into_iter()
        .chain([format!("/ui/purchases/{key}?mark={query}")])
    {
        is_harmless(&visitor.get(&service, &path).await, &path);
    }
    let unknown = visitor
        .post(&service, "/ui/search", &[("q", &format!("x{HOSTILE}"))])
        .await;
    is_harmless(&unknown, "a search");
    let found = visitor
        .post(&service, "/ui/search", &[("q", HOSTILE)])
        .await;
    assert_eq!(
        (found.status, found.header("location")),
        (303, format!("/ui/purchases/{key}").as_str())
    );
    let path = format!("/ui/purchases/{key}/hold");
    let wrong = visitor
        .post(&service, &path, &[("hours", HOSTILE), ("reason", HOSTILE)])
        .await;
    assert_eq!(wrong.status, 400);
    is_harmless(
        &Answer {
            status: 200,
            ..wrong
        },
        "a mistake",
    );
}

#[tokio::test]
async fn a_purchase_has_its_id_in_the_term_of_its_store() {
    let service = Service::start("page-purchase-id").await;
    service.platform().await;
    let key = service.seed(&["r1"]).await[0];
    let visitor = signed_in(&service).await;
    let shown = visitor.get(&service, &format!("/ui/purchases/{key}")).await;
    assert!(shown.text.contains("Receipt id"), "{}", shown.text);
}

#[tokio::test]
async fn every_screen_is_data_too() {
    let service = Service::start("as-json").await;
    let (app, platform) = service.platform().await;
    let key = purchase(&service, &app, platform, "receipt").await;
    let visitor = signed_in(&service).await;
    for (path, api) in [
        ("/ui/".to_owned(), "/v1/overview".to_owned()),
        ("/ui/purchases".to_owned(), "/v1/purchases".to_owned()),
        (
            format!("/ui/purchases/{key}"),
            format!("/v1/explain/purchases/{key}"),
        ),
        ("/ui/alarms".to_owned(), "/v1/alarms?open=true".to_owned()),
        ("/ui/audit-log".to_owned(), "/v1/audit-log".to_owned()),
        ("/ui/team".to_owned(), "/v1/sign-ins".to_owned()),
        ("/ui/team/keys".to_owned(), "/v1/keys".to_owned()),
        ("/ui/settings".to_owned(), "/v1/about".to_owned()),
    ] {
        let page = visitor.get(&service, &path).await;
        assert!(
            page.text.contains("as=json") && page.text.contains(&format!("$SETTLE_URL{api}&#34;")),
            "{path}"
        );
        let answer = visitor.get(&service, &format!("{path}?as=json")).await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "application/json"),
            "{path}"
        );
        let mut shown: Value = serde_json::from_str(&answer.text).expect("JSON");
        let mut expected = service.get(&api).await.body;
        for value in [&mut shown, &mut expected] {
            value.as_object_mut().expect("an object").remove("now");
        }
        assert_eq!(shown, expected, "{path}");
    }
}

#[tokio::test]
async fn the_overview_counts_what_waits_and_what_is_pending() {
    let service = Service::start("overview").await;
    let (app, platform) = service.platform().await;
    let empty = service.get("/v1/overview").await.body;
    assert_eq!(
        (&empty["windows"], &empty["last_accepted_at"]),
        (&json!(0), &Value::Null)
    );
    purchase(&service, &app, platform, "receipt").await;
    let (held, _) = accept(&service.store, platform, "held", Handling::Open).await;
    let (open, _) = accept(&service.store, platform, "open", Handling::Open).await;
    accept(&service.store, platform, "open", Handling::Open).await;
    service.seed(&["held"]).await;
    service.raw(&format!(
        "UPDATE purchases SET held_until = 9000000000000000 WHERE collapse_key = '{held}'"
    ));
    let found = service.get("/v1/overview").await.body;
    let numbers =
        ["windows", "held", "waiting", "pending", "failed"].map(|name| found[name].as_i64());
    assert_eq!(
        numbers,
        [Some(1), Some(1), Some(0), Some(0), Some(1)],
        "{found}"
    );
    assert_eq!(found["next_windows"][0]["collapse_key"], json!(open));
    assert_eq!(found["destinations"][0]["failed"], 1);
    let of_other = service
        .send_json("POST", "/v1/apps", &json!({ "name": "other" }))
        .await
        .body["id"]
        .clone();
    let other = service
        .get(&format!(
            "/v1/overview?app_id={}",
            of_other.as_str().expect("an id")
        ))
        .await
        .body;
    let numbers =
        ["windows", "held", "waiting", "pending", "failed"].map(|name| other[name].as_i64());
    assert_eq!(numbers, [Some(0); 5], "{other}");
    service.store.count_arrival(platform, "");
    service.store.write_arrivals().await.expect("written");
    let own = service
        .get(&format!("/v1/overview?app_id={app}"))
        .await
        .body;
    assert!(
        own["last_accepted_at"].is_string() && other["last_accepted_at"].is_null(),
        "{own} {other}"
    );
}

#[tokio::test]
async fn no_setting_shows_a_secret() {
    let key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let variables = [
        ("SETTLE_KEY", key),
        ("SETTLE_ADMIN_TOKEN", "a-very-secret-admin-token"),
        (
            "SETTLE_DATABASE",
            "postgres://settle:hunter2@db.internal/settle",
        ),
    ];
    let service = Service::with("about", &variables).await;
    let visitor = signed_in(&service).await;
    let about = service.get("/v1/about").await.body.to_string();
    let page = visitor.get(&service, "/ui/settings").await.text;
    for hidden in [key, "a-very-secret-admin-token", "hunter2", TOKEN] {
        assert!(
            !about.contains(hidden) && !page.contains(hidden),
            "{hidden}"
        );
    }
    assert!(
        !about.contains("is not shown"),
        "each setting has its value: {about}"
    );
    for variable in ["SETTLE_KEY", "SETTLE_UI_SIGN_IN_IDLE", "SETTLE_RETENTION"] {
        assert!(
            !page.contains(variable),
            "a line breaks at its underscores: {page}"
        );
        assert!(page.replace("<wbr>", "").contains(variable), "{variable}");
    }
}
