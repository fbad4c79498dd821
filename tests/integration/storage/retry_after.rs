//! A `Retry-After` about one purchase: how long its lane waits, and what ends the wait.

use super::sending::{HOUR_MS, RETRY, finish, lease};
use super::world::{LEASE_MS, World, story};
use domain::time::{HOUR, duration, millis};
use domain::{CollapseKey, DestinationId, RedeliverySelector, Selection, TransitionKind};
use std::time::Duration;
use storage::{DestinationNeed, Idle, LaneState, Lease, LeaseResult, Mode, Page, Run, Verdict};

const LONG: Verdict = Verdict::Retry {
    delay: HOUR.saturating_mul(10),
};

/// Fails the next request of a lane with a `Retry-After` of an hour.
async fn fail_for_an_hour(world: &World, receipt: &str, to: DestinationId) -> LaneState {
    fail_for(world, receipt, to, HOUR_MS, HOUR_MS).await
}

/// Fails the next request of a lane, with these waits for the event and the lane.
async fn fail_for(
    world: &World,
    receipt: &str,
    to: DestinationId,
    delay_ms: i64,
    pause_ms: i64,
) -> LaneState {
    let sent = world.attempt(world.key(receipt), to, "asks").await;
    let mut end = finish(
        &sent,
        Verdict::Retry {
            delay: duration(delay_ms),
        },
    );
    end.result.lane_pause = Some(duration(pause_ms));
    world.end(end).await.lane
}

/// Checks that the lane cannot be leased for at most this time, and that no run is started for it.
async fn check_left_alone(world: &World, receipt: &str, to: DestinationId, at_most_ms: i64) {
    let key = world.key(receipt);
    for mode in [Mode::Lane, Mode::Drain] {
        let leased = world
            .store
            .lease(Lease {
                mode,
                ..lease(key, to, "left")
            })
            .await
            .unwrap();
        let is_right = matches!(leased, LeaseResult::Idle(Idle::Wait { wait, .. }) if (at_most_ms - 30_000..=at_most_ms).contains(&millis(wait)));
        assert!(is_right, "{receipt}: {leased:?}");
    }
    assert_eq!(
        destination_need(world, to).await,
        DestinationNeed::Rest,
        "{receipt} cannot be leased"
    );
    world.pass(50_000);
    assert_eq!(
        world.store.late_destinations().await.unwrap().destinations,
        [],
        "nothing of {receipt} is late"
    );
}

/// Checks that this revision is sent now, and delivers it.
async fn check_sent(world: &World, receipt: &str, to: DestinationId, revision: i64) {
    let sent = world.attempt(world.key(receipt), to, "sent").await;
    assert_eq!(sent.revision, revision, "{receipt}");
    world.finish(&sent, Verdict::Delivered).await;
}

async fn destination_need(world: &World, id: DestinationId) -> DestinationNeed {
    world.store.destination_need(id, 100).await.unwrap()
}

async fn drained(world: &World, id: DestinationId) -> Vec<CollapseKey> {
    match destination_need(world, id).await {
        DestinationNeed::Drain { keys, .. } => keys,
        other => panic!("nothing to drain: {other:?}"),
    }
}

story! {
    async fn a_new_event_does_not_end_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        assert!(matches!(fail_for_an_hour(&world, "r1", hook).await, LaneState::Wait { .. }));
        world.revise("r1", 2).await;
        assert_eq!(drained(&world, hook).await, [world.key("r1")], "the new event makes the lane due once");
        check_left_alone(&world, "r1", hook, HOUR_MS).await;
        world.revise("r1", 3).await;
        check_left_alone(&world, "r1", hook, HOUR_MS - 50_000).await;
        world.revise("r2", 1).await;
        check_sent(&world, "r2", hook, 1).await;
        world.pass(HOUR_MS - 100_000);
        assert_eq!(drained(&world, hook).await, [world.key("r1")]);
        check_sent(&world, "r1", hook, 3).await;
        assert_eq!(destination_need(&world, hook).await, DestinationNeed::Rest);
        world.revise("r1", 4).await;
        check_sent(&world, "r1", hook, 4).await;
    }
}

