//! Admins' actions on a purchase, through the API and with the documented commands, with and without an open run.

use serde_json::{Value, json};
use std::time::Duration;
use system_tests::documents;
use system_tests::runs;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

fn quick() -> Setting {
    Setting {
        window_seconds: 1,
        ..Setting::default()
    }
}

/// How an admin requests an action.
#[derive(Clone, Copy)]
enum By {
    Api,
    Script,
}

/// Requests an action on a receipt's purchase through the API, or with the documented command.
async fn act(world: &World, by: By, receipt_id: &str, action: &str) {
    match by {
        By::Api if action == "hold" => {
            world
                .act(
                    receipt_id,
                    action,
                    &json!({ "reason": "a test", "until": "2030-01-01T00:00:00Z" }),
                )
                .await;
        }
        By::Api if action == "redeliver" => world.resend(receipt_id).await,
        By::Api => {
            world
                .act(receipt_id, action, &json!({ "reason": "a test" }))
                .await
        }
        By::Script => {
            drop(run_documented(world, receipt_id, &format!("--signal-name {action} ")).await)
        }
    }
}

/// Runs the only documented command about a purchase that contains `part`, and returns its output.
async fn run_documented(world: &World, receipt_id: &str, part: &str) -> String {
    let is_wanted = |line: &String| line.contains("COLLAPSE_KEY") && line.contains(part);
    let lines: Vec<String> = documents::operators_lines()
        .into_iter()
        .filter(is_wanted)
        .collect();
    let [line] = lines.as_slice() else {
        panic!("not one documented line with {part:?}: {lines:?}")
    };
    let line = line.replace("COLLAPSE_KEY", &world.key(receipt_id).to_string());
    String::from_utf8_lossy(&world.temporal.run_line(&line).await.stdout).into_owned()
}

/// Returns the outcome of a message with one notification; `None` while it waits.
async fn outcome(world: &World, message_id: &str) -> Option<String> {
    let answer = world
        .api
        .get(&format!("/v1/notifications/{message_id}"))
        .await
        .ok();
    answer["notifications"][0]["outcome"]
        .as_str()
        .map(str::to_owned)
}

/// Checks for three seconds after the end of the window that nothing is settled or sent.
async fn check_held(world: &World, receipt_id: &str, message_id: &str) {
    wait::throughout(Duration::from_secs(3), "the hold", async || {
        let outcome = outcome(world, message_id).await;
        let sent = world.receiver.about(&world.key(receipt_id).to_string());
        let is_newer = sent.iter().any(|request| request.revision() > 1);
        if outcome.is_none() && !is_newer {
            Ok(())
        } else {
            Err(format!("{outcome:?}, {sent:?}"))
        }
    })
    .await;
}

async fn wait_held(world: &World, receipt_id: &str) {
    wait::until(SOON, "a hold in storage", async || {
        let purchase = world.purchase(receipt_id).await;
        if purchase["held_until"].is_string() {
            Ok(())
        } else {
            Err(purchase.to_string())
        }
    })
    .await;
}

/// Settles a purchase and delivers it, and waits until its run has ended.
async fn put_to_sleep(world: &mut World, receipt_id: &str) {
    world.send("SUBSCRIPTION_PURCHASED", receipt_id).await;
    world.wait_acked(receipt_id, 1).await;
    world.wait_asleep(receipt_id).await;
}

