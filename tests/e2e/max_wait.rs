//! A purchase that is never quiet is settled at its platform's `max_wait`.

use std::time::Duration;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use tokio::time::Instant;

const PACE: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_is_never_quiet_settles_at_its_max_wait() {
    let max_wait_seconds = Some(MAX_WAIT.as_secs());
    let setting = Setting { window_seconds: 5, max_wait_seconds, ..Setting::default() };
    let mut world = World::start(setting).await;
    let began = Instant::now();
    let received = loop {
        let kind = if began.elapsed() < PACE { "SUBSCRIPTION_PURCHASED" } else { "SUBSCRIPTION_RENEWED" };
        world.send(kind, "restless").await;
        let pass = async || Ok(());
        wait::throughout(PACE, "the pace of the notifications", pass).await;
        if !world.receiver.about(&world.key("restless").to_string()).is_empty() {
            break began.elapsed();
        }
        assert!(began.elapsed() < MAX_WAIT + SOON, "nothing was announced while notifications went on");
    };
    assert!(received >= MAX_WAIT, "announced after {received:?}");
    world.finish().await;
}
