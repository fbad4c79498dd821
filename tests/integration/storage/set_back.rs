//! A clock that is set back by an hour: times stored before lie in the future. Nothing waits for them, and no earlier
//! failure is forgotten.

use super::breaker::{all_fail, destination_need, drained, sorted, state};
use super::sending::{HOUR_MS, finish};
use super::world::{World, story};
use domain::time::{HOUR, duration};
use domain::{DestinationId, TransitionKind};
use std::time::Duration;
use storage::{DestinationNeed, Due, EndpointSignal, LaneState, Mode, Verdict};

const LONG: Verdict = Verdict::Retry { delay: HOUR };

/// Sets the clock back by an hour.
fn set_back(world: &World) {
    world.pass(-HOUR_MS);
}

/// Sets these columns to times two hours in the future.
async fn store_ahead(world: &World, columns: &[(&str, &str)]) {
    let ahead = world
        .store
        .now()
        .await
        .unwrap()
        .plus_millis(2 * HOUR_MS)
        .micros();
    for (table, column) in columns {
        world
            .raw()
            .run(&format!("UPDATE {table} SET {column} = {ahead}"));
    }
}

/// Fails the next request of a lane, with pauses of an hour for the event, lane, user and destination.
async fn fail_for_an_hour(world: &World, receipt: &str, to: DestinationId) {
    let sent = world.attempt(world.key(receipt), to, "fails").await;
    let mut end = finish(&sent, LONG);
    (end.result.lane_pause, end.result.user_pause) = (Some(HOUR), Some(HOUR));
    end.result.endpoint_signal = EndpointSignal::Failure { pause: Some(HOUR) };
    world.end(end).await;
}

story! {
    async fn an_open_breaker_is_probed_at_once_and_closes(world: World) {
        let hook = world.destination("hook").await.id;
        all_fail(&world, hook, 11).await;
        assert_eq!(state(&world, hook).await, "open");
        set_back(&world);
        assert_eq!(world.store.late_destinations().await.unwrap().destinations, [hook], "its run may be lost");
        let DestinationNeed::Probe { key, wait: Duration::ZERO } = destination_need(&world, hook).await else {
            panic!("nothing is probed: {:?}", destination_need(&world, hook).await)
        };
        assert_eq!(key, world.key("r10"), "it was not tried yet");
        let probe = world.attempt_as(Mode::Probe, key, hook, "p1").await;
        let left = world.finish(&probe, LONG).await;
        assert!(matches!(left, LaneState::Pending { .. }), "{left:?}");
        let DestinationNeed::Probe { key: other, wait } = destination_need(&world, hook).await else {
            panic!("nothing is probed: {:?}", destination_need(&world, hook).await)
        };
        assert!(other != key && wait > Duration::from_secs(20), "{wait:?}");
        world.pass(30_000);
        let probe = world.attempt_as(Mode::Probe, other, hook, "p2").await;
        world.finish(&probe, Verdict::Delivered).await;
        assert_eq!(state(&world, hook).await, "healthy");
        let all: Vec<String> = (0..11).map(|number| format!("r{number}")).collect();
        let left: Vec<&str> = all.iter().map(String::as_str).filter(|receipt| world.key(receipt) != other).collect();
        assert_eq!(drained(&world, hook).await, sorted(&world, &left), "what was tried before is due");
    }
}

story! {
    async fn every_lane_is_probed_in_turn(world: World) {
        let hook = world.destination("hook").await.id;
        all_fail(&world, hook, 10).await;
        world.send("r9", hook, LONG).await;
        set_back(&world);
        let mut probed = Vec::new();
        for number in 0..10 {
            let DestinationNeed::Probe { key, .. } = destination_need(&world, hook).await else { panic!("nothing is probed") };
            let probe = world.attempt_as(Mode::Probe, key, hook, &format!("p{number}")).await;
            world.finish(&probe, LONG).await;
            probed.push(key);
            world.pass(30_000);
        }
        probed.sort_unstable();
        probed.dedup();
        assert_eq!(probed.len(), 10, "one that always fails is not probed again and again");
    }
}

