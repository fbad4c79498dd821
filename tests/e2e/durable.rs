//! The window is a durable timer in Temporal, and a notification that was answered 200 no longer depends on the API.

use std::time::Duration;
use system_tests::process::Backend;
use system_tests::runs;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(120);
/// Tolerance for timers, which are set in milliseconds by the program's clock, not the test's.
const ROUNDING: Duration = Duration::from_secs(1);

/// Sends `count` notifications in succession. Returns the timers of the run that settles them, and the time that
/// sending took.
async fn timers(world: &mut World, receipt_id: &str, count: i64) -> (Vec<Duration>, Duration) {
    let began = Instant::now();
    for number in 0..count {
        let kind = if number % 2 == 0 {
            "SUBSCRIPTION_AUTO_RENEWAL_OFF"
        } else {
            "SUBSCRIPTION_AUTO_RENEWAL_ON"
        };
        world.send(kind, receipt_id).await;
    }
    world.wait_notified(receipt_id, count).await;
    let spread = began.elapsed();
    world.pass(receipt_id, 130).await;
    let received = world.wait_received(receipt_id, 1).await;
    assert_eq!(
        received
            .first()
            .map(|one| one.body["attributes"]["coalesced"].as_i64()),
        Some(Some(count))
    );
    world.wait_asleep(receipt_id).await;
    (
        runs::timers(&world.temporal.history(&world.workflow(receipt_id)).await),
        spread,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_is_one_timer_however_many_notifications_come() {
    let mut world = World::start(Setting::default()).await;
    let (alone, _) = timers(&mut world, "alone", 1).await;
    assert_eq!(alone.len(), 1, "one window, one timer: {alone:?}");
    for count in [2, 100] {
        let (many, spread) = timers(&mut world, &format!("many-{count}"), count).await;
        let [window, rest @ ..] = many.as_slice() else {
            panic!("no timer")
        };
        let at_most = spread + ROUNDING;
        assert!(
            *window <= WINDOW && *window + at_most >= WINDOW,
            "the window's timer runs {window:?}, sent in {spread:?}"
        );
        // The last notification restarts the window; the timer is not replaced, so one more timer waits for the
        // rest.
        let rest_of_window: Duration = rest.iter().sum();
        assert!(
            rest.len() <= 1 && rest_of_window <= at_most,
            "{count}, sent in {spread:?}: {many:?}"
        );
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_and_engine_alone_settle_and_deliver_what_was_accepted() {
    let setting = Setting {
        backend: Backend::Postgres,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    for kind in [
        "SUBSCRIPTION_PURCHASED",
        "SUBSCRIPTION_AUTO_RENEWAL_OFF",
        "SUBSCRIPTION_AUTO_RENEWAL_ON",
    ] {
        world.send(kind, "left").await;
    }
    world.wait_notified("left", 3).await;
    world.serve().kill9();
    assert!(
        world.receiver.all().is_empty(),
        "nothing was sent while the API ran"
    );
    world.pass("left", 121).await;
    let key = world.key("left").to_string();
    let received = world.receiver.wait_for(&key, 1, SOON).await;
    assert_eq!(
        received
            .first()
            .map(|one| one.body["attributes"]["coalesced"].as_i64()),
        Some(Some(3))
    );
    world.wait_asleep("left").await;
    assert!(
        world.api.try_get("/livez").await.is_err(),
        "the API is still down"
    );
    wait::until(SOON, "its acknowledgement", async || {
        match world.receiver.revisions(&key).as_slice() {
            [1] => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    world.restart().await;
    world.finish().await;
}
