//! The queue on disk: what it contains after kills, truncated lines and too many events, and how the client works when
//! nothing can be stored.

use super::app::{App, CLIENT};
use super::people::taking;
use super::queued;
use super::stage::{paywalls, reports};
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write as _;
use system_tests::folder::Folder;
use system_tests::gate::Way;
use system_tests::wait;
use system_tests::world::SOON;

/// Classes and methods that Android 5.1 lacks, or that need reflection.
const MISSING: [&str; 10] = [
    "java.time",
    "java.nio.file",
    "java.util.Base64",
    "java.util.function",
    "java.util.stream",
    "java.lang.reflect",
    "org.json",
    "getOrDefault(",
    "computeIfAbsent(",
    "Class.forName(",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_long_queue_drops_its_oldest_and_counts_them() {
    let (gate, folder) = (taking().await, Folder::new("long"));
    let start = |limit: &str| App::with(&gate.url(), "pk_test", folder.path(), &[limit]);
    gate.set(Way::Closed);
    let mut app = start("3");
    app.run("impressions 5");
    for _ in 0..2 {
        let state = app.run("state");
        assert_eq!(
            (&state["queued"], &state["dropped"]),
            (&json!(3), &json!(3)),
            "{state}"
        );
        app.kill();
        app = start("3");
    }
    gate.set(Way::Open);
    app.run("flush");
    let last = reports(&gate).pop().expect("a report");
    assert_eq!(paywalls(&last), ["p2", "p3", "p4"]);
    app.kill();
    // One request contains at most five hundred events; the rest are in the next one. Killing the app between the two
    // loses nothing.
    let mut app = start("1000");
    gate.set(Way::Closed);
    app.run("impressions 700");
    app.kill();
    let mut app = start("1000");
    assert_eq!(queued(&mut app), 701, "with the session's start");
    gate.set(Way::Open);
    app.run("flush");
    let seen = reports(&gate);
    let sizes = seen[seen.len() - 2..]
        .iter()
        .map(|one| one.body["events"].as_array().map(Vec::len));
    assert_eq!(sizes.collect::<Vec<_>>(), [Some(500), Some(201)]);
    let size = std::fs::metadata(folder.path().join("queue"))
        .expect("the queue's file")
        .len();
    assert!(size < 100, "{size} bytes: the file is shortened");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_of_long_events_is_bounded_in_bytes() {
    const MAX_BYTES: u64 = 4 * 1024 * 1024;
    let (gate, folder) = (taking().await, Folder::new("bytes"));
    let start = || App::start(&gate.url(), "pk_test", folder.path());
    gate.set(Way::Closed);
    let mut app = start();
    app.run("impressions 600 15000");
    let state = app.run("state");
    let (queued, dropped) = (
        state["queued"].as_u64().expect("a number"),
        state["dropped"].as_u64().expect("a number"),
    );
    assert!(
        (270..280).contains(&queued) && queued * 15_000 < MAX_BYTES,
        "{state}"
    );
    assert_eq!(queued + dropped, 601, "with the session's start: {state}");
    let size = std::fs::metadata(folder.path().join("queue"))
        .expect("the queue's file")
        .len();
    assert!(size < 2 * MAX_BYTES + 100_000, "{size} bytes");
    app.kill();
    let mut app = start();
    let restarted = app.run("state");
    assert_eq!(
        (&restarted["queued"], &restarted["dropped"]),
        (&state["queued"], &state["dropped"])
    );
    gate.set(Way::Open);
    app.run("flush");
    let sent: Vec<String> = reports(&gate).iter().flat_map(paywalls).collect();
    let latest: Vec<String> = (600 - queued..600)
        .map(|number| format!("p{number}"))
        .collect();
    assert!(sent.ends_with(&latest), "{sent:?}");
    assert_eq!(super::queued(&mut app), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_starts_with_as_many_receipts_as_fit() {
    let (gate, folder) = (taking().await, Folder::new("receipts"));
    let long = |number: usize| format!("{number}-{}", "\"".repeat(200));
    let receipts: Vec<String> = std::iter::once("x".repeat(20_000))
        .chain((0..60).map(long))
        .collect();
    let arguments: Vec<&str> = std::iter::once("1000")
        .chain(receipts.iter().map(String::as_str))
        .collect();
    let mut app = App::with(&gate.url(), "pk_test", folder.path(), &arguments);
    app.run("foreground");
    app.run("flush");
    assert_eq!(app.run("rejected"), json!([]));
    let start = reports(&gate).remove(0).body["events"][0].clone();
    let size = start.to_string().len();
    assert!((15_000..16 * 1024).contains(&size), "{size} bytes");
    let sent = start["receipts"]
        .as_array()
        .expect("receipts")
        .iter()
        .map(|one| one["receipt_id"].clone());
    let sent: Vec<_> = sent.collect();
    assert!((20..50).contains(&sent.len()), "{}", sent.len());
    let expected: Vec<_> = (0..sent.len()).map(|number| json!(long(number))).collect();
    assert_eq!(sent, expected, "the first ones that fit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_was_cut_off_costs_no_other() {
    let (gate, folder) = (taking().await, Folder::new("cut"));
    let start = || App::start(&gate.url(), "pk_test", folder.path());
    gate.set(Way::Closed);
    let mut app = start();
    app.run("impression one");
    app.kill();
    let mut file = std::fs::File::options()
        .append(true)
        .open(folder.path().join("queue"))
        .expect("the queue's file");
    file.write_all(b"+{\"id\":\"half").expect("a half line");
    let mut app = start();
    app.run("impression two");
    app.kill();
    gate.set(Way::Open);
    let mut app = start();
    app.run("flush");
    let sent: Vec<String> = reports(&gate).pop().iter().flat_map(paywalls).collect();
    assert_eq!(sent, ["one", "two"]);
    assert_eq!(queued(&mut app), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_nothing_that_it_stores() {
    let (gate, folder) = (taking().await, Folder::new("full"));
    let limited = || App::without_room(&gate.url(), "pk_test", folder.path());
    gate.set(Way::Closed);
    let mut app = limited();
    app.run("impressions 900");
    let state = app.run("state");
    assert_eq!(
        (&state["queued"], &state["is_persistent"]),
        (&json!(901), &json!(false)),
        "{state}"
    );
    app.kill();
    // The events on disk are complete and in order; the others are lost with the process.
    let mut app = limited();
    let stored = queued(&mut app).as_u64().expect("a number");
    assert!((200..901).contains(&stored), "{stored}");
    app.run("impressions 100");
    assert_eq!(queued(&mut app), stored + 101, "what waits in memory");
    gate.set(Way::Open);
    app.run("flush");
    let state = app.run("state");
    assert_eq!(
        (&state["queued"], &state["is_persistent"]),
        (&json!(0), &json!(true)),
        "room again: {state}"
    );
    let answered = reports(&gate)
        .into_iter()
        .filter(|one| !paywalls(one).is_empty());
    let sent: Vec<String> = answered.flat_map(|one| paywalls(&one)).collect();
    let expected: Vec<String> = (0..stored - 1)
        .chain(0..100)
        .map(|number| format!("p{number}"))
        .collect();
    assert!(sent.ends_with(&expected), "{sent:?}");
    app.kill();
    assert_eq!(queued(&mut limited()), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_disk_is_synced_once_there_is_room() {
    let (gate, folder) = (taking().await, Folder::new("freed"));
    let trace = folder.path().join("trace");
    gate.set(Way::Closed);
    let mut app = App::traced_without_room(&gate.url(), folder.path(), &trace);
    app.run("impressions 900");
    assert_eq!(app.run("state")["is_persistent"], json!(false));
    app.free_disk();
    gate.set(Way::Open);
    // The line that removes the 500 events needs no sync, and is the first for which there is room.
    app.run("flush");
    let state = app.run("state");
    assert_eq!(
        (&state["queued"], &state["is_persistent"]),
        (&json!(0), &json!(true)),
        "{state}"
    );
    app.kill();
    let killed = || {
        std::fs::read_to_string(&trace)
            .ok()
            .filter(|trace| trace.contains("+++ killed by SIGKILL"))
    };
    let trace = wait::until(SOON, "the trace", async || {
        killed().ok_or_else(|| "no end".to_owned())
    })
    .await;
    let calls: Vec<&str> = trace
        .lines()
        .filter(|line| line.contains("/queue>"))
        .collect();
    let added = calls
        .iter()
        .rposition(|line| line.contains("write(") && line.contains("\"+{"))
        .expect("an event");
    assert!(
        calls
            .get(added + 1)
            .is_some_and(|next| next.contains("fsync(")),
        "{:?}",
        calls.get(added..)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_may_store_nothing_reports_from_memory() {
    let (gate, folder) = (taking().await, Folder::new("none"));
    // The client's folder cannot be created where a file exists.
    let file = folder.path().join("file");
    std::fs::write(&file, "").expect("a file");
    let mut devices = BTreeSet::new();
    for _ in 0..2 {
        let mut app = App::start(&gate.url(), "pk_test", &file);
        app.run("impression one");
        app.run("flush");
        let state = app.run("state");
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
    assert_eq!(devices.len(), 2, "each start is another device");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_neither_replaced_nor_lost() {
    for name in ["device", "queue"] {
        let (gate, folder) = (taking().await, Folder::new("unreadable"));
        let start = || App::start(&gate.url(), "pk_test", folder.path());
        gate.set(Way::Closed);
        let mut app = start();
        app.run("impression before");
        let device = app.run("state")["device_id"].clone();
        app.kill();
        gate.set(Way::Open);
        let sent = reports(&gate).len();
        // A symbolic link to itself cannot be read, not even by root.
        let (file, aside) = (folder.path().join(name), folder.path().join("aside"));
        std::fs::rename(&file, &aside).expect("a file aside");
        std::os::unix::fs::symlink(&file, &file).expect("a link in its place");
        let mut app = start();
        app.run("impression meanwhile");
        app.run("flush");
        let state = app.run("state");
        let waiting = (&json!(2), &json!(false));
        assert_eq!(
            (&state["queued"], &state["is_persistent"]),
            waiting,
            "the session's start, too: {state}"
        );
        assert_eq!(
            reports(&gate).len(),
            sent,
            "nothing is sent by another device, or before earlier events"
        );
        assert_eq!(app.run("login anna")["status"], 0);
        std::fs::rename(&aside, &file).expect("the file is back");
        app.run("flush");
        let state = app.run("state");
        assert_eq!(
            (&state["queued"], &state["is_persistent"]),
            (&json!(0), &json!(true)),
            "{state}"
        );
        let sent = reports(&gate).split_off(sent);
        assert_eq!(
            sent.iter().flat_map(paywalls).collect::<Vec<_>>(),
            ["before", "meanwhile"],
            "{name}"
        );
        assert!(
            state["device_id"] == device
                && sent.iter().all(|one| one.body["device"]["id"] == device),
            "{sent:?}"
        );
        app.kill();
        assert_eq!(queued(&mut start()), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_has_one_client() {
    let (gate, folder) = (taking().await, Folder::new("once"));
    let mut app = App::start(&gate.url(), "pk_test", folder.path());
    let same = folder.path().join(".");
    assert_eq!(app.run(&format!("twice {}", same.display())), "refused");
    // The refused start does not close the first client's lock file: that would release its lock.
    assert!(App::is_refused(&gate.url(), folder.path()));
    for _ in 0..2 {
        assert_eq!(
            app.run(&format!("twice {}", folder.path().join("other").display())),
            "started"
        );
    }
    app.kill();
    assert!(!App::is_refused(&gate.url(), folder.path()));
}

#[test]
fn the_client_needs_nothing_that_old_devices_lack() {
    let source = std::fs::read_to_string(CLIENT).expect("the client");
    let found: Vec<_> = MISSING
        .iter()
        .filter(|name| source.contains(**name))
        .collect();
    assert!(found.is_empty(), "{found:?}");
}