story! {
    async fn a_new_event_in_flight_does_not_end_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        let sent = world.attempt(world.key("r1"), hook, "a").await;
        world.revise("r1", 2).await;
        let mut end = finish(&sent, Verdict::Retry { delay: duration(HOUR_MS) });
        end.result.lane_pause = Some(duration(HOUR_MS));
        assert!(matches!(world.end(end).await.lane, LaneState::Wait { wait } if wait > HOUR / 2), "the event that arrived meanwhile is not due at once");
        check_left_alone(&world, "r1", hook, HOUR_MS).await;
        world.pass(HOUR_MS);
        check_sent(&world, "r1", hook, 2).await;
    }
}

story! {
    async fn retry_after_applies_to_both_tracks(world: World) {
        let hook = world.destination("hook").await.id;
        world.happen("r1", 1, &[TransitionKind::Renewed]).await;
        let event = world.attempt(world.key("r1"), hook, "a").await;
        assert_eq!(world.finish(&event, RETRY).await, LaneState::More);
        let left = fail_for_an_hour(&world, "r1", hook).await;
        assert!(matches!(left, LaneState::Wait { wait } if wait <= Duration::from_secs(5)), "the event has a wait of its own: {left:?}");
        world.pass(5_001);
        check_left_alone(&world, "r1", hook, HOUR_MS).await;
        world.pass(HOUR_MS);
        world.send("r1", hook, Verdict::Delivered).await;
        world.send("r1", hook, Verdict::Delivered).await;
        assert_eq!(destination_need(&world, hook).await, DestinationNeed::Rest);
    }
}

story! {
    async fn retry_after_postpones_what_a_recovery_scheduled(world: World) {
        let hook = world.destination("hook").await.id;
        world.happen("r1", 1, &[TransitionKind::Renewed]).await;
        world.send("r1", hook, LONG).await;
        world.pass(5);
        world.store.retry_now(hook).await.unwrap();
        world.pass(5);
        let sent = world.attempt_as(Mode::Probe, world.key("r1"), hook, "p").await;
        let mut end = finish(&sent, Verdict::Retry { delay: duration(HOUR_MS) });
        end.result.lane_pause = Some(duration(HOUR_MS));
        world.end(end).await;
        check_left_alone(&world, "r1", hook, HOUR_MS).await;
    }
}

story! {
    async fn a_lane_waits_no_longer_than_its_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        fail_for(&world, "r1", hook, 10 * HOUR_MS, 60_000).await;
        world.revise("r1", 2).await;
        check_left_alone(&world, "r1", hook, 60_000).await;
        world.pass(10_001);
        check_sent(&world, "r1", hook, 2).await;
    }
}

story! {
    async fn only_an_urgent_resend_or_one_by_name_ends_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        for (receipt, way) in [("r1", 0), ("r2", 1), ("r3", 2), ("r4", 3)] {
            world.revise(receipt, 1).await;
            let event = world.store.events(Default::default(), Page::default()).await.unwrap().items[0].id;
            fail_for_an_hour(&world, receipt, hook).await;
            world.revise(receipt, 2).await;
            let resend = async |what: Selection| world.store.resend(what, Page::default(), Run::Real).await.unwrap();
            let again = async |what: RedeliverySelector| resend(what.to(None)).await;
            again(RedeliverySelector::Failed).await;
            resend(RedeliverySelector::Behind.to(hook)).await;
            check_left_alone(&world, receipt, hook, HOUR_MS).await;
            let key = world.key(receipt);
            match way {
                0 => drop(world.store.redeliver(key, Some(hook), None).await.unwrap()),
                1 => drop(again(RedeliverySelector::Purchase(key)).await),
                2 => {
                    let urgent = Selection { is_urgent: true, ..RedeliverySelector::Behind.to(hook) };
                    let done = resend(urgent).await.requeued;
                    assert_eq!((&done.waited[..], &done.destinations[..]), (&[key][..], &[hook][..]));
                }
                _ => drop(again(RedeliverySelector::Event(event)).await),
            }
            check_sent(&world, receipt, hook, 2).await;
            world.revise(receipt, 3).await;
            check_sent(&world, receipt, hook, 3).await;
        }
    }
}

