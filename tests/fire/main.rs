//! The client of Fire TV apps (`clients/fire`) in a JVM, against the real service: the app's reports arrive at a
//! webhook receiver once and in order, whatever happens to the network and the app.
//!
//! Needs `javac`, `java`, `kotlinc` and `strace`; `.ci/release` calls this test by name: `cargo test --workspace --test
//! fire`.

mod app;
mod people;
mod queue;
mod readme;
mod stage;
mod waits;

use axum::http::header::RETRY_AFTER;
use domain::Timestamp;
use serde_json::{Value, json};
use stage::{EVENTS, Stage, queued};
use std::time::Duration;
use system_tests::gate::{Reply, Way};
use system_tests::wait;
use system_tests::world::SOON;

const START: &str = "device.session.start";
const END: &str = "device.session.end";
const IMPRESSION: &str = "device.impression";
const TRANSACTION: &str = "device.transaction";

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_of_an_app_arrives_signed_and_once() {
    let stage = Stage::start().await;
    let mut app = stage.app();
    assert_eq!(
        app.run("state")["session_id"],
        Value::Null,
        "a start in the background is no session"
    );
    app.run("foreground");
    let start = stage.wait_types(&[START]).await.remove(0);
    assert_eq!(start.verified, Ok(()), "the receiver checks the signature");
    let state = app.run("state");
    let device = &start.body["data"]["device"];
    assert_eq!(device["id"], state["device_id"]);
    assert_eq!(
        (&device["app_version"], &device["sdk_version"]),
        (&json!("1.0.0"), &json!("settle-java/1.0.0"))
    );
    assert_eq!(start.body["data"]["session_id"], state["session_id"]);
    let shown = app.run("impression summer");
    app.run(&format!(
        "purchase RECEIPT USD {}",
        shown.as_str().expect("an id")
    ));
    let received = stage.wait_types(&[START, IMPRESSION, TRANSACTION]).await;
    assert_eq!(received[1].body["data"]["products"][0]["price"], "9.99");
    assert!(
        !received[2].body.to_string().contains("STORE_USER"),
        "{}",
        received[2].body
    );
    assert_eq!(
        received[2].body["data"]["impression_event_id"],
        received[1].event_id()
    );
    // An app that is hidden and soon shown again continues its session; after `end` there is none.
    app.run("background");
    app.run("foreground");
    assert_eq!(app.run("state")["session_id"], state["session_id"]);
    app.run("end");
    let received = stage
        .wait_types(&[START, IMPRESSION, TRANSACTION, END])
        .await;
    assert_eq!(received[3].body["data"]["closed_by"], "app");
    assert_eq!(received[3].body["data"]["session_id"], state["session_id"]);
    assert_eq!(app.run("state")["session_id"], Value::Null);
    app.kill();
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_without_a_network_arrives_once_after_it() {
    let stage = Stage::start().await;
    let mut app = stage.app();
    app.run("foreground");
    let start = stage.wait_types(&[START]).await.remove(0);
    stage.gate.set(Way::Closed);
    for paywall in ["one", "two"] {
        app.run(&format!("impression {paywall}"));
    }
    app.run("flush");
    assert_eq!(queued(&mut app), 2);
    // Using the app again ends the back-off.
    stage.gate.set(Way::Open);
    app.run("foreground");
    stage.wait_types(&[START, IMPRESSION, IMPRESSION]).await;
    // The answer is lost: the same events are sent again, and stored once.
    stage.gate.set(Way::Deaf);
    app.run("impression three");
    app.run("flush");
    assert_eq!(queued(&mut app), 1, "no answer, so it waits");
    stage
        .wait_types(&[START, IMPRESSION, IMPRESSION, IMPRESSION])
        .await;
    // The service is unreachable, and the app is killed before it has sent anything: the queue stays.
    stage.gate.set(Way::Closed);
    app.run("impression four");
    app.kill();
    let mut app = stage.app();
    app.run("flush");
    let state = app.run("state");
    assert_eq!(
        (&state["queued"], &state["is_persistent"]),
        (&json!(2), &json!(true)),
        "three, four: {state}"
    );
    stage.gate.set(Way::Open);
    app.run("foreground");
    let all = [START, IMPRESSION, IMPRESSION, IMPRESSION, IMPRESSION, START];
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
        (sessions[4], sessions[5] == sessions[0]),
        (sessions[0], false),
        "another process is another session"
    );
    let devices = received
        .iter()
        .all(|one| one.body["data"]["device"]["id"] == start.body["data"]["device"]["id"]);
    assert!(devices, "one device, whose id is made once");
    wait::until(SOON, "an empty queue", async || match queued(&mut app) {
        Value::Number(number) if number.as_u64() == Some(0) => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
    let repeated = stage
        .reports()
        .iter()
        .map(|one| one.body["events"].as_array().map_or(0, Vec::len))
        .sum::<usize>();
    assert!(
        repeated > all.len(),
        "{repeated} events were sent, each stored once"
    );
    app.kill();
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_settle_names_is_waited_for() {
    const SECONDS: u64 = 4;
    let stage = Stage::start().await;
    let mut app = stage.app();
    app.run("foreground");
    stage.wait_types(&[START]).await;
    let busy = |status| Reply {
        status,
        header: Some((RETRY_AFTER, "4")),
        body: Value::Null,
    };
    stage.gate.answer(EVENTS, [busy(429), busy(503)]);
    let before = stage.reports().len();
    // Neither another call nor the app's return to the foreground shortens the back-off, and calls that need an answer
    // fail with the remaining time.
    for command in ["impression one", "flush", "foreground", "flush"] {
        app.run(command);
    }
    let failure = app.run("logout");
    let wait = failure["retry_after"].as_u64();
    assert!(
        failure["status"] == 429 && wait.is_some_and(|wait| (1..=SECONDS).contains(&wait)),
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
    // The client counts in whole milliseconds.
    let least = Duration::from_millis(SECONDS * 1000 - 5);
    assert!(waits.iter().all(|wait| *wait >= least), "{waits:?}");
    let ids: Vec<&Value> = sent
        .iter()
        .map(|one| &one.body["events"][0]["id"])
        .collect();
    assert!(
        ids.iter().all(|id| *id == ids[0]),
        "the same event: {ids:?}"
    );
    assert_eq!(app.run("errors"), json!([429, 503]));
    app.kill();
    stage.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_clock_is_corrected_and_a_wrong_event_is_named() {
    const DAYS: i64 = 3 * 86_400_000;
    let stage = Stage::start().await;
    let mut app = stage.app();
    app.run(&format!("clock {}", -DAYS));
    let before = api::clock::now();
    app.run("purchase undefined USD -");
    app.run("impression right");
    let received = stage.wait_types(&[START, IMPRESSION]).await;
    for one in &received {
        let at = one.body["attributes"]["event_time"]
            .as_str()
            .expect("a time");
        let at: Timestamp = at.parse().expect("a time");
        assert!(
            before <= at && at <= api::clock::now(),
            "{at:?} by settle's clock, not by the app's"
        );
    }
    let sent = stage.reports().remove(0).body["sent_at"]
        .as_str()
        .expect("a time")
        .to_owned();
    let sent: Timestamp = sent.parse().expect("a time");
    assert!(
        sent.distance(before) > Duration::from_secs(2 * 86_400),
        "the app's clock is wrong: {sent:?}"
    );
    let named = wait::until(SOON, "the refused event", async || {
        let rejected = app.run("rejected");
        if rejected == json!([]) {
            Err(rejected.to_string())
        } else {
            Ok(rejected)
        }
    })
    .await;
    assert_eq!(named[0]["field"], "transaction.receipt_id", "{named}");
    assert_eq!(queued(&mut app), 0, "it is not sent again");
    // After half an hour without events, a new session begins.
    app.run(&format!("clock {}", 31 * 60_000 - DAYS));
    app.run("impression later");
    let received = stage
        .wait_types(&[START, IMPRESSION, START, IMPRESSION])
        .await;
    let session = |place: usize| &received[place].body["data"]["session_id"];
    assert!(session(0) == session(1) && session(1) != session(2) && session(2) == session(3));
    app.kill();
    stage.finish().await;
}