async fn an_open_purchase_is_flushed(by: By) {
    let mut world = World::start(Setting::default()).await;
    let message_id = world.send("SUBSCRIPTION_PURCHASED", "flushed").await;
    world.wait_notified("flushed", 1).await;
    act(&world, by, "flushed", "flush").await;
    world.wait_acked("flushed", 1).await;
    assert_eq!(
        world.wait_outcome(&message_id).await[0]["outcome"],
        "settled"
    );
    world.wait_asleep("flushed").await;
    act(&world, by, "flushed", "flush").await;
    world.wait_asleep("flushed").await;
    assert_eq!(
        world.receiver.all().len(),
        1,
        "a flush of a sleeping purchase sends nothing"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_purchase_is_flushed_by_the_api() {
    an_open_purchase_is_flushed(By::Api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_purchase_is_flushed_by_script() {
    an_open_purchase_is_flushed(By::Script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_purchase_is_held_and_released_by_script() {
    let mut world = World::start(quick()).await;
    put_to_sleep(&mut world, "held").await;
    act(&world, By::Script, "held", "hold").await;
    let status = world
        .wait_status("held", "a hold", |status| status["held_until"].is_string())
        .await;
    assert!(
        status["held_until"]
            .as_str()
            .is_some_and(|until| until.starts_with("20")),
        "{status}"
    );
    wait_held(&world, "held").await;
    let message_id = world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "held").await;
    world.wait_notified("held", 1).await;
    act(&world, By::Script, "held", "flush").await;
    world
        .wait_status("held", "a note on the flush", |status| {
            noted(status).contains("flush")
        })
        .await;
    check_held(&world, "held", &message_id).await;
    act(&world, By::Script, "held", "release").await;
    world.wait_acked("held", 2).await;
    assert_eq!(
        world.wait_outcome(&message_id).await[0]["outcome"],
        "settled"
    );
    world.wait_asleep("held").await;
    assert_eq!(world.purchase("held").await["held_until"], Value::Null);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_purchase_is_held_and_keeps_its_window_by_script() {
    let mut world = World::start(Setting::default()).await;
    world.send("SUBSCRIPTION_PURCHASED", "open").await;
    world.wait_notified("open", 1).await;
    act(&world, By::Script, "open", "hold").await;
    wait_held(&world, "open").await;
    world.pass("open", 60).await;
    act(&world, By::Script, "open", "release").await;
    world
        .wait_status("open", "the end of the hold", |status| {
            status["held_until"].is_null()
        })
        .await;
    world.pass("open", 50).await;
    world.check_waiting("open").await;
    world.pass("open", 11).await;
    world.wait_acked("open", 1).await;
    world.wait_asleep("open").await;

    let message_id = world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "open").await;
    world.wait_notified("open", 1).await;
    act(&world, By::Script, "open", "hold").await;
    wait_held(&world, "open").await;
    world.pass("open", 121).await;
    check_held(&world, "open", &message_id).await;
    act(&world, By::Script, "open", "release").await;
    world.wait_acked("open", 2).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_notifications_are_discarded_by_script() {
    let mut world = World::start(Setting::default()).await;
    let message_id = world.send("SUBSCRIPTION_PURCHASED", "discarded").await;
    world.wait_notified("discarded", 1).await;
    act(&world, By::Script, "discarded", "discard").await;
    let discarded = world.wait_outcome(&message_id).await;
    assert_eq!(discarded[0]["outcome"], "discarded", "{discarded:?}");
    world.pass("discarded", 121).await;
    world.wait_asleep("discarded").await;
    assert!(
        world.events("discarded").await.is_empty() && world.receiver.all().is_empty(),
        "no event"
    );
    // Without an open run there is nothing to discard, and a later notification is not affected.
    act(&world, By::Script, "discarded", "discard").await;
    world.wait_asleep("discarded").await;
    world
        .send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "discarded")
        .await;
    world.wait_notified("discarded", 1).await;
    world.pass("discarded", 121).await;
    world.wait_acked("discarded", 1).await;
    world.finish().await;
}

async fn a_sleeping_purchase_is_sent_again(by: By) {
    let mut world = World::start(quick()).await;
    put_to_sleep(&mut world, "again").await;
    act(&world, by, "again", "redeliver").await;
    let received = world.wait_received("again", 2).await;
    let [first, second] = received.as_slice() else {
        panic!("{received:?}")
    };
    assert_ne!(
        first.webhook_id, second.webhook_id,
        "a redelivery is a delivery of its own"
    );
    assert_eq!(first.body["data"], second.body["data"]);
    assert_eq!((first.revision(), second.revision()), (1, 1));
    world.wait_asleep("again").await;
    // The destination's run may deliver it while the purchase sleeps.
    wait::until(SOON, "two deliveries", async || {
        let deliveries = world.deliveries("again").await;
        let are_delivered =
            deliveries.len() == 2 && deliveries.iter().all(|one| one["status"] == "delivered");
        if are_delivered {
            Ok(())
        } else {
            Err(format!("{deliveries:?}"))
        }
    })
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_purchase_is_resent_by_the_api() {
    a_sleeping_purchase_is_sent_again(By::Api).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleeping_purchase_is_redelivered_by_script() {
    a_sleeping_purchase_is_sent_again(By::Script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_queried_by_script_while_open_and_asleep() {
    let mut world = World::start(Setting::default()).await;
    world.send("SUBSCRIPTION_PURCHASED", "asked").await;
    world.wait_notified("asked", 1).await;
    let open = run_documented(&world, "asked", "workflow query").await;
    for part in ["window_ends_at", &world.key("asked").to_string()] {
        assert!(open.contains(part), "{part} is not in {open}");
    }
    world.pass("asked", 121).await;
    world.wait_acked("asked", 1).await;
    world.wait_asleep("asked").await;
    let asleep = run_documented(&world, "asked", "workflow query").await;
    assert!(asleep.contains("revision"), "{asleep}");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_outlives_its_run() {
    let mut world = World::start(quick()).await;
    put_to_sleep(&mut world, "kept").await;
    act(&world, By::Api, "kept", "hold").await;
    wait_held(&world, "kept").await;
    world.temporal.terminate(&world.workflow("kept")).await;
    let message_id = world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "kept").await;
    world
        .wait_status("kept", "the hold", |status| {
            status["held_until"].is_string()
        })
        .await;
    check_held(&world, "kept", &message_id).await;
    act(&world, By::Script, "kept", "flush").await;
    check_held(&world, "kept", &message_id).await;
    world.temporal.terminate(&world.workflow("kept")).await;
    // A flush that starts the run does not override the hold either.
    act(&world, By::Script, "kept", "flush").await;
    world
        .wait_status("kept", "the hold", |status| {
            status["held_until"].is_string()
        })
        .await;
    check_held(&world, "kept", &message_id).await;
    act(&world, By::Api, "kept", "release").await;
    world.wait_acked("kept", 2).await;
    world.finish().await;
}

fn noted(status: &Value) -> &str {
    status["noted"].as_str().unwrap_or_default()
}

/// Malformed or unusual signals, each with a part of the resulting note in `status`; empty if there is none.
const GARBAGE: &[(&str, &str)] = &[
    ("--name flush --input 3", "flush: payload not understood"),
    (
        "--name hold --input '[\"7d\"]'",
        "hold: payload not understood",
    ),
    ("--name hold --input '{\"until\":\"tomorrow\"}'", "until"),
    (
        "--name release --input '\"now\"'",
        "release: payload not understood",
    ),
    (
        "--name discard --input '{\"through\":\"all\"}'",
        "discard: payload not understood",
    ),
    (
        "--name redeliver --input '{\"destination_id\":\"them\"}'",
        "redeliver: payload not understood",
    ),
    (
        "--name redeliver --input '{\"destination_id\":\"00000000-0000-0000-0000-000000000000\"}'",
        "redeliver: there is no such destination",
    ),
    (
        "--name notified --input '{\"through\":\"x\"}'",
        "notified: payload not understood",
    ),
    (
        "--name notified --input '{\"through\":9223372036854775807,\"quiet_ms\":9223372036854775807}'",
        "",
    ),
    ("--name notified", ""),
    ("--name wake --input 3", ""),
    (
        "--name release --input '{}' --input '[1]'",
        "release: payload not understood: expected one input",
    ),
    ("--name release", ""),
    (
        "--name hold --input '{\"until\":\"9999-12-31T23:59:59Z\"}'",
        "",
    ),
    ("--name nonsense --input 3", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_signal_is_noted_and_blocks_nothing() {
    let mut world = World::start(Setting::default()).await;
    let message_id = world.send("SUBSCRIPTION_PURCHASED", "garbage").await;
    world.wait_notified("garbage", 1).await;
    act(&world, By::Api, "garbage", "hold").await;
    wait_held(&world, "garbage").await;
    let workflow = world.workflow("garbage");
    for (signal, note) in GARBAGE {
        world
            .temporal
            .run_line(&format!(
                "temporal workflow signal --workflow-id {workflow} {signal}"
            ))
            .await;
        world
            .wait_status("garbage", signal, |status| noted(status).contains(note))
            .await;
    }
    let history = world.temporal.history(&workflow).await;
    assert_eq!(runs::failures(&history), Vec::<String>::new());
    for action in ["release", "flush"] {
        act(&world, By::Script, "garbage", action).await;
    }
    world.wait_acked("garbage", 1).await;
    assert_eq!(
        world.wait_outcome(&message_id).await[0]["outcome"],
        "settled"
    );
    world.wait_asleep("garbage").await;
    // The same payloads may also start a run.
    for (signal, _) in GARBAGE {
        let signal = signal
            .replace("--name", "--signal-name")
            .replace("--input", "--signal-input");
        let line = format!(
            "temporal workflow signal-with-start --workflow-id {workflow} --type purchase --task-queue settle {signal}"
        );
        world.temporal.run_line(&line).await;
    }
    let message = world.send("SUBSCRIPTION_AUTO_RENEWAL_OFF", "garbage").await;
    for action in ["release", "flush"] {
        act(&world, By::Script, "garbage", action).await;
    }
    assert_eq!(world.wait_outcome(&message).await[0]["outcome"], "settled");
    world.finish().await;
}
