//! Lanes: at most one attempt in flight, only the latest state is sent, and nothing pending is erased.

use super::sending::{Sent, finish, lease};
use super::world::{LEASE_MS, World, is_missing, story};
use domain::time::{duration, millis};
use domain::{DeliveryId, TransitionKind};
use storage::{
    AttemptClass, DeliveryFilter, EndpointSignal, Finish, Idle, LaneState, LeaseResult, Mode, Page,
    Verdict,
};

story! {
    async fn a_delivered_event_closes_its_lane(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let attempt = world.attempt(key, hook.id, "a").await;
        assert_eq!((attempt.number, attempt.revision, attempt.event_type.as_str()), (1, 1, "purchase.updated"));
        assert!(attempt.traceparent.is_some());
        assert!(world.store.holds_lease(attempt.key, attempt.to, "a").await.unwrap());
        let done = world.finish(&attempt, Verdict::Delivered).await;
        let last_seq = world.raw().number("SELECT MAX(seq) AS value FROM deliveries");
        assert_eq!(done, LaneState::Closed { last_seq });
        assert!(!world.store.holds_lease(attempt.key, attempt.to, "a").await.unwrap());
        assert!(matches!(world.lease(key, hook.id, "b").await, LeaseResult::Idle(Idle::Closed { last_seq: seen }) if seen == last_seq));
        assert_eq!(world.store.lanes(key).await.unwrap(), []);
        let view = world.store.delivery(attempt.delivery_id).await.unwrap();
        assert_eq!((view.status.as_str(), view.attempts, view.next_due_at), ("delivered", 1, None));
        let attempts = world.store.attempts(attempt.delivery_id).await.unwrap();
        assert_eq!((attempts.len(), attempts[0].status, attempts[0].class.as_str()), (1, Some(200), "success"));
    }
}

story! {
    async fn a_lease_keeps_others_out_until_it_ends(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let first = world.attempt(key, hook.id, "a").await;
        let LeaseResult::Idle(Idle::Leased { wait }) = world.lease(key, hook.id, "b").await else { panic!("two have the lane") };
        assert!((1..=LEASE_MS).contains(&millis(wait)));
        world.pass(LEASE_MS + 1);
        assert!(!world.store.holds_lease(first.key, first.to, "a").await.unwrap());
        let second = world.attempt(key, hook.id, "b").await;
        assert_eq!((second.delivery_id, second.number), (first.delivery_id, 1), "nothing is known to have been sent");
        assert_eq!(world.store.delivery(first.delivery_id).await.unwrap().attempts, 2);
        assert_eq!(second.body, first.body, "the same webhook-id has the same bytes");
    }
}