story! {
    async fn a_recovery_before_hides_no_failure_and_ends_no_back_off(world: World) {
        let hook = world.destination("hook").await.id;
        store_ahead(&world, &[("health", "recovered_at"), ("health", "changed_at"), ("health", "last_success_at")]).await;
        world.revise("lane", 1).await;
        let left = world.send("lane", hook, LONG).await.lane;
        assert!(matches!(left, LaneState::Wait { wait } if wait > HOUR / 2), "{left:?}");
        assert_eq!(destination_need(&world, hook).await, DestinationNeed::Rest);
        all_fail(&world, hook, 10).await;
        assert_eq!(state(&world, hook).await, "open");
    }
}

story! {
    async fn no_pause_and_no_back_off_of_before_holds(world: World) {
        let (hook, to) = (world.destination("hook").await.id, world.analytics("analytics").await.id);
        world.alter(hook, |common| common.rate = Some(10)).await;
        for receipt in ["r1", "r2"] {
            world.happen_to("customer", receipt, &[TransitionKind::Purchased]).await;
        }
        for destination in [hook, to] {
            fail_for_an_hour(&world, "r1", destination).await;
        }
        store_ahead(&world, &[("health", "next_slot_at")]).await;
        set_back(&world);
        for destination in [hook, to] {
            let due = drained(&world, destination).await;
            assert!(due.contains(&world.key("r1")), "{due:?}");
            for receipt in ["r1", "r2"] {
                let sent = world.attempt(world.key(receipt), destination, "again").await;
                world.finish(&sent, Verdict::Delivered).await;
            }
        }
    }
}

story! {
    async fn a_new_pause_of_a_user_counts_beside_one_of_before(world: World) {
        let to = world.analytics("analytics").await.id;
        for receipt in ["r1", "r2"] {
            world.happen_to("customer", receipt, &[TransitionKind::Purchased]).await;
        }
        fail_for_an_hour(&world, "r1", to).await;
        set_back(&world);
        let sent = world.attempt(world.key("r1"), to, "again").await;
        let mut end = finish(&sent, LONG);
        (end.result.endpoint_signal, end.result.user_pause) = (EndpointSignal::Success, Some(duration(60_000)));
        world.end(end).await;
        let paused = world.lease(world.key("r2"), to, "paused").await;
        assert!(matches!(paused, storage::LeaseResult::Idle(storage::Idle::Wait { .. })), "{paused:?}");
    }
}

story! {
    async fn a_window_of_before_is_over(world: World) {
        world.notify("m1", "r1", 1).await;
        let quiet = async || world.store.load(world.key("r1"), 0, 500).await.unwrap().quiet;
        assert!(quiet().await > Duration::ZERO);
        set_back(&world);
        assert_eq!(quiet().await, Duration::ZERO, "it would last for an hour more");
        world.notify("m2", "r2", 2).await;
        let other = world.store.load(world.key("r2"), 0, 500).await.unwrap().quiet;
        assert!(other > Duration::ZERO, "a new one has its window");
    }
}

story! {
    async fn the_sweep_makes_due_what_was_never_tried(world: World) {
        let hook = world.destination("hook").await.id;
        world.store.sweep_finished().await.unwrap();
        world.revise("sent", 1).await;
        world.notify("m", "open", 2).await;
        assert_eq!(world.store.make_stored_ahead_due().await.unwrap(), 0);
        set_back(&world);
        assert_eq!(destination_need(&world, hook).await, DestinationNeed::Rest, "its time is an hour ahead");
        assert_eq!(world.store.make_stored_ahead_due().await.unwrap(), 2);
        assert_eq!(drained(&world, hook).await, [world.key("sent")]);
        world.pass(20_000);
        assert_eq!(world.store.due(10).await.unwrap(), [Due { collapse_key: world.key("open"), why: storage::DueReason::Unsettled }]);
        world.store.sweep_finished().await.unwrap();
        assert_eq!(world.store.make_stored_ahead_due().await.unwrap(), 0);
    }
}
