//! The client of web apps (`clients/web`) in a real browser, against the real service: the page's reports arrive at a
//! webhook receiver once and in order, whatever happens to the network.
//!
//! Needs `chromium` and `chromedriver`; `.ci/run` calls this test by name: `cargo test --workspace --test browser`.

mod people;
mod site;
mod stage;

use domain::CollapseKey;
use serde_json::{Value, json};
use stage::{EVENTS, Stage};
use std::time::Duration;
use system_tests::gate::{Reply, Way};
use system_tests::wait;
use system_tests::world::SOON;

const START: &str = "device.session.start";
const END: &str = "device.session.end";
const IMPRESSION: &str = "device.impression";
const TRANSACTION: &str = "device.transaction";

/// Returns a script that reports an impression of this paywall.
fn shown(paywall: &str) -> String {
    format!("return client.impression({{ paywall: {paywall:?} }})")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_of_a_page_arrives_signed_and_once() {
    let stage = Stage::start().await;
    stage.open().await;
    let start = stage.wait_types(&[START]).await.remove(0);
    assert_eq!(start.verified, Ok(()), "the receiver checks the signature");
    let state = stage.browser.run("return client.state()").await;
    let device = &start.body["data"]["device"];
    assert_eq!(device["id"], state["device_id"]);
    assert_eq!(
        (&device["app_version"], &device["sdk_version"]),
        (&json!("1.0.0"), &json!("settle-web/1.0.0"))
    );
    assert_eq!(start.body["data"]["session_id"], state["session_id"]);
    stage.browser.click("#paywall").await;
    stage.browser.click("#purchase button").await;
    let received = stage.wait_types(&[START, IMPRESSION, TRANSACTION]).await;
    assert_eq!(received[1].body["data"]["products"][0]["price"], "9.99");
    let key = CollapseKey::of(stage.world.platform_id, "RECEIPT");
    assert_eq!(received[2].body["data"]["collapse_key"], json!(key));
    assert!(
        !received[2].body.to_string().contains("STORE_USER"),
        "{}",
        received[2].body
    );
    assert_eq!(
        received[2].body["data"]["impression_event_id"],
        received[1].event_id()
    );
    // The page is closed: its last request outlives it.
    stage.browser.open(&stage.site.other_page()).await;
    let received = stage
        .wait_types(&[START, IMPRESSION, TRANSACTION, END])
        .await;
    assert_eq!(received[3].body["data"]["closed_by"], "app");
    assert_eq!(received[3].body["data"]["session_id"], state["session_id"]);
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_without_a_network_arrives_once_after_it() {
    let stage = Stage::start().await;
    stage.open().await;
    let start = stage.wait_types(&[START]).await.remove(0);
    stage.browser.unplug().await;
    for paywall in ["one", "two"] {
        stage.browser.run(&shown(paywall)).await;
    }
    stage.browser.run("return client.flush()").await;
    assert_eq!(stage.browser.run("return client.state().queued").await, 2);
    // The browser's event `online` ends the back-off.
    stage.browser.plug_in().await;
    stage.wait_types(&[START, IMPRESSION, IMPRESSION]).await;
    // The answer is lost: the same events are sent again, and stored once.
    stage.gate.set(Way::Deaf);
    stage.browser.run(&shown("three")).await;
    stage.browser.run("return client.flush()").await;
    assert_eq!(
        stage.browser.run("return client.state().queued").await,
        1,
        "no answer, so it waits"
    );
    stage
        .wait_types(&[START, IMPRESSION, IMPRESSION, IMPRESSION])
        .await;
    // The service is unreachable while the page is reloaded: the queue stays.
    stage.gate.set(Way::Closed);
    stage.browser.run(&shown("four")).await;
    stage.browser.reload().await;
    stage.browser.run("return client.flush()").await;
    let state = stage.browser.run("return client.state()").await;
    assert_eq!(
        (&state["queued"], &state["is_persistent"]),
        (&json!(4), &json!(true)),
        "three, four, end, start: {state}"
    );
    stage.gate.set(Way::Open);
    stage.browser.run("return client.flush()").await;
    let all = [
        START, IMPRESSION, IMPRESSION, IMPRESSION, IMPRESSION, END, START,
    ];
    let received = stage.wait_types(&all).await;
    let paywalls: Vec<&str> = received
        .iter()
        .filter_map(|one| one.body["data"]["paywall"].as_str())
        .collect();
    assert_eq!(paywalls, ["one", "two", "three", "four"]);
    let sessions: Vec<&Value> = received
        .iter()
        .map(|one| &one.body["data"]["session_id"])
        .collect();
    assert_eq!(
        (sessions[5], sessions[6] == sessions[0]),
        (sessions[0], false),
        "a reload ends a session"
    );
    let devices = received
        .iter()
        .all(|one| one.body["data"]["device"]["id"] == start.body["data"]["device"]["id"]);
    assert!(devices, "one device, whose id is made once");
    wait::until(SOON, "an empty queue", async || stage.queued(0).await).await;
    let repeated = stage
        .reports()
        .iter()
        .map(|one| one.body["events"].as_array().map_or(0, Vec::len))
        .sum::<usize>();
    assert!(
        repeated > all.len(),
        "{repeated} events were sent, each stored once"
    );
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_settle_names_is_waited_for() {
    const SECONDS: u64 = 4;
    let stage = Stage::start().await;
    stage.open().await;
    stage.wait_types(&[START]).await;
    let busy = |status| Reply {
        status,
        header: Some((axum::http::header::RETRY_AFTER, "4")),
        body: Value::Null,
    };
    stage.gate.answer(EVENTS, [busy(429), busy(503)]);
    let before = stage.reports().len();
    // Neither another call nor the network's return shortens the back-off, and calls that need an answer fail with the
    // remaining time. All of this is one script, since one call of the driver may take a second on a busy machine.
    let calls = "
        return Promise.resolve(client.impression({ paywall: 'one' }))
            .then(() => client.flush())
            .then(() => { dispatchEvent(new Event('online')); return client.flush(); })
            .then(() => client.logout())
            .then(() => null, (error) => [error.status, error.retryAfter])";
    let failure = stage.browser.run(calls).await;
    assert!(
        failure[0] == 429
            && failure[1]
                .as_u64()
                .is_some_and(|wait| (1..=SECONDS).contains(&wait)),
        "{failure}"
    );
    stage.wait_types(&[START, IMPRESSION]).await;
    let sent = stage.reports().split_off(before);
    assert_eq!(
        sent.len(),
        3,
        "the refused ones, and one that was taken: {sent:?}"
    );
    let waits: Vec<Duration> = sent
        .windows(2)
        .map(|pair| pair[1].at - pair[0].at)
        .collect();
    assert!(
        waits
            .iter()
            .all(|wait| *wait >= Duration::from_secs(SECONDS)),
        "{waits:?}"
    );
    let ids: Vec<&Value> = sent
        .iter()
        .map(|one| &one.body["events"][0]["id"])
        .collect();
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "the same event: {ids:?}"
    );
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_corrected_and_wrong_parts_are_left_out() {
    let stage = Stage::start().await;
    let three_days_late = "const now = Date.now.bind(Date); Date.now = () => now() - 3 * 86400000;";
    stage.browser.run_first(three_days_late).await;
    let before = api::clock::now();
    stage.open().await;
    let without_sku = "{ kind: 'purchased', receipt_id: 'R', app_user_id: 'U' }";
    let without_currency =
        "{ kind: 'purchased', receipt_id: 'R', app_user_id: 'U', sku: 'm', price: '1.00' }";
    let transactions =
        format!("client.transaction({without_sku}); client.transaction({without_currency})");
    stage
        .browser
        .run(&format!("{transactions}; {}", shown("right")))
        .await;
    let received = stage.wait_types(&[START, TRANSACTION, IMPRESSION]).await;
    let data = &received[1].body["data"];
    assert_eq!(
        (&data["sku_ref_id"], &data["purchase_price"]),
        (&json!("m"), &Value::Null),
        "{data}"
    );
    for one in &received {
        let at = one.body["attributes"]["event_time"]
            .as_str()
            .expect("a time");
        let at: domain::Timestamp = at.parse().expect("a time");
        assert!(
            before <= at && at <= api::clock::now(),
            "{at:?} by settle's clock, not by the page's"
        );
    }
    let sent = stage.reports().remove(0).body["sent_at"]
        .as_str()
        .expect("a time")
        .to_owned();
    let sent: domain::Timestamp = sent.parse().expect("a time");
    assert!(
        sent.distance(before) > Duration::from_secs(2 * 86_400),
        "the page's clock is wrong: {sent:?}"
    );
    let result = stage
        .browser
        .run("return JSON.parse(document.getElementById('result').textContent)")
        .await;
    assert_eq!(result["errors"][0]["field"], "transaction.sku", "{result}");
    assert_eq!(
        stage.browser.run("return client.state().queued").await,
        0,
        "it is not sent again"
    );
    // After half an hour without events, a new session begins.
    stage
        .browser
        .run("const early = Date.now; Date.now = () => early() + 31 * 60000")
        .await;
    stage.browser.run(&shown("later")).await;
    let received = stage
        .wait_types(&[START, TRANSACTION, IMPRESSION, START, IMPRESSION])
        .await;
    let session = |place: usize| &received[place].body["data"]["session_id"];
    assert!(session(0) == session(2) && session(2) != session(3) && session(3) == session(4));
    stage.finish().await;
}