story! {
    async fn what_follows_is_leased_with_the_record_of_a_request(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        let first = world.attempt(key, hook.id, "a").await;
        let finished = finish(&first, Verdict::Delivered);
        let (done, leased) = world.store.finish_and_lease(finished, lease(key, hook.id, "b")).await.unwrap();
        assert_eq!(done.lane, LaneState::More);
        let Some(LeaseResult::Send(batch)) = leased else { panic!("{leased:?}") };
        let second = Sent { batch, key, to: hook.id, token: "b".to_owned(), mode: Mode::Lane };
        assert_ne!(second.delivery_id, first.delivery_id);
        assert!(world.store.holds_lease(key, hook.id, "b").await.unwrap());
        assert!(!world.store.holds_lease(key, hook.id, "a").await.unwrap());
        let (done, leased) = world.store.finish_and_lease(finish(&second, Verdict::Delivered), lease(key, hook.id, "c")).await.unwrap();
        assert!(matches!(done.lane, LaneState::Closed { .. }) && leased.is_none(), "{done:?} {leased:?}");
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_lease_that_fails_leaves_the_request_to_be_recorded_alone(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        let first = world.attempt(key, hook.id, "a").await;
        world.raw().run("UPDATE destinations SET secret = 'x'");
        let failed = world.store.finish_and_lease(finish(&first, Verdict::Delivered), lease(key, hook.id, "b")).await;
        assert!(failed.is_err(), "{failed:?}");
        assert!(world.store.holds_lease(key, hook.id, "a").await.unwrap(), "nothing was recorded");
        assert_eq!(world.finish(&first, Verdict::Delivered).await, LaneState::More);
        assert_eq!(world.store.delivery(first.delivery_id).await.unwrap().status.as_str(), "delivered");
    }
}

story! {
    async fn a_success_without_the_lease_counts_once(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let first = world.attempt(key, hook.id, "a").await;
        world.pass(LEASE_MS + 1);
        let second = world.attempt(key, hook.id, "b").await;
        let late = world.finish(&first, Verdict::Retry { delay: duration(500_000) }).await;
        assert!(matches!(late, LaneState::Wait { .. }), "{late:?}");
        assert!(world.store.holds_lease(second.key, second.to, "b").await.unwrap());
        assert_eq!(world.store.attempts(first.delivery_id).await.unwrap()[0].class, "server_error");

        world.pass(LEASE_MS + 1);
        let third = world.attempt(key, hook.id, "c").await;
        world.finish(&second, Verdict::Delivered).await;
        assert!(world.store.holds_lease(third.key, third.to, "c").await.unwrap());
        let delivered = world.store.delivery(third.delivery_id).await.unwrap();
        assert_eq!(delivered.status, storage::DeliveryStatus::Delivered);
        world.finish(&third, Verdict::Failed).await;
        assert_eq!(world.store.delivery(third.delivery_id).await.unwrap(), delivered, "it ended before, once");
    }
}

story! {
    async fn a_failed_attempt_waits_for_its_time(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let attempt = world.attempt(key, hook.id, "a").await;
        let left = world.finish(&attempt, Verdict::Retry { delay: duration(5_000) }).await;
        assert!(matches!(left, LaneState::Wait { wait } if (4_000..=5_000).contains(&millis(wait))), "{left:?}");
        assert!(world.store.lanes(key).await.unwrap()[0].failing);
        let LeaseResult::Idle(Idle::Wait { wait, last_error }) = world.lease(key, hook.id, "b").await else { panic!("not waiting") };
        assert!((1..=5_000).contains(&millis(wait)));
        assert_eq!(last_error.as_deref(), Some("the endpoint answered 500"));
        world.pass(5_001);
        assert_eq!(world.attempt(key, hook.id, "c").await.number, 2);
    }
}

story! {
    async fn only_requests_that_went_out_count_for_the_schedule(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        for round in 0..20 {
            let class = if round % 2 == 0 { AttemptClass::InvalidSettings } else { AttemptClass::Late };
            let token = format!("unsent-{round}");
            let attempt = world.attempt(key, hook.id, &token).await;
            assert_eq!(attempt.number, 1);
            let mut end = finish(&attempt, Verdict::Retry { delay: duration(1_000) });
            (end.status, end.result.endpoint_signal) = (None, EndpointSignal::Neutral);
            (end.result.events[0].class, end.result.events[0].counts) = (class, false);
            let id = end.result.events[0].delivery_id;
            world.end(end).await;
            assert_eq!(world.store.delivery(id).await.unwrap().first_tried_at, None, "{class:?}: nothing was tried");
            world.pass(1_001);
        }
        for round in 0..3 {
            world.attempt(key, hook.id, &format!("lost-{round}")).await;
            world.pass(LEASE_MS + 1);
        }
        let sent = world.attempt(key, hook.id, "sent").await;
        assert_eq!(sent.number, 1);
        world.finish(&sent, Verdict::Retry { delay: duration(1_000) }).await;
        world.pass(1_001);
        assert_eq!(world.attempt(key, hook.id, "next").await.number, 2);
        let attempts = world.store.attempts(sent.delivery_id).await.unwrap();
        let classes: Vec<_> = attempts.iter().map(|attempt| attempt.class.as_str()).collect();
        assert_eq!(classes, ["unfinished", "unfinished", "unfinished", "server_error", "unfinished"]);
    }
}

story! {
    async fn deliveries_pending_for_a_deleted_destination_fail(world: World) {
        let hook = world.destination("hook").await;
        let other = world.destination("other").await;
        world.revise("r1", 1).await;
        world.store.delete_destination(hook.id).await.unwrap();
        let of = |id| DeliveryFilter { destination_id: Some(id), ..Default::default() };
        let failed = world.store.deliveries(of(hook.id), Page::default()).await.unwrap().items.remove(0);
        assert_eq!((failed.status.as_str(), failed.last_error.as_deref()), ("failed", Some("the destination was deleted")));
        assert!(failed.finished_at.is_some());
        let stored = world.store.deliveries(of(other.id), Page::default()).await.unwrap().items.remove(0);
        assert_eq!(stored.status, storage::DeliveryStatus::Pending);
        // A delivery recorded at the moment of the deletion ends when its lane is leased.
        world.raw().run("UPDATE deliveries SET status = 'pending'");
        assert!(matches!(world.lease(world.key("r1"), hook.id, "a").await, LeaseResult::Idle(Idle::Closed { .. })));
        let listed = DeliveryFilter { status: Some(storage::DeliveryStatus::Failed), ..Default::default() };
        let failed = world.store.deliveries(listed, Page::default()).await.unwrap().items;
        assert_eq!((failed.len(), failed[0].destination_id), (1, hook.id));
    }
}

story! {
    async fn repeating_a_finish_changes_nothing(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let attempt = world.attempt(key, hook.id, "a").await;
        let end = finish(&attempt, Verdict::Retry { delay: duration(5_000) });
        world.end(end.clone()).await;
        world.pass(3_000);
        let again = world.end(end.clone()).await.lane;
        assert!(matches!(again, LaneState::Wait { wait } if millis(wait) <= 2_000), "{again:?}");
        assert_eq!(world.store.attempts(attempt.delivery_id).await.unwrap().len(), 1);
        assert_eq!(world.store.health(hook.id).await.unwrap().health.failures, 1);
        let unknown = Finish { token: "never leased".to_owned(), ..end };
        assert!(is_missing(&world.store.finish(unknown).await.unwrap_err()));
    }
}

story! {
    async fn the_acked_revision_never_falls_and_is_sent_next_time(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let old = world.attempt(key, hook.id, "a").await;
        assert_eq!(attribute(&old.body, "previous_acked_revision"), serde_json::Value::Null);
        assert_eq!(attribute(&old.body, "subscription_id"), hook.id.to_string());
        world.pass(LEASE_MS + 1);
        world.revise("r1", 2).await;
        let new = world.attempt(key, hook.id, "b").await;
        world.finish(&new, Verdict::Delivered).await;
        world.finish(&old, Verdict::Delivered).await;
        assert_eq!(world.acked_revision(), 2);
        assert_eq!(world.store.delivery(old.delivery_id).await.unwrap().status, storage::DeliveryStatus::Superseded);
        world.revise("r1", 3).await;
        let next = world.attempt(key, hook.id, "c").await;
        assert_eq!(attribute(&next.body, "previous_acked_revision"), 2);
    }
}

story! {
    async fn the_two_tracks_do_not_wait_for_each_other(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        world.owe_user_event(key, hook.id, "user.subscription.renewed", 1);
        world.owe_user_event(key, hook.id, "user.subscription.cancelled", 2);
        let mut sent = Vec::new();
        for token in ["a", "b", "c", "d"] {
            let attempt = world.attempt(key, hook.id, token).await;
            sent.push(attempt.event_type.clone());
            let is_state = attempt.event_type == "purchase.updated";
            let verdict = if is_state { Verdict::Retry { delay: duration(60_000) } } else { Verdict::Delivered };
            let left = world.finish(&attempt, verdict).await;
            if sent.len() == 3 {
                assert!(matches!(left, LaneState::Wait { .. }), "{left:?}");
                world.pass(60_001);
            }
        }
        assert_eq!(sent[0], "purchase.updated");
        assert_eq!(sent[1..3], ["user.subscription.renewed", "user.subscription.cancelled"]);
        assert_eq!(sent[3], "purchase.updated");
    }
}

story! {
    async fn a_user_event_that_fails_holds_back_the_later_ones(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let state = world.attempt(key, hook.id, "s").await;
        world.finish(&state, Verdict::Delivered).await;
        world.owe_user_event(key, hook.id, "user.subscription.renewed", 1);
        world.owe_user_event(key, hook.id, "user.subscription.cancelled", 2);
        let first = world.attempt(key, hook.id, "a").await;
        world.finish(&first, Verdict::Retry { delay: duration(9_000) }).await;
        assert!(matches!(world.lease(key, hook.id, "b").await, LeaseResult::Idle(Idle::Wait { .. })));
        world.pass(9_001);
        let again = world.attempt(key, hook.id, "c").await;
        assert_eq!(again.delivery_id, first.delivery_id);
        assert_eq!(world.finish(&again, Verdict::Failed).await, LaneState::More);
        assert_eq!(world.attempt(key, hook.id, "d").await.event_type, "user.subscription.cancelled");
    }
}

story! {
    async fn all_is_pending_for_a_disabled_destination_that_gets_nothing(world: World) {
        let hook = world.destination("hook").await;
        world.alter(hook.id, move |common| common.enabled = false).await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        assert_eq!(world.store.lanes(key).await.unwrap(), []);
        assert!(matches!(world.lease(key, hook.id, "a").await, LeaseResult::Idle(Idle::Closed { last_seq }) if last_seq > 0));
        world.alter(hook.id, move |common| common.enabled = true).await;
        assert_eq!(world.store.lanes(key).await.unwrap().len(), 1);
        assert_eq!(world.attempt(key, hook.id, "b").await.revision, 1);
    }
}

story! {
    async fn redelivery_has_an_id_of_its_own_and_ends_a_back_off(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let first = world.attempt(key, hook.id, "a").await;
        world.finish(&first, Verdict::Delivered).await;
        let lanes = world.store.redeliver(key, None, None).await.unwrap();
        assert_eq!((lanes.len(), lanes[0].destination_id), (1, hook.id));
        world.store.redeliver(key, Some(hook.id), None).await.unwrap();
        let second = world.attempt(key, hook.id, "b").await;
        assert_eq!(second.delivery_id, DeliveryId::of(hook.id, first.event_id, 1));
        assert_eq!(attribute(&second.body, "previous_acked_revision"), 1);
        world.finish(&second, Verdict::Retry { delay: duration(900_000) }).await;
        world.store.redeliver(key, Some(hook.id), None).await.unwrap();
        let third = world.attempt(key, hook.id, "c").await;
        assert_eq!((third.delivery_id, third.number), (second.delivery_id, 2));
        assert_eq!(third.body, second.body);
        assert_eq!(world.count("deliveries"), 2);
        let nobody = domain::DestinationId::new(world.app.id.uuid());
        assert!(is_missing(&world.store.redeliver(key, Some(nobody), None).await.unwrap_err()));
    }
}

story! {
    async fn only_one_of_many_workers_gets_a_lane(world: World) {
        let hook = world.destination("hook").await;
        let second = world.second_process().await;
        for round in 1..=10 {
            world.revise("r1", round).await;
            let key = world.key("r1");
            let mut leases = Vec::new();
            for worker in 0..8 {
                let store = if worker % 2 == 0 { world.store.clone() } else { second.clone() };
                let token = format!("{round}-{worker}");
                leases.push(tokio::spawn(async move { store.lease(lease(key, hook.id, &token)).await.unwrap() }));
            }
            let mut sent = Vec::new();
            for (worker, lease) in leases.into_iter().enumerate() {
                if let LeaseResult::Send(batch) = lease.await.unwrap() {
                    sent.push(Sent { batch, key, to: hook.id, token: format!("{round}-{worker}"), mode: Mode::Lane });
                }
            }
            assert_eq!(sent.len(), 1);
            world.finish(&sent[0], Verdict::Delivered).await;
        }
    }
}

fn attribute(body: &str, name: &str) -> serde_json::Value {
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    body["attributes"][name].clone()
}
