//! Logging in and out, and entitlements, according to their contract: the gate answers in settle's place.

use super::site::Site;
use axum::http::header;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use system_tests::browser::Browser;
use system_tests::gate::{Gate, Reply, Seen, Way};

const LOGIN: &str = "/v1/device/login";
const LOGOUT: &str = "/v1/device/logout";
const ENTITLEMENTS: &str = "/v1/device/entitlements";
const USER: &str = "6b275a67-0bbb-4f3a-99b9-6600bf711993";

fn ok(body: Value) -> Reply {
    Reply {
        status: 200,
        header: Some((header::ETAG, "\"7\"")),
        body,
    }
}

fn entitled() -> Value {
    let entitlement = json!({
        "entitlement_ref_id": "premium", "name": "Premium", "expiration": "2026-12-31T12:00:00Z",
        "sku_ref_id": "month", "purchase_platform": "amazon",
    });
    json!({ "device_user_id": USER, "entitlements": [entitlement] })
}

fn taken() -> impl Iterator<Item = Reply> {
    (0..20).map(|_| ok(json!({ "accepted": 1, "repeated": 0, "rejected": [] })))
}

/// Returns a script for a call, whose result is the answer or, after an error, its status.
fn outcome(call: &str) -> String {
    format!("return client.{call}.then((answer) => answer, (error) => error.status)")
}

/// Returns the device secret in a request.
fn secret_of(seen: &Seen) -> String {
    let secret = seen
        .headers
        .get("settle-device-secret")
        .and_then(|secret| secret.to_str().ok());
    secret.unwrap_or_default().to_owned()
}

