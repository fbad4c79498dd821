//! A stored value that cannot be read, perhaps because another version of settle wrote it, is reported, and the
//! purchase is settled as soon as the value can be read.

use serde_json::{Value, json};
use std::time::Duration;
use system_tests::postgres;
use system_tests::process::Backend;
use system_tests::rvs::Receipt;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const STOPPED: &str = "SUBSCRIPTION_AUTO_RENEWAL_OFF";
/// Time limit for five consecutive failures, with the pauses between them, on any machine.
const NOTICED: Duration = Duration::from_secs(120);

fn change(world: &World, statement: &str) {
    postgres::execute(world.installation.database(), statement).expect("the row is changed");
}

async fn wait_alarm(world: &World, kind: &str) {
    wait::until(NOTICED, &format!("the alarm {kind}"), async || {
        let alarms = world.api.try_get("/v1/alarms").await?.body["items"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_raised = alarms.iter().any(|alarm: &Value| alarm["kind"] == kind);
        if is_raised {
            Ok(())
        } else {
            Err(format!("{alarms:?}"))
        }
    })
    .await;
}

/// Starts a world whose second notification of `r1` cannot be settled; returns it with the notification's message id.
async fn unreadable() -> (World, String) {
    let mut world = World::start(Setting {
        backend: Backend::Postgres,
        window_seconds: 3,
        ..Setting::default()
    })
    .await;
    let first = world.send(BOUGHT, "r1").await;
    world.wait_outcome(&first).await;
    change(
        &world,
        "UPDATE purchases SET purchase = 'of a later version' || purchase",
    );
    let second = world.send(STOPPED, "r1").await;
    (world, second)
}

fn make_readable(world: &World) {
    change(
        world,
        "UPDATE purchases SET purchase = REPLACE(purchase, 'of a later version', '')",
    );
}

/// Waits until the engine retries the settling, which failed within the workflow task.
async fn wait_retried(world: &World, receipt_id: &str) {
    wait::until(SOON, "the regular activity of the settling", async || {
        let pending = world
            .temporal
            .pending_activities(&world.workflow(receipt_id))
            .await;
        if pending.is_empty() {
            Err("no activity is pending".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settling_that_keeps_failing_raises_an_alarm() {
    let (world, second) = unreadable().await;
    wait_alarm(&world, "settling_fails").await;
    make_readable(&world);
    world.wait_outcome(&second).await;
    world.finish().await;
}

/// Waits until an explanation states that something fails, and why.
async fn wait_explained(world: &World, path: &str, parts: &[&str]) {
    wait::until(NOTICED, "the explanation of what fails", async || {
        let explained = world.api.try_get(path).await?.body.to_string();
        if parts.iter().all(|part| explained.contains(part)) {
            Ok(())
        } else {
            Err(explained)
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_database_forbids_is_seen_and_happens_later() {
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        rvs: true,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let bought_at = api::clock::now().plus_millis(-3_600_000);
    world.rvs().know("r1", Receipt::subscription(bought_at));
    change(
        &world,
        "ALTER TABLE events ADD CONSTRAINT planted CHECK (seq < 0) NOT VALID",
    );
    let sent = world.send(BOUGHT, "r1").await;
    wait_alarm(&world, "settling_fails").await;
    let explain = format!("/v1/explain/purchases/{}", world.key("r1"));
    wait_explained(
        &world,
        &explain,
        &["recording what the store answered failed", "planted"],
    )
    .await;
    wait_explained(
        &world,
        &format!("/v1/explain/notifications/{sent}"),
        &["is retried, nothing is lost"],
    )
    .await;
    change(
        &world,
        "ALTER TABLE attempts ADD CONSTRAINT planted CHECK (status < 0) NOT VALID",
    );
    change(&world, "ALTER TABLE events DROP CONSTRAINT planted");
    world.wait_outcome(&sent).await;
    wait_alarm(&world, "delivering_fails").await;
    change(&world, "ALTER TABLE attempts DROP CONSTRAINT planted");
    world.wait_acked("r1", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_answers_with_what_no_database_stores_is_settled() {
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        rvs: true,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let mut receipt = Receipt::subscription(api::clock::now().plus_millis(-3_600_000));
    receipt.fields["termSku"] = json!("gold\0month");
    world.rvs().know("r1", receipt);
    let sent = world.send(BOUGHT, "r1").await;
    world.wait_outcome(&sent).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_of_an_unknown_store_waits_for_a_later_version() {
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        rvs: true,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    // Like a later version that supports such platforms would leave it: with a secret, then without one.
    for (receipt_id, secret) in [("with", "shared_secret"), ("without", "NULL")] {
        world.rvs().know(
            receipt_id,
            Receipt::subscription(api::clock::now().plus_millis(-3_600_000)),
        );
        world.worker().freeze();
        let sent = world.send(BOUGHT, receipt_id).await;
        change(
            &world,
            &format!("UPDATE platforms SET store = 'later', shared_secret = {secret}"),
        );
        world.worker().thaw();
        wait_retried(&world, receipt_id).await;
        assert_eq!(
            world
                .receiver
                .about(&world.key(receipt_id).to_string())
                .len(),
            0,
            "nothing is announced"
        );
        change(&world, "UPDATE platforms SET store = 'amazon'");
        world.wait_outcome(&sent).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discard_reaches_a_settling_that_keeps_failing() {
    let (world, second) = unreadable().await;
    wait_retried(&world, "r1").await;
    world
        .act("r1", "discard", &json!({ "reason": "cannot be read" }))
        .await;
    let discarded = world.wait_outcome(&second).await;
    assert_eq!(discarded[0]["outcome"], "discarded", "{discarded:?}");
    make_readable(&world);
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_ends_while_its_settling_fails() {
    let (mut world, second) = unreadable().await;
    world.let_sweep_help("the run is cancelled");
    wait_retried(&world, "r1").await;
    world.cancel("r1").await;
    world.wait_asleep("r1").await;
    make_readable(&world);
    world.wait_outcome(&second).await;
    world.finish().await;
}
