//! Logging in and out, and entitlements, according to their contract: the gate answers in settle's place.

use super::app::App;
use super::stage::{EVENTS, reports};
use axum::http::header;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use system_tests::folder::Folder;
use system_tests::gate::{Gate, Reply, Way};

pub const LOGIN: &str = "/v1/device/login";
const LOGOUT: &str = "/v1/device/logout";
pub const ENTITLEMENTS: &str = "/v1/device/entitlements";
const USER: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";

pub fn ok(body: Value) -> Reply {
    Reply {
        status: 200,
        header: Some((header::ETAG, "\"7\"")),
        body,
    }
}

pub fn entitled() -> Value {
    let entitlement = json!({
        "entitlement_ref_id": "premium", "name": "Premium \"HD\" é", "expiration": null,
        "sku_ref_id": "month", "purchase_platform": "amazon",
    });
    json!({ "device_user_id": USER, "entitlements": [entitlement] })
}

pub fn logged_in() -> Value {
    json!({ "device_user_id": USER, "external_id": "anna" })
}

/// Returns `number` answers that accept a report.
pub fn taken(number: usize) -> impl Iterator<Item = Reply> {
    (0..number).map(|_| ok(json!({ "accepted": 1, "repeated": 0, "rejected": [] })))
}

/// Starts a gate that accepts reports in settle's place.
pub async fn taking() -> Gate {
    let gate = Gate::start("http://127.0.0.1:9").await;
    gate.answer(EVENTS, taken(20));
    gate
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_entitlements_stay_without_a_network() {
    let (gate, folder) = (taking().await, Folder::new("entitlements"));
    let start = || App::start(&gate.url(), "pk_test", folder.path());
    let current = |is_current: bool| {
        let mut shown = entitled();
        shown["is_current"] = json!(is_current);
        shown
    };
    let mut app = start();
    gate.set(Way::Closed);
    assert_eq!(app.run("entitlements")["status"], 0, "nothing is known");
    gate.set(Way::Open);
    let unchanged = Reply {
        status: 304,
        header: Some((header::ETAG, "\"7\"")),
        body: Value::Null,
    };
    gate.answer(ENTITLEMENTS, [ok(entitled()), unchanged]);
    assert_eq!(app.run("entitlements"), current(true));
    app.kill();
    let mut app = start();
    assert_eq!(app.run("entitlements"), current(true), "304");
    let seen: Vec<_> = gate
        .seen()
        .into_iter()
        .filter(|one| one.line.contains(ENTITLEMENTS))
        .collect();
    let etags: Vec<_> = seen
        .iter()
        .map(|one| one.headers.get(header::IF_NONE_MATCH).cloned())
        .collect();
    assert_eq!(
        etags[etags.len() - 2..],
        [None, Some(header::HeaderValue::from_static("\"7\""))]
    );
    let device = app.run("state")["device_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(
        seen.iter()
            .all(|one| one.line.ends_with(&format!("?device_id={device}")))
    );
    gate.set(Way::Closed);
    assert_eq!(app.run("entitlements"), current(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_200_that_is_not_of_settle_is_no_answer() {
    let (gate, folder) = (
        Gate::start("http://127.0.0.1:9").await,
        Folder::new("portal"),
    );
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    let mut nameless = entitled();
    nameless["entitlements"][0]["entitlement_ref_id"] = Value::Null;
    let foreign = [
        json!({ "login": "https://hotel.example.com" }),
        json!({ "device_user_id": USER, "entitlements": {} }),
        json!({ "device_user_id": USER, "entitlements": ["premium"] }),
        json!({ "entitlements": [] }),
        nameless,
    ];
    gate.answer(ENTITLEMENTS, foreign.iter().cloned().map(ok));
    for body in &foreign {
        assert_eq!(app.run("entitlements")["status"], 0, "{body}");
    }
    gate.answer(ENTITLEMENTS, [ok(entitled()), ok(foreign[0].clone())]);
    assert_eq!(app.run("entitlements")["is_current"], json!(true));
    assert_eq!(
        app.run("entitlements")["is_current"],
        json!(false),
        "the last answer of settle stays"
    );
    gate.answer(LOGIN, [ok(foreign[0].clone())]);
    assert_eq!(app.run("login anna")["status"], 0);
    gate.answer(LOGOUT, [ok(foreign[0].clone())]);
    assert_eq!(app.run("logout")["status"], 0);
    gate.answer(EVENTS, (0..20).map(|_| ok(foreign[0].clone())));
    app.run("impression one");
    app.run("flush");
    assert_eq!(super::queued(&mut app), 2, "the session's start, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_succeeds_once_the_files_can_be_read_again() {
    for name in ["device", "queue"] {
        let (gate, folder) = (taking().await, Folder::new("readable"));
        gate.answer(LOGIN, [ok(logged_in()), ok(logged_in())]);
        let start = || App::start(&gate.url(), "pk_test", folder.path());
        start().kill();
        // A symbolic link to itself cannot be read, not even by root.
        let (file, aside) = (folder.path().join(name), folder.path().join("aside"));
        std::fs::rename(&file, &aside).expect("a file aside");
        std::os::unix::fs::symlink(&file, &file).expect("a link in its place");
        let mut app = start();
        app.run("flush");
        assert_eq!(app.run("login anna")["status"], 0, "{name}");
        std::fs::rename(&aside, &file).expect("the file is back");
        for _ in 0..2 {
            assert_eq!(
                app.run("login anna"),
                logged_in(),
                "{name}: nothing waits that could be refused"
            );
        }
        assert!(reports(&gate).is_empty(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_a_login_is_reported_before_it() {
    let (gate, folder) = (taking().await, Folder::new("logins"));
    gate.answer(LOGIN, [ok(logged_in())]);
    gate.answer(LOGOUT, [ok(json!({ "device_user_id": USER }))]);
    gate.answer(ENTITLEMENTS, [ok(entitled())]);
    let mut app = App::with(&gate.url(), "pk_test", folder.path(), &["1000", "OWNED"]);
    app.run("entitlements");
    app.run("impression before");
    assert_eq!(app.run("login anna signed"), logged_in());
    assert_eq!(app.run("logout"), json!(USER));
    let seen = gate.seen();
    let place = |line: &str| {
        seen.iter()
            .position(|one| one.line == line)
            .unwrap_or_else(|| panic!("{line}: {seen:?}"))
    };
    let (login, logout) = (
        place(&format!("POST {LOGIN}")),
        place(&format!("POST {LOGOUT}")),
    );
    let is_before = |body: &Value| body["events"].to_string().contains("before");
    assert!(
        seen[..login].iter().any(|one| is_before(&one.body)) && login < logout,
        "{seen:?}"
    );
    let receipts = &reports(&gate)[0].body["events"][0]["receipts"];
    assert_eq!(
        receipts,
        &json!([{ "receipt_id": "OWNED", "app_user_id": "STORE_USER" }])
    );
    let body = &seen[login].body;
    assert_eq!(
        (&body["external_id"], &body["token"]),
        (&json!("anna"), &json!("signed"))
    );
    let state = app.run("state");
    assert_eq!(body["device"]["id"], state["device_id"]);
    assert_eq!(seen[logout].body, json!({ "device": body["device"] }));
    assert_eq!(seen[login].headers[header::AUTHORIZATION], "Bearer pk_test");
    let secret = |name: &header::HeaderMap| {
        name["settle-device-secret"]
            .to_str()
            .unwrap_or_default()
            .to_owned()
    };
    let secrets: BTreeSet<String> = seen.iter().map(|one| secret(&one.headers)).collect();
    let [secret] = Vec::from_iter(secrets)
        .try_into()
        .unwrap_or_else(|all| panic!("one secret: {all:?}"));
    assert!(
        secret.len() == 43
            && seen
                .iter()
                .all(|one| !one.body.to_string().contains(&secret)),
        "{secret}"
    );
    assert!(!state.to_string().contains(&secret), "{state}");
    let stored = std::fs::read_to_string(folder.path().join("device")).expect("the device's file");
    assert!(stored.contains(&secret), "{stored}");
    gate.answer(ENTITLEMENTS, [ok(entitled())]);
    assert_eq!(app.run("entitlements")["is_current"], json!(true));
    gate.set(Way::Closed);
    assert_eq!(
        app.run("login bob")["status"],
        0,
        "it fails, and is not repeated"
    );
    assert_eq!(
        app.run("entitlements")["is_current"],
        json!(false),
        "nobody else logged in"
    );
    assert_eq!(app.run("logout")["status"], 0);
    assert_eq!(
        app.run("entitlements")["status"],
        0,
        "those of another user are forgotten"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_of_reports_keeps_nobody_from_logging_in() {
    let (gate, folder) = (
        Gate::start("http://127.0.0.1:9").await,
        Folder::new("quota"),
    );
    let body = json!({ "type": "urn:settle:problem:device_quota", "title": "Daily quota exceeded", "status": 429 });
    gate.answer(
        EVENTS,
        [Reply {
            status: 429,
            header: Some((header::RETRY_AFTER, "3600")),
            body,
        }],
    );
    gate.answer(LOGIN, [ok(logged_in())]);
    gate.answer(ENTITLEMENTS, [ok(entitled())]);
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    app.run("impression before");
    assert_eq!(app.run("login anna")["external_id"], "anna");
    assert_eq!(app.run("entitlements")["is_current"], json!(true));
    app.run("flush");
    assert_eq!(
        reports(&gate).len(),
        1,
        "reports wait for the time that settle named"
    );
    assert_eq!(
        super::queued(&mut app),
        2,
        "the session's start and the impression"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_waits_for_the_reports_of_the_user_before() {
    let (gate, folder) = (
        Gate::start("http://127.0.0.1:9").await,
        Folder::new("waiting"),
    );
    let busy = Reply {
        status: 500,
        header: None,
        body: Value::Null,
    };
    gate.answer(EVENTS, (0..20).map(|_| busy.clone()));
    gate.answer(LOGIN, [ok(logged_in())]);
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    app.run("impression before");
    assert_eq!(
        app.run("login anna")["status"],
        500,
        "what waits would become anna's"
    );
    assert!(gate.seen().iter().all(|one| !one.line.contains(LOGIN)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_valid_yet_costs_no_event() {
    let (gate, folder) = (Gate::start("http://127.0.0.1:9").await, Folder::new("key"));
    let unknown = || Reply {
        status: 401,
        header: None,
        body: json!({ "title": "API key unknown", "status": 401 }),
    };
    gate.answer(ENTITLEMENTS, [ok(entitled()), unknown()]);
    gate.answer(LOGIN, [unknown()]);
    gate.answer(EVENTS, (0..3).map(|_| unknown()).chain(taken(20)));
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    assert_eq!(app.run("entitlements")["is_current"], json!(true));
    assert_eq!(
        app.run("entitlements")["status"],
        401,
        "not the last answer: the app has a mistake"
    );
    app.run("impression one");
    app.run("flush");
    assert_eq!(super::queued(&mut app), 2, "the session's start, too");
    assert_eq!(app.run("login anna")["status"], 401);
    app.kill();
    let mut app = App::start(&gate.url(), "pk_next", folder.path());
    while super::queued(&mut app) != 0 {
        app.run("flush");
    }
    let last = reports(&gate).pop().expect("a report");
    assert_eq!(super::stage::paywalls(&last), ["one"]);
    assert_eq!(
        last.headers[header::AUTHORIZATION],
        "Bearer pk_next",
        "another version of the app"
    );
}