/// Opens a page with a gate that accepts all its reports.
async fn page() -> (Browser, Gate, Site) {
    let (browser, site) = (Browser::start().await, Site::start().await);
    let gate = Gate::start("http://127.0.0.1:9").await;
    gate.answer(super::EVENTS, taken());
    browser.open(&site.page(&gate.url(), "pk_test")).await;
    (browser, gate, site)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_entitlements_stay_without_a_network() {
    let (browser, gate, _site) = page().await;
    let current = |is_current: bool| {
        let mut shown = entitled();
        shown["is_current"] = json!(is_current);
        shown
    };
    gate.set(Way::Closed);
    assert_eq!(
        browser.run(&outcome("entitlements()")).await,
        0,
        "nothing is known"
    );
    gate.set(Way::Open);
    let unchanged = Reply {
        status: 304,
        header: Some((header::ETAG, "\"7\"")),
        body: Value::Null,
    };
    gate.answer(ENTITLEMENTS, [ok(entitled()), unchanged]);
    assert_eq!(browser.run(&outcome("entitlements()")).await, current(true));
    browser.reload().await;
    assert_eq!(
        browser.run(&outcome("entitlements()")).await,
        current(true),
        "304"
    );
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
    let device = browser.run("return client.state().device_id").await;
    assert!(seen.iter().all(|one| {
        one.line
            .ends_with(&format!("?device_id={}", device.as_str().expect("an id")))
    }));
    gate.set(Way::Closed);
    assert_eq!(
        browser.run(&outcome("entitlements()")).await,
        current(false)
    );
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_a_login_is_reported_before_it() {
    let (browser, gate, _site) = page().await;
    gate.answer(
        LOGIN,
        [ok(json!({ "device_user_id": USER, "external_id": "anna" }))],
    );
    gate.answer(LOGOUT, [ok(json!({ "device_user_id": USER }))]);
    gate.answer(ENTITLEMENTS, [ok(entitled())]);
    browser.run(&outcome("entitlements()")).await;
    browser.run(&super::shown("before")).await;
    let login = browser.run(&outcome("login('anna', 'signed')")).await;
    assert_eq!(
        login,
        json!({ "device_user_id": USER, "external_id": "anna" })
    );
    assert_eq!(
        browser.run(&outcome("logout()")).await,
        json!({ "device_user_id": USER })
    );
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
    let body = &seen[login].body;
    assert_eq!(
        (&body["external_id"], &body["token"]),
        (&json!("anna"), &json!("signed"))
    );
    assert_eq!(
        body["device"]["id"],
        browser.run("return client.state().device_id").await
    );
    assert_eq!(seen[logout].body, json!({ "device": body["device"] }));
    assert_eq!(seen[login].headers[header::AUTHORIZATION], "Bearer pk_test");
    let secrets: BTreeSet<String> = seen.iter().map(secret_of).collect();
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
    let shown = browser
        .run("return JSON.stringify([client.state(), client.device])")
        .await
        .to_string();
    assert!(!shown.contains(&secret), "{shown}");
    assert_eq!(
        browser
            .run("return JSON.parse(localStorage['settle.device']).secret")
            .await,
        json!(secret)
    );
    gate.answer(ENTITLEMENTS, [ok(entitled())]);
    assert_eq!(
        browser.run(&outcome("entitlements()")).await["is_current"],
        json!(true)
    );
    gate.set(Way::Closed);
    assert_eq!(
        browser.run(&outcome("login('bob')")).await,
        0,
        "it fails, and is not repeated"
    );
    assert_eq!(
        browser.run(&outcome("entitlements()")).await["is_current"],
        json!(false),
        "nobody else logged in"
    );
    assert_eq!(browser.run(&outcome("logout()")).await, 0);
    assert_eq!(
        browser.run(&outcome("entitlements()")).await,
        0,
        "those of another user are forgotten"
    );
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_up_quota_of_reports_keeps_nobody_from_logging_in() {
    let (browser, gate) = (
        Browser::start().await,
        Gate::start("http://127.0.0.1:9").await,
    );
    let site = Site::start().await;
    let body = json!({ "type": "urn:settle:problem:device_quota", "title": "Daily quota exceeded", "status": 429 });
    gate.answer(
        super::EVENTS,
        [Reply {
            status: 429,
            header: Some((header::RETRY_AFTER, "3600")),
            body,
        }],
    );
    gate.answer(
        LOGIN,
        [ok(json!({ "device_user_id": USER, "external_id": "anna" }))],
    );
    gate.answer(ENTITLEMENTS, [ok(entitled())]);
    browser.open(&site.page(&gate.url(), "pk_test")).await;
    browser.run(&super::shown("before")).await;
    assert_eq!(
        browser.run(&outcome("login('anna')")).await["external_id"],
        "anna"
    );
    assert_eq!(
        browser.run(&outcome("entitlements()")).await["is_current"],
        json!(true)
    );
    let reports = gate
        .seen()
        .iter()
        .filter(|one| one.line.contains(super::EVENTS))
        .count();
    assert_eq!(reports, 1, "reports wait for the time that settle named");
    assert!(
        browser
            .run("return client.state().queued")
            .await
            .as_u64()
            .is_some_and(|queued| queued > 0)
    );
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_waits_for_the_reports_of_the_user_before() {
    let (browser, gate) = (
        Browser::start().await,
        Gate::start("http://127.0.0.1:9").await,
    );
    let site = Site::start().await;
    let busy = Reply {
        status: 500,
        header: None,
        body: Value::Null,
    };
    gate.answer(super::EVENTS, (0..20).map(|_| busy.clone()));
    gate.answer(
        LOGIN,
        [ok(json!({ "device_user_id": USER, "external_id": "anna" }))],
    );
    browser.open(&site.page(&gate.url(), "pk_test")).await;
    browser.run(&super::shown("before")).await;
    assert_eq!(
        browser.run(&outcome("login('anna')")).await,
        500,
        "what waits would become anna's"
    );
    assert!(gate.seen().iter().all(|one| !one.line.contains(LOGIN)));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_may_store_nothing_reports_from_memory() {
    let (browser, gate, site) = page().await;
    browser
        .run_first("Object.defineProperty(window, 'localStorage', { get() { throw new Error('forbidden') } })")
        .await;
    let mut devices = BTreeSet::new();
    for _ in 0..2 {
        browser.open(&site.page(&gate.url(), "pk_test")).await;
        browser.run(&super::shown("one")).await;
        browser.run("return client.flush()").await;
        let state = browser.run("return client.state()").await;
        assert_eq!(
            (&state["queued"], &state["is_persistent"]),
            (&json!(0), &json!(false)),
            "{state}"
        );
        assert!(
            gate.seen()
                .iter()
                .any(|one| one.body["device"]["id"] == state["device_id"]),
            "{state}"
        );
        devices.insert(state["device_id"].to_string());
    }
    assert_eq!(devices.len(), 2, "each load is another device");
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_drops_its_oldest_and_counts_them() {
    let (browser, gate, _site) = page().await;
    browser.run("return client.flush()").await;
    gate.set(Way::Closed);
    let options = "{ url, key, appVersion: '2', name: 'small', maxQueued: 3 }";
    browser
        .run(&format!("window.small = Settle.start({options})"))
        .await;
    browser
        .run("for (let i = 0; i < 5; i += 1) small.impression({ paywall: `p${i}` })")
        .await;
    let state = browser.run("return small.state()").await;
    assert_eq!(
        (&state["queued"], &state["dropped"]),
        (&json!(3), &json!(3)),
        "{state}"
    );
    gate.set(Way::Open);
    browser.run("return small.flush()").await;
    let last = gate.seen().pop().expect("a report").body;
    let events = last["events"].as_array().expect("a list").iter();
    let paywalls: Vec<&Value> = events
        .map(|event| &event["impression"]["paywall"])
        .collect();
    assert_eq!(paywalls, ["p2", "p3", "p4"]);
    // One request contains at most five hundred events; the rest are in the next one.
    gate.set(Way::Closed);
    browser
        .run("for (let i = 0; i < 700; i += 1) client.impression({ paywall: `p${i}` })")
        .await;
    browser.run("return client.flush()").await;
    gate.set(Way::Open);
    browser.run("return client.flush()").await;
    let seen = gate.seen();
    let sizes = seen[seen.len() - 2..]
        .iter()
        .map(|one| one.body["events"].as_array().map(Vec::len));
    assert_eq!(sizes.collect::<Vec<_>>(), [Some(500), Some(200)]);
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_answer_in_the_place_of_settle_is_none() {
    let (browser, gate, _site) = page().await;
    browser.run("return client.flush()").await;
    let wrong = [
        json!({ "title": "Welcome to our network" }),
        json!([USER]),
        json!("welcome"),
        Value::Null,
    ];
    for body in wrong {
        let all = || [ok(body.clone())];
        gate.answer(ENTITLEMENTS, all());
        assert_eq!(browser.run(&outcome("entitlements()")).await, 0, "{body}");
        gate.answer(LOGIN, all());
        assert_eq!(browser.run(&outcome("login('anna')")).await, 0, "{body}");
        gate.answer(LOGOUT, all());
        assert_eq!(browser.run(&outcome("logout()")).await, 0, "{body}");
    }
    let nameless = json!({ "device_user_id": USER, "entitlements": [{ "name": "Premium" }] });
    gate.answer(ENTITLEMENTS, [ok(nameless)]);
    assert_eq!(
        browser.run(&outcome("entitlements()")).await,
        0,
        "an entitlement without its id"
    );
    assert_eq!(
        browser
            .run("return localStorage['settle.entitlements']")
            .await,
        Value::Null,
        "nothing is stored"
    );
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_gets_no_secret() {
    let (browser, gate, _site) = page().await;
    browser.run("return client.flush()").await;
    let elsewhere = Gate::start(&gate.url()).await;
    let paths = [LOGIN, LOGOUT, ENTITLEMENTS];
    // It answers the preflights, like an attacker who wants the secret.
    for path in paths {
        elsewhere.answer(path, []);
    }
    for (status, path) in [307, 308]
        .into_iter()
        .flat_map(|status| paths.map(|path| (status, path)))
    {
        let to: &'static str = format!("{}{path}", elsewhere.url()).leak();
        gate.answer(
            path,
            [Reply {
                status,
                header: Some((header::LOCATION, to)),
                body: Value::Null,
            }],
        );
    }
    for call in ["entitlements()", "login('anna')", "logout()"].repeat(2) {
        assert_eq!(browser.run(&outcome(call)).await, 0, "{call}");
    }
    assert!(elsewhere.seen().is_empty(), "{:?}", elsewhere.seen());
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_shows_as_many_receipts_as_it_has_room_for() {
    let (browser, gate, _site) = page().await;
    let options = "{ url, key, appVersion: '2', name: 'full', receipts, onRejected: () => { window.refused = true } }";
    let receipts = "Array.from({ length: 40 }, (_, at) => ({ receipt_id: `${at}`.padEnd(500, 'r'), app_user_id: 'U' }))";
    browser
        .run(&format!("const receipts = {receipts}; window.full = Settle.start({options}); return full.flush()"))
        .await;
    let sent = gate.seen().pop().expect("a report").body;
    let start = &sent["events"][0];
    let shown = start["receipts"].as_array().map(Vec::len);
    assert!(
        start["type"] == super::START && shown.is_some_and(|shown| (20..40).contains(&shown)),
        "{shown:?}: {start}"
    );
    assert!(
        start.to_string().len() <= 16 * 1024
            && browser.run("return window.refused").await == Value::Null
    );
    browser.quit().await;
}
