//! What is stored and cannot be read, perhaps because another version of settle wrote it, is no secret, and is settled as soon
//! as it can be read.

use serde_json::Value;
use std::time::Duration;
use system_tests::postgres;
use system_tests::process::Backend;
use system_tests::wait;
use system_tests::world::{Setting, World};

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const STOPPED: &str = "SUBSCRIPTION_AUTO_RENEWAL_OFF";
/// Five failures in a row, with the time between them, on any machine.
const NOTICED: Duration = Duration::from_secs(120);

async fn world() -> World {
    World::start(Setting { backend: Backend::Postgres, window_seconds: 3, ..Setting::default() }).await
}

fn change(world: &World, statement: &str) {
    postgres::execute(world.installation.database(), statement).expect("the row is changed");
}

async fn wait_alarm(world: &World, kind: &str) {
    wait::until(NOTICED, &format!("the alarm {kind}"), async || {
        let alarms = world.api.try_get("/v1/alarms").await?.body["items"].as_array().cloned().unwrap_or_default();
        let is_raised = alarms.iter().any(|alarm: &Value| alarm["kind"] == kind);
        if is_raised { Ok(()) } else { Err(format!("{alarms:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settling_that_keeps_failing_raises_an_alarm() {
    let mut world = world().await;
    let first = world.send(BOUGHT, "r1").await;
    world.wait_outcome(&first).await;
    change(&world, "UPDATE purchases SET purchase = 'of a later version' || purchase");
    let second = world.send(STOPPED, "r1").await;
    wait_alarm(&world, "settling_fails").await;
    change(&world, "UPDATE purchases SET purchase = REPLACE(purchase, 'of a later version', '')");
    world.wait_outcome(&second).await;
    world.finish().await;
}
