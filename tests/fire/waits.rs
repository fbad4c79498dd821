//! How long the app waits for requests that are slow or never answered.

use super::app::App;
use super::people::{ENTITLEMENTS, LOGIN, entitled, logged_in, ok, taken, taking};
use super::queued;
use super::stage::{EVENTS, paywalls, reports};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use system_tests::folder::Folder;
use system_tests::gate::{Gate, Way};
use system_tests::wait;
use system_tests::world::SOON;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::time::Instant;

/// Waits until this number of requests to a path have arrived.
async fn wait_seen(gate: &Gate, path: &str, number: usize) {
    wait::until(SOON, path, async || {
        let seen = gate
            .seen()
            .iter()
            .filter(|one| one.line.contains(path))
            .count();
        if seen >= number {
            Ok(())
        } else {
            Err(seen.to_string())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entitlements_and_close_wait_for_no_report() {
    let (gate, folder) = (
        Gate::start("http://127.0.0.1:9").await,
        Folder::new("silent"),
    );
    gate.hold(EVENTS);
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    app.run("impression one");
    wait_seen(&gate, EVENTS, 1).await;
    gate.answer(ENTITLEMENTS, [ok(entitled())]);
    let started = Instant::now();
    assert_eq!(app.run("entitlements")["is_current"], json!(true));
    app.run("close");
    // The report would end after 15 seconds without an answer.
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(
        app.run("entitlements")["is_current"],
        json!(false),
        "a closed client sends nothing"
    );
    assert_eq!(app.run("login anna")["status"], 0);
    app.kill();
    assert!(gate.seen().iter().all(|one| !one.line.contains(LOGIN)));
    gate.release(EVENTS);
    gate.answer(EVENTS, taken(20));
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    app.run("flush");
    assert_eq!(
        reports(&gate).last().map(paywalls),
        Some(vec!["one".to_owned()]),
        "the unsent report is in the folder"
    );
    assert_eq!(queued(&mut app), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_ends_at_its_limit_while_the_answer_still_comes() {
    let (listener, folder) = (
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        Folder::new("slow"),
    );
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    let mut app = App::with_limit(&url, folder.path(), Duration::from_secs(1));
    app.run("impression one");
    app.send("flush");
    let (mut connection, _) = listener.accept().await.expect("a request");
    connection
        .write_all(b"HTTP/1.1 200 OK\r\nX-Long: ")
        .await
        .expect("the beginning of the answer");
    let flushed = wait::until(SOON, "the end of the request", async || {
        // One byte per check, so that no single read of the client waits long.
        drop(connection.write_all(b"x").await);
        app.answered().ok_or_else(|| "still waiting".to_owned())
    });
    assert_eq!(flushed.await, json!(null));
    assert_eq!(queued(&mut app), 2, "the session's start, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn entitlements_that_come_after_a_login_are_not_stored() {
    let (gate, folder) = (taking().await, Folder::new("late"));
    gate.answer(ENTITLEMENTS, [ok(entitled()), ok(entitled())]);
    gate.answer(LOGIN, [ok(logged_in())]);
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    assert_eq!(app.run("entitlements")["is_current"], json!(true));
    gate.hold(ENTITLEMENTS);
    app.run("meanwhile entitlements");
    wait_seen(&gate, ENTITLEMENTS, 2).await;
    assert_eq!(app.run("login anna"), logged_in());
    gate.release(ENTITLEMENTS);
    assert_eq!(
        app.run("joined")["is_current"],
        json!(true),
        "they were current before the login"
    );
    gate.set(Way::Closed);
    assert_eq!(
        app.run("entitlements")["status"],
        0,
        "those of another user are forgotten"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_that_report_at_once_lose_and_repeat_nothing() {
    const THREADS: usize = 8;
    const PAYWALLS: usize = 50;
    let (gate, folder) = (taking().await, Folder::new("threads"));
    gate.answer(EVENTS, taken(THREADS * PAYWALLS));
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    app.run(&format!("threads {THREADS} {PAYWALLS}"));
    app.run("flush");
    assert_eq!(queued(&mut app), 0);
    let sent: Vec<String> = reports(&gate).iter().flat_map(paywalls).collect();
    for thread in 0..THREADS {
        let own = sent
            .iter()
            .filter(|one| one.starts_with(&format!("t{thread}-")))
            .cloned();
        let expected: Vec<String> = (0..PAYWALLS)
            .map(|number| format!("t{thread}-{number}"))
            .collect();
        assert_eq!(own.collect::<Vec<_>>(), expected, "in order, each once");
    }
    let reports = reports(&gate);
    let events = || {
        reports
            .iter()
            .flat_map(|one| one.body["events"].as_array().into_iter().flatten())
    };
    assert_eq!(
        events()
            .filter(|one| one["type"] == "device.session.start")
            .count(),
        1,
        "one session"
    );
    let sessions: BTreeSet<String> = events().map(|one| one["session_id"].to_string()).collect();
    assert_eq!(sessions.len(), 1, "{sessions:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_closed_during_reports_loses_nothing() {
    let (gate, folder) = (taking().await, Folder::new("closed"));
    gate.answer(EVENTS, taken(500));
    gate.hold(EVENTS);
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    app.run("impression first");
    app.run("meanwhile flush");
    wait_seen(&gate, EVENTS, 1).await;
    app.run("impression second");
    app.run("close");
    assert_eq!(app.run("joined"), json!(null), "the flush ends, too");
    app.run("impression late");
    app.kill();
    gate.release(EVENTS);
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    app.run("flush");
    assert_eq!(queued(&mut app), 0);
    assert_eq!(
        reports(&gate).last().map(paywalls),
        Some(vec!["first".to_owned(), "second".to_owned()])
    );
}
