//! A purchase that is never quiet is settled at its platform's `max_wait`.

use std::time::Duration;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use tokio::time::Instant;

const PACE: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(5);
const MAX_WAIT: Duration = Duration::from_secs(8);
/// Maximum number of purchases until one is never quiet.
const PURCHASES: usize = 20;

/// Sends notifications until the first event arrives. Returns the time from the first notification to the event, and
/// the longest pause between notifications.
async fn restless(world: &mut World, receipt_id: &str) -> (Duration, Duration) {
    let (began, mut sent_at, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    loop {
        let kind = if began.elapsed() < PACE {
            "SUBSCRIPTION_PURCHASED"
        } else {
            "SUBSCRIPTION_RENEWED"
        };
        let before = std::mem::replace(&mut sent_at, Instant::now());
        world.send(kind, receipt_id).await;
        longest = longest.max(before.elapsed());
        wait::pass(PACE).await;
        if let Some(first) = world
            .receiver
            .about(&world.key(receipt_id).to_string())
            .first()
        {
            return (first.began - began, longest);
        }
        assert!(
            began.elapsed() < MAX_WAIT + SOON,
            "nothing was announced while notifications went on"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_is_never_quiet_settles_at_its_max_wait() {
    let (window_seconds, max_wait_seconds) = (WINDOW.as_secs(), Some(MAX_WAIT.as_secs()));
    let setting = Setting {
        window_seconds,
        max_wait_seconds,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    for number in 0..PURCHASES {
        let (received, longest) = restless(&mut world, &format!("restless-{number}")).await;
        println!(
            "announced after {received:?}; the longest time without a notification was {longest:?}"
        );
        // A purchase that was quiet for a whole window, because the machine stalled, proves nothing.
        if longest < WINDOW {
            assert!(received >= MAX_WAIT, "announced after {received:?}");
            return world.finish().await;
        }
    }
    panic!("each of {PURCHASES} purchases was quiet for {WINDOW:?}");
}