story! {
    async fn redelivering_a_delivered_event_ends_retry_after_too(world: World) {
        let hook = world.destination("hook").await.id;
        world.happen("r1", 1, &[TransitionKind::Renewed]).await;
        let event = world.attempt(world.key("r1"), hook, "a").await;
        world.finish(&event, Verdict::Delivered).await;
        fail_for_an_hour(&world, "r1", hook).await;
        let what = RedeliverySelector::Event(event.event_id);
        let again = world.store.resend(what.to(None), Page::default(), Run::Real).await.unwrap();
        assert_eq!((again.requeued.pending, &again.requeued.destinations[..]), (1, &[hook][..]));
        for _ in 0..2 {
            world.send("r1", hook, Verdict::Delivered).await;
        }
        assert_eq!(destination_need(&world, hook).await, DestinationNeed::Rest, "the event and the state were sent");
    }
}

story! {
    async fn redelivering_the_destination_ends_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        for receipt in ["r1", "r2"] {
            world.revise(receipt, 1).await;
            fail_for_an_hour(&world, receipt, hook).await;
        }
        world.revise("r1", 2).await;
        check_left_alone(&world, "r1", hook, HOUR_MS).await;
        world.store.retry_now(hook).await.unwrap();
        world.pass(5);
        assert_eq!(drained(&world, hook).await.len(), 2, "held-back deliveries are due as attempted ones are");
        check_sent(&world, "r1", hook, 2).await;
        world.revise("r2", 2).await;
        world.send("r2", hook, RETRY).await;
        world.pass(5_001);
        assert_eq!(world.attempt(world.key("r2"), hook, "again").await.number, 2, "a plain back-off ends in time");
    }
}

story! {
    async fn a_recovery_of_the_destination_ends_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        fail_for_an_hour(&world, "r1", hook).await;
        world.revise("r1", 2).await;
        check_left_alone(&world, "r1", hook, HOUR_MS).await;
        world.revise("r2", 1).await;
        world.open_breakers();
        assert!(matches!(world.lease(world.key("r1"), hook, "o").await, LeaseResult::Idle(Idle::Pending { .. })));
        let probe = world.attempt_as(Mode::Probe, world.key("r2"), hook, "p").await;
        world.finish(&probe, Verdict::Delivered).await;
        world.pass(5);
        assert_eq!(drained(&world, hook).await, [world.key("r1")], "it is pending now");
        check_sent(&world, "r1", hook, 2).await;
    }
}

story! {
    async fn enabling_the_destination_ends_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        fail_for_an_hour(&world, "r1", hook).await;
        world.revise("r1", 2).await;
        check_left_alone(&world, "r1", hook, HOUR_MS).await;
        for enabled in [false, true] {
            world.alter(hook, move |common| common.enabled = enabled).await;
        }
        world.pass(5);
        assert_eq!(drained(&world, hook).await, [world.key("r1")]);
        check_sent(&world, "r1", hook, 2).await;
    }
}

story! {
    async fn a_success_in_the_lane_ends_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        world.happen("r1", 1, &[TransitionKind::Cancelled, TransitionKind::Resumed]).await;
        fail_for_an_hour(&world, "r1", hook).await;
        check_left_alone(&world, "r1", hook, HOUR_MS).await;
        let state = world.attempt_as(Mode::Probe, world.key("r1"), hook, "p").await;
        assert_eq!(state.event_type, "purchase.updated");
        assert_eq!(world.finish(&state, Verdict::Delivered).await, LaneState::More);
        for expected in ["user.subscription.cancelled", "user.subscription.resumed"] {
            let event = world.attempt(world.key("r1"), hook, "e").await;
            assert_eq!(event.event_type, expected);
            world.finish(&event, Verdict::Delivered).await;
        }
    }
}

story! {
    async fn an_attempt_without_the_lease_sets_no_retry_after(world: World) {
        let hook = world.destination("hook").await.id;
        world.revise("r1", 1).await;
        let lost = world.attempt(world.key("r1"), hook, "a").await;
        world.pass(LEASE_MS + 1);
        let mine = world.attempt(world.key("r1"), hook, "b").await;
        let mut end = finish(&lost, Verdict::Retry { delay: duration(HOUR_MS) });
        end.result.lane_pause = Some(duration(HOUR_MS));
        world.finish(&mine, Verdict::Delivered).await;
        world.end(end).await;
        world.revise("r1", 2).await;
        check_sent(&world, "r1", hook, 2).await;
    }
}
