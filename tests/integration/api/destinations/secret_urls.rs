//! URLs that are secrets: what a reader sees of them in the current settings and in the audit log.

use super::super::edge::Service;
use super::webhooks::with_receiver;
use super::{check_wrong, create, desk};
use serde_json::{Value, json};

/// The part of each URL that must stay hidden.
const HIDDEN: &str = "c8Vt1uZ5mEr3";

fn slack(number: u32) -> String {
    format!("https://hooks.slack.com/services/T0/B{number}/{HIDDEN}")
}

fn token() -> String {
    format!("https://example.com/hook?token={HIDDEN}")
}

/// Returns the bearer token of a key with the role `read`.
async fn reader(service: &Service) -> String {
    let key = service
        .send_json(
            "POST",
            "/v1/keys",
            &json!({ "name": "reader", "role": "read" }),
        )
        .await;
    format!("Bearer {}", key.body["key"].as_str().expect("a key"))
}

/// Checks that none of these answers to a reader contains the hidden part.
async fn check_hidden(service: &Service, bearer: &str, paths: &[&str]) {
    for path in paths {
        let answer = service.send("GET", path, Some(bearer), Vec::new()).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        assert!(
            !answer.body.to_string().contains(HIDDEN),
            "{path}: {}",
            answer.body
        );
    }
}

fn entries_with(service: &Service, text: &str) -> i64 {
    let like = format!("LIKE '%{text}%'");
    service.raw_number(&format!(
        "SELECT COUNT(*) AS value FROM audit_log WHERE old_fields {like} OR new_fields {like}"
    ))
}

/// Returns the number of destinations, including deleted ones, whose settings contain the hidden part.
fn in_clear(service: &Service) -> i64 {
    service.raw_number(&format!(
        "SELECT COUNT(*) AS value FROM destinations WHERE settings LIKE '%{HIDDEN}%'"
    ))
}

#[tokio::test]
async fn a_reader_sees_no_path_of_a_slack_url() {
    let (service, list) = desk("secret-urls").await;
    let bearer = reader(&service).await;
    let chat = json!({ "kind": "webhook", "name": "chat", "url": slack(1), "body": "slack" });
    let hook = json!({ "kind": "webhook", "name": "hook", "url": token(), "secret_url": true });
    for (body, shown) in [
        (chat, "https://hooks.slack.com/…"),
        (hook, "https://example.com/…"),
    ] {
        let (path, created) = create(&service, &list, &body).await;
        assert_eq!(created["url"], shown, "also in the answer that creates it");
        let other = format!("{}-2", body["url"].as_str().expect("a URL"));
        let changed = service
            .send_json("PATCH", &path, &json!({ "url": other }))
            .await;
        assert_eq!(
            (changed.status, &changed.body["url"]),
            (200, &json!(shown)),
            "{}",
            changed.body
        );
        let entry = service.get("/v1/audit-log?limit=1").await.body["items"][0].clone();
        assert_eq!(
            entry["after"]["secret"], "replaced",
            "that another one was set is in the log: {entry}"
        );
        check_hidden(&service, &bearer, &[&list, &path, "/v1/audit-log"]).await;
        assert_eq!(
            service
                .send_json("DELETE", &path, &Value::Null)
                .await
                .status,
            204
        );
        check_hidden(&service, &bearer, &["/v1/audit-log"]).await;
        assert_eq!(in_clear(&service), 0, "nor is it stored once it is deleted");
    }
    assert_eq!(entries_with(&service, HIDDEN), 0, "nor is it stored there");
    let chat = json!({ "kind": "webhook", "name": "last", "url": slack(3), "body": "slack" });
    create(&service, &list, &chat).await;
    assert_eq!(in_clear(&service), 1);
    let app = list.trim_end_matches("/destinations");
    assert_eq!(
        service.send_json("DELETE", app, &Value::Null).await.status,
        204
    );
    assert_eq!(in_clear(&service), 0, "nor after its app was deleted");
}

#[tokio::test]
async fn what_0_1_0_wrote_into_the_audit_log_is_not_shown() {
    let (service, list) = desk("old-entries").await;
    let bearer = reader(&service).await;
    let (path, created) = create(
        &service,
        &list,
        &json!({ "kind": "webhook", "name": "hook", "url": token() }),
    )
    .await;
    assert_eq!(
        (entries_with(&service, HIDDEN), &created["url"]),
        (1, &json!(token())),
        "it is no secret yet"
    );
    let changed = service
        .send_json("PATCH", &path, &json!({ "secret_url": true }))
        .await;
    assert_eq!(
        (changed.status, &changed.body["url"]),
        (200, &json!("https://example.com/…")),
        "{}",
        changed.body
    );
    assert_eq!(
        entries_with(&service, HIDDEN),
        1,
        "entries are never changed"
    );
    check_hidden(&service, &bearer, &[&list, &path, "/v1/audit-log"]).await;
    assert_eq!(in_clear(&service), 0);
    // As stored by 0.1.0, about a destination that has since been deleted.
    let fields = json!({ "settings": { "url": slack(2), "body": "slack" } });
    service.raw(&format!(
        "INSERT INTO audit_log (id, at, actor, operation, subject, old_fields, new_fields)
             VALUES ('0c3f8a52-7a0b-4d1e-9a55-3f1c4be6d002', 1, 'admin token', 'destination.create', '{}', '{{}}', '{fields}')",
        "0c3f8a52-7a0b-4d1e-9a55-3f1c4be6d001"
    ));
    check_hidden(&service, &bearer, &["/v1/audit-log"]).await;
    let refused = service
        .send_json("PATCH", &path, &json!({ "secret_url": false }))
        .await;
    check_wrong(&refused, &["secret_url"]);
    assert!(
        !refused.body.to_string().contains(HIDDEN),
        "{}",
        refused.body
    );
    let open = json!({ "secret_url": false, "url": "https://example.com/open" });
    let opened = service.send_json("PATCH", &path, &open).await;
    assert_eq!(
        (opened.status, &opened.body["url"]),
        (200, &open["url"]),
        "{}",
        opened.body
    );
    check_hidden(&service, &bearer, &["/v1/audit-log"]).await;
    assert_eq!(
        service
            .send_json("DELETE", &path, &Value::Null)
            .await
            .status,
        204
    );
    check_hidden(&service, &bearer, &["/v1/audit-log"]).await;
}

#[tokio::test]
async fn requests_go_to_a_url_that_is_encrypted() {
    let (service, receiver, list) = with_receiver("sealed-url").await;
    let url = format!("{}?token={HIDDEN}", receiver.url());
    let body = json!({ "kind": "webhook", "name": "hook", "url": url, "secret_url": true });
    let (path, created) = create(&service, &list, &body).await;
    receiver.trust_shown(&created);
    assert!(
        created["url"]
            .as_str()
            .is_some_and(|shown| shown.ends_with("/…")),
        "{created}"
    );
    let same = json!({ "url": created["url"], "device_batch": 2 });
    assert_eq!(
        service.send_json("PATCH", &path, &same).await.status,
        200,
        "a form sends back what it showed"
    );
    let tested = service
        .send_json("POST", &format!("{path}/test"), &Value::Null)
        .await;
    assert_eq!(
        (tested.status, &tested.body["ok"]),
        (200, &json!(true)),
        "{}",
        tested.body
    );
    assert!(!tested.body.to_string().contains(HIDDEN), "{}", tested.body);
    assert_eq!(receiver.count(), 1);
}
