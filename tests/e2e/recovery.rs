//! Recovery: failed events are resent with documented commands, a receiver restores its lost table, a destination that
//! was created later or is behind for another reason catches up, and `settle explain` gives the reasons.

use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use system_tests::amplitude::Amplitude;
use system_tests::process::Backend;
use system_tests::receiver::{Received, Receiver, Reply};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use workflows::contract;

/// Index of the worker in `World::processes`.
const WORKER: usize = 1;
/// API key of an Amplitude project.
const KEY: &str = "7d1e90c4b5f2a8e36c0d51c9behind";

fn quick() -> Setting {
    Setting {
        window_seconds: 1,
        ..Setting::default()
    }
}

fn sentences(node: &Value) -> String {
    let then = node["then"].as_array().into_iter().flatten();
    then.fold(
        format!("{}\n", node["summary"].as_str().unwrap_or_default()),
        |all, node| all + &sentences(node),
    )
}

async fn explained(world: &World, path: &str) -> String {
    sentences(&world.api.get(&format!("/v1/explain/{path}")).await.ok())
}

async fn check_tables(world: &World) {
    let check = world.api.get("/v1/check").await.ok();
    assert_eq!(
        (&check["violations"], &check["next_cursor"]),
        (&json!(0), &Value::Null),
        "{check}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_events_are_redelivered_by_script_with_their_errors() {
    let mut world = World::start(quick()).await;
    let path = format!("/v1/destinations/{}", world.destination_id);
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "schedule": [1] }))
            .await
            .ok(),
    );
    world.receiver.answer(Reply::Status(500));
    let message_id = world.send("SUBSCRIPTION_PURCHASED", "failed").await;
    wait::until(SOON, "a failed delivery", async || {
        let deliveries = world.deliveries("failed").await;
        if deliveries.iter().any(|one| one["status"] == "failed") {
            Ok(())
        } else {
            Err(format!("{deliveries:?}"))
        }
    })
    .await;
    let explanation = explained(&world, &format!("notifications/{message_id}")).await;
    for part in [
        "failed at",
        "settle resend event",
        "attempt 2 at",
        "HTTP 500 after",
    ] {
        assert!(explanation.contains(part), "{part} is not in {explanation}");
    }
    world.receiver.answer(Reply::Status(200));
    world.by_script("they lost it").await;
    world.wait_acked("failed", 1).await;
    wait::until(SOON, "the explanation", async || {
        let deliveries = world.deliveries("failed").await;
        if deliveries.iter().all(|one| one["status"] != "pending") {
            Ok(())
        } else {
            Err(format!("{deliveries:?}"))
        }
    })
    .await;
    let explanation = explained(&world, &format!("purchases/{}", world.key("failed"))).await;
    assert!(
        explanation.contains("sent again (the 2nd time): delivered at"),
        "{explanation}"
    );
    world.wait_asleep("failed").await;
    check_tables(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_range_and_a_table_are_redelivered_by_script() {
    let mut world = World::start(quick()).await;
    for receipt in ["one", "two"] {
        world.send("SUBSCRIPTION_PURCHASED", receipt).await;
        world.wait_acked(receipt, 1).await;
        world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", receipt).await;
        world.wait_acked(receipt, 2).await;
    }
    let count = async |wanted: usize, why: &str| {
        wait::until(SOON, why, async || {
            let count = world.receiver.count();
            if count == wanted {
                Ok(())
            } else {
                Err(format!("{count} requests and not {wanted}"))
            }
        })
        .await;
    };
    let received_before = world.receiver.count();
    world.by_script("a bad deploy").await;
    count(
        received_before + 2,
        "of each purchase the newest state of that time",
    )
    .await;
    world.by_script("their table is gone").await;
    count(received_before + 4, "of each purchase the newest state").await;
    let newest = world.events("one").await[0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    world
        .by_script_with("this one alone", ("EVENT_ID", &newest))
        .await;
    count(received_before + 5, "the event").await;
    world
        .by_script_with(
            "they lack it",
            ("COLLAPSE_KEY", &world.key("two").to_string()),
        )
        .await;
    count(
        received_before + 6,
        "the newest state of the purchase that was named",
    )
    .await;
    world.by_script("it came later").await;
    world.by_script("is it there").await;
    count(
        received_before + 7,
        "the test, and nothing that it is behind with",
    )
    .await;
    let all = world.receiver.all();
    let named = [&all[received_before + 4], &all[received_before + 5]]
        .map(|one| one.collapse_key().to_owned());
    assert_eq!(
        named,
        ["one", "two"].map(|receipt| world.key(receipt).to_string())
    );
    assert!(
        all[received_before..received_before + 6]
            .iter()
            .all(|one| one.revision() == 2 && one.is_acked()),
        "{:?}",
        &all[received_before..]
    );
    let test = all.last().expect("a request");
    assert_eq!(
        test.headers
            .get("webhook-test")
            .map(|value| value.as_bytes()),
        Some(&b"true"[..]),
        "{test:?}"
    );
    test.verified.clone().expect("a signed test");
    let status = world.by_script("--type status").await;
    assert!(
        status.contains("test: ") && status.contains("200"),
        "{status}"
    );
    for receipt in ["one", "two"] {
        world.wait_asleep(receipt).await;
    }
    check_tables(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_table_is_restored_in_one_delivery_each() {
    let mut world = World::start(quick()).await;
    let receipts = ["r1", "r2", "r3", "r4", "r5"];
    for receipt in receipts {
        world.send("SUBSCRIPTION_PURCHASED", receipt).await;
        world.wait_acked(receipt, 1).await;
        world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", receipt).await;
    }
    for receipt in receipts {
        world.wait_acked(receipt, 2).await;
        world.wait_asleep(receipt).await;
    }
    let before = world.receiver.count();
    let feed = format!(
        "/v1/apps/{}/feed?destination_id={}",
        world.app_id, world.destination_id
    );
    let fed = world.api.all(&feed).await;
    let lacks: Vec<&str> = fed
        .iter()
        .filter_map(|one| one["collapse_key"].as_str())
        .collect();
    let to = world.destination_id.clone();
    let lost = json!({ "collapse_keys": lacks, "destination_id": to });
    let done = world.api.post("/v1/resends", &lost).await.ok();
    assert_eq!(
        (lacks.len(), &done["pending"]),
        (receipts.len(), &json!(receipts.len())),
        "{done}"
    );
    wait::until(SOON, "the whole table", async || {
        let got = world.receiver.count() - before;
        if got >= receipts.len() {
            Ok(())
        } else {
            Err(format!("{got} deliveries"))
        }
    })
    .await;
    for receipt in receipts {
        world.wait_asleep(receipt).await;
    }
    let got: Vec<_> = world.receiver.all().split_off(before);
    assert_eq!(got.len(), receipts.len(), "not one more");
    let keys: BTreeSet<String> = got
        .iter()
        .map(|one| one.collapse_key().to_owned())
        .collect();
    assert_eq!(keys.len(), receipts.len());
    for one in &got {
        let newest = fed
            .iter()
            .find(|fed| fed["collapse_key"] == one.collapse_key());
        let digest = newest.map(|fed| &fed["state_digest"]);
        assert_eq!(
            Some(&one.body["attributes"]["state_digest"]),
            digest,
            "the newest state"
        );
    }
    let behind = world
        .api
        .post(
            "/v1/resends",
            &json!({ "behind": true, "destination_id": to }),
        )
        .await
        .ok();
    assert_eq!(
        (&behind["pending"], &behind["skipped"]["acknowledged"]),
        (&json!(0), &json!(receipts.len())),
        "{behind}"
    );
    check_tables(&world).await;
    world.finish().await;
}

/// Waits until there are exactly `count` deliveries of a receipt to a destination, all with this status.
async fn wait_final(
    world: &World,
    receipt_id: &str,
    destination_id: &str,
    count: usize,
    status: &str,
) {
    wait::until(SOON, &format!("{receipt_id} to be {status}"), async || {
        let mut deliveries = world.deliveries(receipt_id).await;
        deliveries.retain(|one| one["destination_id"] == destination_id);
        let is_final =
            deliveries.len() == count && deliveries.iter().all(|one| one["status"] == status);
        if is_final {
            Ok(())
        } else {
            Err(format!("{deliveries:?}"))
        }
    })
    .await;
}

/// Runs the documented command that replays missing events, for another destination than the world's own.
async fn replay_by_script(world: &World, destination_id: &str) {
    world
        .by_script_with("it came later", (&world.destination_id, destination_id))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_destination_is_explained_and_replayed_by_script() {
    let mut world = World::start(quick()).await;
    for (revision, kind) in (1..).zip(["SUBSCRIPTION_PURCHASED", "SUBSCRIPTION_AUTO_RENEWAL_OFF"]) {
        world.send(kind, "early").await;
        world.wait_acked("early", revision).await;
    }
    let later = Receiver::start().await;
    let id = world.add_destination(&later, &["*".to_owned()]).await;
    let explanation = explained(&world, &format!("purchases/{}", world.key("early"))).await;
    assert!(
        explanation.contains("the destination was created later"),
        "{explanation}"
    );
    let path = format!("/v1/destinations/{id}");
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "schedule": [1] }))
            .await
            .ok(),
    );
    later.answer(Reply::Status(500));
    world.send("SUBSCRIPTION_PURCHASED", "failed").await;
    wait_final(&world, "failed", &id, 2, "failed").await;
    later.answer(Reply::Status(200));
    world.send("SUBSCRIPTION_PURCHASED", "well").await;
    wait_final(&world, "well", &id, 2, "delivered").await;
    let before = later.count();

    replay_by_script(&world, &id).await;
    for (receipt, queued) in [("early", 1), ("failed", 3), ("well", 2)] {
        wait::until(
            SOON,
            &format!("{queued} deliveries of {receipt}"),
            async || {
                let mut deliveries = world.deliveries(receipt).await;
                deliveries.retain(|one| {
                    one["destination_id"] == id.as_str() && one["status"] != "pending"
                });
                if deliveries.len() == queued {
                    Ok(())
                } else {
                    Err(format!("{deliveries:?}"))
                }
            },
        )
        .await;
        world.wait_asleep(receipt).await;
    }
    let mut got: Vec<_> = later
        .all()
        .split_off(before)
        .iter()
        .map(revision_of)
        .collect();
    got.sort();
    let mut behind = [("early", 2), ("failed", 1)]
        .map(|(receipt, revision)| (world.key(receipt).to_string(), revision));
    behind.sort();
    assert_eq!(
        got, behind,
        "the newest state of each purchase that the destination lacks"
    );
    later.check();
    check_tables(&world).await;
    world.finish().await;
}

/// Returns the purchase and the revision of a request.
fn revision_of(request: &Received) -> (String, i64) {
    assert!(
        request.is_acked() && request.event_type() == "purchase.updated",
        "{request:?}"
    );
    (request.collapse_key().to_owned(), request.revision())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_unsent_for_want_of_a_key_are_replayed_by_script() {
    let amplitude = Amplitude::start().await;
    amplitude.project(KEY, "the secret key");
    let variables = vec![("SETTLE_AMPLITUDE_ALLOWED_URLS".to_owned(), amplitude.url())];
    let mut world = World::start(Setting {
        variables,
        ..quick()
    })
    .await;
    let keyless = json!({
        "kind": "amplitude", "name": "Analytics", "endpoint": amplitude.url(), "api_key": "a-key-for-money",
        "events": ["purchase.updated"],
    });
    let id = world.add(&keyless).await;
    for receipt in ["one", "two"] {
        world.send("SUBSCRIPTION_PURCHASED", receipt).await;
        wait_final(&world, receipt, &id, 1, "skipped").await;
    }
    let path = format!("/v1/destinations/{id}");
    drop(
        world
            .api
            .call(Method::PATCH, &path, &json!({ "sandbox_api_key": KEY }))
            .await
            .ok(),
    );
    assert!(
        amplitude.requests().is_empty(),
        "a skipped delivery stays skipped"
    );

    replay_by_script(&world, &id).await;
    amplitude.wait_counted(KEY, 2, SOON).await;
    for receipt in ["one", "two"] {
        world.wait_asleep(receipt).await;
    }
    let events = amplitude.events(KEY);
    let replayed: BTreeSet<&str> = events
        .iter()
        .filter_map(|one| one.event["event_properties"]["collapse_key"].as_str())
        .collect();
    let keys = ["one", "two"].map(|receipt| world.key(receipt).to_string());
    assert_eq!(
        replayed,
        keys.iter().map(String::as_str).collect::<BTreeSet<_>>()
    );
    assert_eq!(events.len(), keys.len(), "each of them once");
    amplitude.check();
    check_tables(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_a_replay_page_sends_each_once() {
    let variables = vec![(
        "FAILPOINTS".to_owned(),
        "bulk.after_page=1*return".to_owned(),
    )];
    let mut world = World::start(Setting {
        backend: Backend::Postgres,
        variables,
        ..quick()
    })
    .await;
    let receipts = ["k1", "k2", "k3"];
    for receipt in receipts {
        world.send("SUBSCRIPTION_PURCHASED", receipt).await;
        world.wait_acked(receipt, 1).await;
        world.wait_asleep(receipt).await;
    }
    let received_before = world.receiver.count();
    world.by_script("their table is gone").await;
    let exit = world.processes()[WORKER].wait_end().await;
    assert_eq!(
        exit.signal(),
        Some(6),
        "ended with {exit} and not by aborting itself"
    );
    world.processes()[WORKER] = world.installation.start(&["worker"], &[]);
    // The pending deliveries arrive before the activity of the page is retried, which takes Temporal ten seconds.
    for receipt in receipts {
        world
            .act(receipt, "flush", &json!({ "reason": "a test" }))
            .await;
    }
    for receipt in receipts {
        world.wait_received(receipt, 2).await;
    }
    let workflow =
        contract::destination_workflow_id(world.destination_id.parse().expect("a destination id"));
    wait::until(SOON, "the end of the replay", async || {
        let found = world
            .temporal
            .describe(&workflow)
            .await
            .and_then(|found| found.workflow_execution_info);
        if found.is_some_and(|info| info.close_time.is_some()) {
            Ok(())
        } else {
            Err("it is open".to_owned())
        }
    })
    .await;
    for receipt in receipts {
        world.wait_asleep(receipt).await;
        assert_eq!(
            world.wait_received(receipt, 2).await.len(),
            2,
            "once more, and only once: {receipt}"
        );
    }
    assert_eq!(world.receiver.count(), received_before + receipts.len());
    check_tables(&world).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_a_redelivery_sends_the_purchase_once() {
    let variables = vec![(
        "FAILPOINTS".to_owned(),
        "redeliver.after_commit=1*return".to_owned(),
    )];
    let mut world = World::start(Setting {
        backend: Backend::Postgres,
        variables,
        ..quick()
    })
    .await;
    world.send("SUBSCRIPTION_PURCHASED", "k1").await;
    world.wait_acked("k1", 1).await;
    world.wait_asleep("k1").await;
    world.signal_by_script("k1", "redeliver").await;
    let exit = world.processes()[WORKER].wait_end().await;
    assert_eq!(
        exit.signal(),
        Some(6),
        "ended with {exit} and not by aborting itself"
    );
    world.processes()[WORKER] = world.installation.start(&["worker"], &[]);
    // The destination's run delivers it before the purchase's run retries, which takes Temporal ten seconds.
    world
        .request(
            &format!("/v1/destinations/{}/probe", world.destination_id),
            &json!({ "reason": "a test" }),
        )
        .await;
    world.wait_received("k1", 2).await;
    world.wait_asleep("k1").await;
    assert_eq!(
        world.wait_received("k1", 2).await.len(),
        2,
        "once more, and only once"
    );
    assert_eq!(world.deliveries("k1").await.len(), 2);
    check_tables(&world).await;
    world.finish().await;
}
