//! Runs that an operator cancels in Temporal, and a new event or a step of the clock during an attempt: nothing hangs,
//! nothing is given up, no other purchase waits, and no second request is sent concurrently.

use std::time::Duration;
use system_tests::clock::Clock;
use system_tests::receiver::Reply;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};

/// Shorter than the fifteen seconds that an attempt at a hanging endpoint takes.
const LESS_THAN_AN_ATTEMPT: Duration = Duration::from_secs(12);
const TWO_MINUTES: Duration = Duration::from_secs(120);
/// Maximum number of pairs of purchases until one's second purchase is attempted while the first one's attempt hangs;
/// on a stalled machine the first attempt ends too early.
const PURCHASES: usize = 20;

fn quick() -> Setting {
    Setting {
        window_seconds: 1,
        ..Setting::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_cancelled_in_back_off_ends_and_another_delivers() {
    let mut world = World::start(quick()).await;
    world.receiver.answer(Reply::Status(500));
    world.send("SUBSCRIPTION_PURCHASED", "cancelled").await;
    world.wait_received("cancelled", 2).await;
    world.cancel("cancelled").await;
    world.wait_asleep("cancelled").await;
    world.receiver.answer(Reply::Status(200));
    world.resend("cancelled").await;
    world.wait_acked("cancelled", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_cancelled_during_a_hanging_attempt_blocks_nobody() {
    let mut world = World::start(quick()).await;
    for number in 0..PURCHASES {
        let [hanging, neighbour] = ["hanging", "neighbour"].map(|name| format!("{name}-{number}"));
        world.receiver.answer(Reply::Hang);
        world.send("SUBSCRIPTION_PURCHASED", &hanging).await;
        world.wait_received(&hanging, 1).await;
        world.cancel(&hanging).await;
        world.receiver.answer(Reply::Status(200));
        world.send("SUBSCRIPTION_PURCHASED", &neighbour).await;
        world.wait_acked(&neighbour, 1).await;
        let began =
            |receipt_id: &str| world.receiver.about(&world.key(receipt_id).to_string())[0].began;
        let is_meanwhile = began(&neighbour) < began(&hanging) + LESS_THAN_AN_ATTEMPT;
        world.wait_asleep(&hanging).await;
        world.resend(&hanging).await;
        world.wait_acked(&hanging, 1).await;
        if is_meanwhile {
            return world.finish().await;
        }
    }
    panic!("none of {PURCHASES} neighbours was attempted while another attempt hung");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_event_during_a_failing_attempt_is_sent_after_it() {
    let mut world = World::start(quick()).await;
    world.receiver.answer_next(1, &Reply::Status(500));
    world.receiver.answer(Reply::Hang);
    world.send("SUBSCRIPTION_PURCHASED", "news").await;
    world.wait_received("news", 2).await;
    world.receiver.answer(Reply::Status(200));
    world.send("SUBSCRIPTION_RENEWED", "news").await;
    wait::until(SOON, "the newest revision", async || {
        let acked = world.receiver.about(&world.key("news").to_string());
        let newest = acked
            .iter()
            .filter(|request| request.is_acked())
            .map(|request| request.revision())
            .max();
        if newest == Some(2) {
            Ok(())
        } else {
            Err(format!("{newest:?}"))
        }
    })
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_step_sends_nothing_beside_a_request_in_flight() {
    let clock = Clock::new(api::clock::now());
    let variables = vec![("FAILPOINTS".to_owned(), clock.fail_point())];
    let mut world = World::start(Setting {
        variables,
        ..quick()
    })
    .await;
    world.let_sweep_help("its clock is moved, and timers in Temporal do not move with it");
    world.receiver.ignore_time();
    world.receiver.answer(Reply::Hang);
    world.send("SUBSCRIPTION_PURCHASED", "stepped").await;
    world.wait_received("stepped", 1).await;
    world.receiver.answer(Reply::Status(200));
    clock.set(clock.now().plus(TWO_MINUTES));
    world.by_script("--signal-name probe ").await;
    wait::until(
        SOON,
        "another lease of the lane whose lease seems over",
        async || {
            let log = world.installation.logs();
            if log.contains("a lease was over while its request was still in flight") {
                Ok(())
            } else {
                Err(log)
            }
        },
    )
    .await;
    world.wait_acked("stepped", 1).await;
    world.finish().await;
}
