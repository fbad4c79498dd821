//! Pausing a whole destination by its `Retry-After`: which deliveries it delays, which ones stay queued, and what ends
//! the pause.

use super::breaker::{destination_need, drained, sorted, state};
use super::sending::{HOUR_MS, finish};
use super::world::{World, story};
use domain::time::{HOUR, MINUTE, duration};
use storage::{DestinationNeed, EndpointSignal, Idle, LaneState, LeaseResult, Verdict};

const LONG: Verdict = Verdict::Retry {
    delay: HOUR.saturating_mul(10),
};

story! {
    async fn a_pause_applies_to_the_whole_destination(world: World) {
        let hook = world.destination("hook").await;
        for receipt in ["r1", "r2", "r3"] {
            world.revise(receipt, 1).await;
        }
        let fail = async |receipt: &str, delay_ms| {
            let sent = world.attempt(world.key(receipt), hook.id, "a").await;
            let mut end = finish(&sent, Verdict::Retry { delay: duration(delay_ms) });
            (end.status, end.result.endpoint_signal) = (Some(429), EndpointSignal::Failure { pause: Some(duration(60_000)) });
            world.end(end).await.lane
        };
        let began = world.store.now().await.unwrap();
        assert!(matches!(fail("r1", 50_000).await, LaneState::Wait { .. }), "nobody else waits for its back-off");
        let leased = world.lease(world.key("r2"), hook.id, "b").await;
        let LeaseResult::Idle(Idle::Pending { wait, .. }) = leased else { panic!("{leased:?}") };
        world.check_left(wait, 60_000, began).await;
        let DestinationNeed::Pause { wait } = destination_need(&world, hook.id).await else { panic!("no pause") };
        world.check_left(wait, 60_000, began).await;
        assert_eq!(state(&world, hook.id).await, "failing");
        world.pass(60_001);
        assert_eq!(drained(&world, hook.id).await, sorted(&world, &["r1", "r2", "r3"]));
        assert!(matches!(fail("r2", HOUR_MS).await, LaneState::Wait { wait } if wait > MINUTE), "the lane has a back-off of its own");
        assert!(matches!(world.lease(world.key("r2"), hook.id, "c").await, LeaseResult::Idle(Idle::Wait { .. })));
        assert!(matches!(world.lease(world.key("r3"), hook.id, "d").await, LeaseResult::Idle(Idle::Pending { .. })));
        world.pass(60_001);
        world.send("r1", hook.id, Verdict::Delivered).await;
        assert_eq!(drained(&world, hook.id).await, [world.key("r3")],
            "a lane that failed by itself keeps its back-off");
        assert_eq!(state(&world, hook.id).await, "healthy");
    }
}

story! {
    async fn a_success_that_ends_a_pause_leaves_no_lane_to_the_sweep(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        world.revise("r2", 1).await;
        let failing = world.attempt(world.key("r1"), hook, "failing").await;
        // Another process may lease after this failure although it still reads the health from before it.
        world.pass(10_000);
        let other = world.attempt(world.key("r2"), hook, "other").await;
        world.pass(-5_000);
        let mut end = finish(&failing, Verdict::Retry { delay: MINUTE });
        end.result.endpoint_signal = EndpointSignal::Failure { pause: Some(HOUR) };
        let left = world.end(end).await.lane;
        assert!(matches!(left, LaneState::Wait { .. }), "its own run waits: {left:?}");
        world.pass(10_000);
        world.finish(&other, Verdict::Delivered).await;
        assert_eq!(state(&world, hook).await, "healthy", "the success ended the pause");
        assert_eq!(destination_need(&world, hook).await, DestinationNeed::Rest, "the destination's run does not wait for it");
        world.pass(60_000);
        world.send("r1", hook, Verdict::Delivered).await;
    }
}

story! {
    async fn a_shorter_pause_does_not_end_a_longer_one(world: World) {
        let hook = world.destination("hook").await;
        let mut held = Vec::new();
        for receipt in ["r1", "r2"] {
            world.revise(receipt, 1).await;
            held.push(world.attempt(world.key(receipt), hook.id, receipt).await);
        }
        let began = world.store.now().await.unwrap();
        for (sent, pause_ms) in held.iter().zip([60_000, 1_000]) {
            let mut end = finish(sent, LONG);
            end.result.endpoint_signal = EndpointSignal::Failure { pause: Some(duration(pause_ms)) };
            world.end(end).await;
        }
        let DestinationNeed::Pause { wait } = destination_need(&world, hook.id).await else { panic!("no pause") };
        world.check_left(wait, 60_000, began).await;
    }
}
