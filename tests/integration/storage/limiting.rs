//! The limits of a destination across all processes: its rate, its concurrency, one user at a time.

use super::sending::{RETRY, Sent, finish, lease, must_send, rendering};
use super::world::{LEASE_MS, World, new_destination, story};
use domain::time::{duration, millis};
use domain::{DestinationId, TransitionKind};
use std::sync::Arc;
use std::time::Duration;
use storage::{
    CustomerNames, DeliveryFilter, Destination, DestinationChange, DestinationNeed,
    DestinationSettings, EndpointSignal, Idle, LaneState, Lease, LeaseResult, Mode, Owner, Page,
    Rendered, Store, Unsent, Verdict,
};
use system_tests::world::SOON;

const TEN_MINUTES_MS: i64 = 600_000;

async fn limited(world: &World, set: impl FnOnce(&mut DestinationSettings)) -> DestinationId {
    let mut new = new_destination(&world.app, "limited");
    set(&mut new.common);
    world.store.new_destination(new).await.unwrap().id
}

/// Leases all these lanes concurrently, alternating between both stores.
async fn lease_all(
    stores: &[Store; 2],
    world: &World,
    receipts: &[String],
    to: DestinationId,
) -> Vec<LeaseResult> {
    let leases = receipts.iter().enumerate().map(|(number, receipt)| {
        let (store, key) = (stores[number % 2].clone(), world.key(receipt));
        tokio::spawn(async move { store.lease(lease(key, to, "a")).await.unwrap() })
    });
    let mut leased = Vec::new();
    for lease in leases.collect::<Vec<_>>() {
        leased.push(lease.await.unwrap());
    }
    leased
}

async fn purchases(world: &World, count: usize) -> Vec<String> {
    let receipts: Vec<String> = (0..count).map(|number| format!("r{number}")).collect();
    for receipt in &receipts {
        world.revise(receipt, 1).await;
    }
    receipts
}

/// Makes a lease wait for a change of the destination that another process has begun, and returns the lease's result.
async fn lease_during(
    world: &World,
    to: DestinationId,
    set: impl FnMut(&mut DestinationSettings) + Send + 'static,
) -> LeaseResult {
    let mut other = world.raw();
    other.run("BEGIN; SELECT 1 FROM destinations FOR NO KEY UPDATE");
    let second = world.second_process().await;
    let changing = tokio::spawn(async move {
        second
            .update_destination(to, DestinationChange::default(), set)
            .await
            .unwrap()
    });
    world.wait_for_locks(1).await;
    let (store, mut lease) = (world.store.clone(), lease(world.key("r1"), to, "a"));
    lease.render =
        Arc::new(|destination: &Destination, _: &Unsent| Rendered::Body(destination.name.clone()));
    let leasing = tokio::spawn(async move { store.lease(lease).await.unwrap() });
    world.wait_for_locks(2).await;
    other.run("COMMIT");
    changing.await.unwrap();
    leasing.await.unwrap()
}

story! {
    async fn a_change_by_another_process_applies_to_a_begun_lease(world: World) {
        let hook = limited(&world, |_| {}).await;
        world.revise("r1", 1).await;
        if world.is_postgres() {
            let renamed = |common: &mut DestinationSettings| common.name = "another".to_owned();
            let LeaseResult::Send(batch) = lease_during(&world, hook, renamed).await else { panic!("not sent") };
            assert_eq!((batch.destination.name.as_str(), batch.attempts[0].body.as_str()), ("another", "another"));
            world.pass(LEASE_MS + 1);
            let closed = lease_during(&world, hook, |common| common.enabled = false).await;
            assert!(matches!(closed, LeaseResult::Idle(Idle::Closed { .. })), "{closed:?}");
        }
    }
}

story! {
    async fn a_lease_far_from_the_limits_waits_for_no_health(world: World) {
        let hook = limited(&world, |_| {}).await;
        let receipts = purchases(&world, 2).await;
        if world.is_postgres() {
            let mut other = world.raw();
            other.run("BEGIN; SELECT 1 FROM health FOR UPDATE");
            for receipt in &receipts {
                let leased = tokio::time::timeout(SOON, world.lease(world.key(receipt), hook, receipt)).await;
                assert!(matches!(leased, Ok(LeaseResult::Send(_))), "it waits for another transaction: {leased:?}");
            }
            other.run("COMMIT");
        }
    }
}

story! {
    async fn a_lease_near_the_limit_waits_for_no_other_lease(world: World) {
        let hook = limited(&world, |common| common.concurrency = 2).await;
        let receipts = purchases(&world, 3).await;
        if world.is_postgres() {
            let mut other = world.raw();
            other.run("BEGIN; SELECT 1 FROM leases WHERE place = 0 FOR UPDATE");
            for (receipt, is_sent) in [(&receipts[0], true), (&receipts[1], false)] {
                let leased = tokio::time::timeout(SOON, world.lease(world.key(receipt), hook, receipt)).await;
                let leased = leased.expect("it waits for another transaction");
                assert_eq!(matches!(leased, LeaseResult::Send(_)), is_sent, "{leased:?}");
            }
            other.run("COMMIT");
            assert!(matches!(world.lease(world.key(&receipts[1]), hook, "a").await, LeaseResult::Send(_)));
            assert!(matches!(world.lease(world.key(&receipts[2]), hook, "a").await, LeaseResult::Idle(Idle::Pending { .. })));
        }
    }
}

story! {
    async fn a_change_waits_for_no_lease_that_comes_after_it(world: World) {
        let hook = limited(&world, |_| {}).await;
        let receipts = purchases(&world, 1).await;
        if world.is_postgres() {
            let other = world.share_lock(hook.uuid());
            let leased = tokio::time::timeout(SOON, world.lease(world.key(&receipts[0]), hook, "a")).await;
            assert!(matches!(leased, Ok(LeaseResult::Send(_))), "leases share it: {leased:?}");
            world.pass(LEASE_MS + 1);
            let (second, off) = (world.second_process().await, |common: &mut DestinationSettings| common.enabled = false);
            let changing =
                tokio::spawn(async move { second.update_destination(hook, DestinationChange::default(), off).await.unwrap() });
            world.wait_for_locks(1).await;
            let (store, late) = (world.store.clone(), lease(world.key(&receipts[0]), hook, "b"));
            let leasing = tokio::spawn(async move { store.lease(late).await.unwrap() });
            world.wait_for_locks(2).await;
            drop(other);
            changing.await.unwrap();
            let leased = leasing.await.unwrap();
            assert!(matches!(leased, LeaseResult::Idle(Idle::Closed { .. })), "it sees the change: {leased:?}");
        }
    }
}

story! {
    async fn a_refusal_in_a_lease_waits_for_no_other_lease(world: World) {
        let hook = limited(&world, |_| {}).await;
        let receipts = purchases(&world, 1).await;
        let _other = world.is_postgres().then(|| world.share_lock(hook.uuid()));
        let mut refusing = lease(world.key(&receipts[0]), hook, "a");
        refusing.render = Arc::new(|_, _| Rendered::Refuse { why: "no address".to_owned() });
        let leased = world.store.lease(refusing).await.unwrap();
        assert!(!matches!(leased, LeaseResult::Send(_)), "{leased:?}");
        let events = world.count("events WHERE event_type = 'destination.exhausted'");
        assert_eq!(events, 1);
    }
}

story! {
    async fn a_lowered_concurrency_holds_at_once(world: World) {
        let hook = limited(&world, |common| common.concurrency = 3).await;
        let receipts = purchases(&world, 4).await;
        let mut sent = Vec::new();
        for receipt in &receipts[..3] {
            sent.push(world.attempt(world.key(receipt), hook, "a").await);
        }
        world.alter(hook, |common| common.concurrency = 1).await;
        for sent in sent {
            let leased = world.lease(world.key(&receipts[3]), hook, "b").await;
            assert!(matches!(leased, LeaseResult::Idle(Idle::Pending { .. })), "{leased:?}");
            world.finish(&sent, Verdict::Delivered).await;
        }
        let last = world.attempt(world.key(&receipts[3]), hook, "c").await;
        world.alter(hook, |common| common.concurrency = 40).await;
        for number in 1..40 {
            let receipt = format!("more{number}");
            world.revise(&receipt, 1).await;
            world.attempt(world.key(&receipt), hook, "d").await;
        }
        world.revise("one more", 1).await;
        let leased = world.lease(world.key("one more"), hook, "e").await;
        assert!(matches!(leased, LeaseResult::Idle(Idle::Pending { .. })), "{leased:?}");
        world.finish(&last, Verdict::Delivered).await;
        world.attempt(world.key("one more"), hook, "f").await;
    }
}

story! {
    async fn a_lease_ends_when_the_clock_is_put_back(world: World) {
        let (hook, to) = (limited(&world, |common| common.concurrency = 1).await, world.analytics("analytics").await.id);
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        for destination in [hook, to] {
            world.attempt(world.key("r1"), destination, "a").await;
        }
        let leased = world.lease(world.key("r1"), hook, "b").await;
        assert!(matches!(leased, LeaseResult::Idle(Idle::Leased { .. })), "{leased:?}");
        for table in ["leases", "user_leases"] {
            world.raw().run(&format!("UPDATE {table} SET lease_until = lease_until + 3600000000 WHERE lease_until > 0"));
        }
        for destination in [hook, to] {
            world.attempt(world.key("r1"), destination, "c").await;
        }
    }
}

story! {
    async fn a_lease_whose_result_was_lost_is_taken_again(world: World) {
        let (hook, to) = (limited(&world, |common| common.concurrency = 1).await, world.analytics("analytics").await.id);
        world.alter(to, |common| common.concurrency = 1).await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        for destination in [hook, to] {
            let key = world.key("r1");
            let lost = world.attempt(key, destination, "a").await;
            let other = world.lease(key, destination, "b").await;
            assert!(matches!(other, LeaseResult::Idle(Idle::Leased { .. })), "{other:?}");
            let again = world.attempt(key, destination, "a").await;
            assert_eq!((again.delivery_id, again.number, &again.body), (lost.delivery_id, 1, &lost.body));
            assert_eq!(world.count(&format!("leases WHERE destination_id = '{destination}' AND collapse_key IS NOT NULL")), 1);
            world.finish(&again, Verdict::Delivered).await;
            assert_eq!(world.count(&format!("leases WHERE destination_id = '{destination}' AND collapse_key IS NOT NULL")), 0);
        }
        assert_eq!(world.count("user_leases"), 0);
    }
}

story! {
    async fn leases_at_once_keep_to_a_limit_that_was_far(world: World) {
        let hook = limited(&world, |common| common.concurrency = 20).await;
        let receipts = purchases(&world, 70).await;
        let stores = [world.store.clone(), world.second_process().await];
        let leased = lease_all(&stores, &world, &receipts, hook).await;
        let sent = leased.iter().filter(|leased| matches!(leased, LeaseResult::Send(_))).count();
        assert_eq!(sent, 20);
        let pending = leased.iter().filter(|leased| matches!(leased, LeaseResult::Idle(Idle::Pending { .. }))).count();
        assert_eq!(pending, 50, "{leased:?}");
    }
}

story! {
    async fn a_lease_skips_lanes_and_users_locked_elsewhere(world: World) {
        let mut new = new_destination(&world.app, "per user");
        new.traits.per_user = true;
        let hook = world.store.new_destination(new).await.unwrap().id;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let again = || async { world.store.lease(lease(world.key("r1"), hook, "a")).await.unwrap() };
        let LeaseResult::Send(_) = again().await else { panic!("not sent") };
        world.pass(LEASE_MS + 1);
        if world.is_postgres() {
            for table in ["lanes", "user_lanes"] {
                let mut other = world.raw();
                other.run(&format!("BEGIN; SELECT 1 FROM {table} FOR UPDATE"));
                let leased = again().await;
                assert!(matches!(leased, LeaseResult::Idle(Idle::Leased { .. }) | LeaseResult::Idle(Idle::UserBusy { .. })), "{table}: {leased:?}");
                other.run("COMMIT");
            }
        }
        let LeaseResult::Send(_) = again().await else { panic!("not sent once it is free") };
    }
}

story! {
    async fn the_wait_of_a_lane_is_known_without_a_lease(world: World) {
        let hook = limited(&world, |_| {}).await;
        let rests = || async { world.store.lane_wait(world.key("r1"), hook).await.unwrap() };
        assert_eq!(rests().await, None, "nothing is pending");
        world.revise("r1", 1).await;
        assert_eq!(rests().await, None, "it is due");
        world.send("r1", hook, RETRY).await;
        let (wait, why) = rests().await.unwrap();
        assert!((1..=5_000).contains(&wait.as_millis()) && why.is_some(), "{wait:?} {why:?}");
        world.pass(5_001);
        assert_eq!(rests().await, None, "it is due again");
    }
}

story! {
    async fn the_requests_of_two_processes_keep_to_the_rate(world: World) {
        let hook = limited(&world, |common| (common.rate, common.concurrency) = (Some(5), 1_000)).await;
        let receipts = purchases(&world, 70).await;
        let stores = [world.store.clone(), world.second_process().await];
        let began = world.store.now().await.unwrap();
        let leased = lease_all(&stores, &world, &receipts, hook).await;
        let took_ms = world.store.now().await.unwrap().millis_since(began);
        let (mut sent, mut pending) = (0_i64, 0);
        for leased in leased {
            match leased {
                LeaseResult::Send(batch) => {
                    assert!((0..=2_000).contains(&batch.start_in.as_millis()));
                    sent += 1;
                }
                LeaseResult::Idle(Idle::Pending { wait, .. }) => {
                    assert!((1..=2_000).contains(&wait.as_millis()), "{wait:?}");
                    pending += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        // One lease immediately, and one per 200 ms of the next two seconds and of the time that the leases took.
        let expected = 1 + (2_000 + took_ms) / 200;
        assert!(pending > 0 && sent <= expected + 1 && sent * 10 >= 11 * 9, "{sent} of {expected} in {took_ms} ms");
        world.pass(2_000);
        let leased = lease_all(&stores, &world, &receipts[64..], hook).await;
        assert!(leased.iter().all(|leased| matches!(leased, LeaseResult::Send(_) | LeaseResult::Idle(Idle::Leased { .. }))), "{leased:?}");
        let DestinationNeed::Drain { keys, .. } = world.store.destination_need(hook, 5).await.unwrap() else { panic!("nothing is pending") };
        let late = leased.iter().filter(|leased| matches!(leased, LeaseResult::Send(_))).count();
        let left = usize::try_from(pending).unwrap() - late;
        assert_eq!(keys.len(), left.min(5), "lanes that got no slot are pending");
    }
}

story! {
    async fn two_processes_share_the_limit_of_requests_in_flight(world: World) {
        let hook = limited(&world, |common| common.concurrency = 5).await;
        let receipts = purchases(&world, 20).await;
        let stores = [world.store.clone(), world.second_process().await];
        let mut sent = Vec::new();
        for (leased, receipt) in lease_all(&stores, &world, &receipts, hook).await.into_iter().zip(&receipts) {
            match leased {
                LeaseResult::Send(batch) => {
                    let (key, token) = (world.key(receipt), "a".to_owned());
                    sent.push(Sent { batch, key, to: hook, token, mode: Mode::Lane });
                }
                LeaseResult::Idle(Idle::Pending { wait, .. }) => assert!((1..=1_000).contains(&wait.as_millis())),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent.len(), 5);
        let free = receipts.iter().find(|receipt| sent.iter().all(|sent| sent.key != world.key(receipt))).unwrap();
        let drain = Lease { mode: Mode::Drain, ..lease(world.key(free), hook, "b") };
        assert!(matches!(world.store.lease(drain.clone()).await.unwrap(), LeaseResult::Idle(Idle::Pending { .. })));
        world.finish(&sent[0], Verdict::Delivered).await;
        assert!(matches!(world.store.lease(drain).await.unwrap(), LeaseResult::Send(_)));
        let probe = world.attempt_as(Mode::Probe, world.key(other(&world, &receipts, &sent, free)), hook, "p").await;
        assert_eq!(probe.number, 1, "a probe is not kept back");
        world.pass(LEASE_MS + 1);
        let again = lease_all(&stores, &world, &receipts, hook).await;
        assert_eq!(again.iter().filter(|leased| matches!(leased, LeaseResult::Send(_))).count(), 5, "the lost leases ended");
    }
}

/// Returns a receipt that is neither `free` nor in flight.
fn other<'a>(world: &World, receipts: &'a [String], sent: &[Sent], free: &str) -> &'a str {
    let is_free = |receipt: &&String| {
        **receipt != free && sent.iter().all(|sent| sent.key != world.key(receipt))
    };
    receipts.iter().find(is_free).unwrap()
}

story! {
    async fn a_batch_holds_events_of_a_user_in_order_and_no_state(world: World) {
        let to = world.analytics("analytics").await.id;
        world.happen("r1", 1, &[TransitionKind::TrialStarted, TransitionKind::Purchased]).await;
        world.happen("r1", 2, &[TransitionKind::TrialConverted, TransitionKind::Renewed]).await;
        let key = world.key("r1");
        let few = Lease { at_most: 3, ..lease(key, to, "a") };
        let sent = must_send(&world.store, few).await;
        let all = ["user.journey.trial.started", "user.subscription.purchased", "user.journey.trial.converted",
            "user.subscription.renewed"];
        assert_eq!(sent.types(), all[..3]);
        assert!(sent.batch.attempts.iter().all(|attempt| attempt.number == 1));
        assert_eq!(world.finish(&sent, RETRY).await, LaneState::More, "the state is due");
        let state = world.attempt(key, to, "b").await;
        assert_eq!((state.types(), state.revision), (vec!["purchase.updated"], 2));
        world.finish(&state, Verdict::Delivered).await;
        assert!(matches!(world.lease(key, to, "c").await, LeaseResult::Idle(Idle::Wait { .. })),
            "the first event in back-off holds back the others");
        world.pass(5_001);
        let sent = world.attempt(key, to, "d").await;
        assert_eq!(sent.types(), all, "events that were never attempted follow");
        let numbers: Vec<_> = sent.batch.attempts.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, [2, 2, 2, 1]);
        let mut end = finish(&sent, Verdict::Delivered);
        end.result.events[1].verdict = Verdict::Failed;
        end.result.events[2].verdict = Verdict::Retry { delay: duration(60_000) };
        end.result.events[3].verdict = Verdict::Retry { delay: duration(0) };
        assert!(matches!(world.end(end).await.lane, LaneState::Wait { .. }));
        let filter = DeliveryFilter { collapse_key: Some(key), ..Default::default() };
        let deliveries = world.store.deliveries(filter, Page::default()).await.unwrap().items.into_iter().rev();
        let statuses: Vec<_> = deliveries.map(|one| one.status.as_str()).filter(|status| *status != "superseded").collect();
        assert_eq!(statuses, ["delivered", "failed", "pending", "pending", "delivered"]);
    }
}

story! {
    async fn a_later_event_that_waits_ends_the_batch(world: World) {
        let to = world.analytics("analytics").await.id;
        world.happen("r1", 1, &[TransitionKind::Cancelled, TransitionKind::Resumed, TransitionKind::Renewed]).await;
        let key = world.key("r1");
        world.pass(1);
        let first = world.attempt(key, to, "a").await;
        let mut end = finish(&first, Verdict::Retry { delay: duration(0) });
        end.result.events[1].verdict = Verdict::Retry { delay: duration(60_000) };
        world.end(end).await;
        let next = world.attempt(key, to, "b").await;
        assert_eq!(next.types(), ["purchase.updated"], "the state was never attempted and has been due longest");
        world.finish(&next, Verdict::Delivered).await;
        assert_eq!(world.attempt(key, to, "c").await.types(), ["user.subscription.cancelled"],
            "the second event comes before the third");
    }
}

story! {
    async fn two_purchases_of_a_user_are_never_in_flight_together(world: World) {
        let (to, hook) = (world.analytics("analytics").await.id, world.destination("hook").await.id);
        let receipts = purchases(&world, 8).await;
        world.happen_to("customer-2", "other", &[TransitionKind::Purchased]).await;
        let stores = [world.store.clone(), world.second_process().await];
        let leased = lease_all(&stores, &world, &receipts, to).await;
        let mut sent = Vec::new();
        for (leased, receipt) in leased.into_iter().zip(&receipts) {
            match leased {
                LeaseResult::Send(batch) => {
                    let (key, token) = (world.key(receipt), "a".to_owned());
                    sent.push(Sent { batch, key, to, token, mode: Mode::Lane });
                }
                LeaseResult::Idle(Idle::UserBusy { wait, last_seq }) => {
                    assert!((1..=500).contains(&wait.as_millis()) && last_seq > 0, "{wait:?}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent.len(), 1);
        world.attempt(world.key("other"), to, "b").await;
        for receipt in &receipts {
            world.attempt(world.key(receipt), hook, "h").await;
        }
        let DestinationNeed::Pause { .. } = world.store.destination_need(to, 9).await.unwrap() else { panic!("nothing can be sent now") };
        let waits = receipts.iter().find(|receipt| world.key(receipt) != sent[0].key).unwrap();
        world.finish(&sent[0], Verdict::Delivered).await;
        let next = world.attempt(world.key(waits), to, "c").await;
        world.pass(LEASE_MS + 1);
        let third = receipts.iter().find(|receipt| ![sent[0].key, next.key].contains(&world.key(receipt))).unwrap();
        let third = world.attempt(world.key(third), to, "d").await;
        world.finish(&next, Verdict::Delivered).await;
        let leased = world.lease(world.key(waits), to, "e").await;
        assert!(matches!(leased, LeaseResult::Idle(Idle::Closed { .. })), "{leased:?}");
        world.revise(waits, 2).await;
        let leased = world.lease(world.key(waits), to, "f").await;
        assert!(matches!(leased, LeaseResult::Idle(Idle::UserBusy { .. })), "who lost the lease does not end the user's: {leased:?}");
        world.finish(&third, Verdict::Delivered).await;
        world.attempt(world.key(waits), to, "g").await;
    }
}

story! {
    async fn after_an_event_is_put_aside_the_next_ones_user_is_locked(world: World) {
        let to = world.analytics("analytics").await.id;
        for customer in ["anna", "otto"] {
            let names = CustomerNames { external_id: customer.to_owned(), analytics_device_id: None };
            world.store.name_customer(world.app.id, Owner::AppUser(customer.to_owned()), names, None).await.unwrap();
        }
        world.happen_to("anna", "r1", &[TransitionKind::Purchased]).await;
        world.happen_to("otto", "r1", &[TransitionKind::Renewed]).await;
        world.happen_to("otto", "r2", &[TransitionKind::Purchased]).await;
        let sent = world.attempt(world.key("r2"), to, "a").await;
        let render = rendering(|unsent| match unsent.external_id.as_deref() {
            Some("anna") => Rendered::Skip { why: "anna's are not wanted".to_owned() },
            _ => Rendered::Body(unsent.event_type.clone()),
        });
        let leased = |token: &str| Lease { render: render.clone(), ..lease(world.key("r1"), to, token) };
        let busy = world.store.lease(leased("b")).await.unwrap();
        assert!(matches!(busy, LeaseResult::Idle(Idle::UserBusy { .. })), "otto's other purchase is in flight: {busy:?}");
        world.finish(&sent, Verdict::Delivered).await;
        let sent = must_send(&world.store, leased("c")).await;
        assert_eq!(sent.types(), ["user.subscription.renewed"]);
        let busy = world.lease(world.key("r2"), to, "d").await;
        assert!(matches!(busy, LeaseResult::Idle(Idle::UserBusy { .. })), "otto is leased: {busy:?}");
    }
}

story! {
    async fn a_throttled_user_delays_no_other(world: World) {
        let to = world.analytics("analytics").await.id;
        for receipt in ["r1", "r2"] {
            world.revise(receipt, 1).await;
        }
        world.happen_to("customer-2", "other", &[TransitionKind::Purchased]).await;
        let sent = world.attempt(world.key("r1"), to, "a").await;
        let mut end = finish(&sent, RETRY);
        (end.result.endpoint_signal, end.result.user_pause) = (EndpointSignal::Success, Some(duration(TEN_MINUTES_MS)));
        world.end(end).await;
        world.pass(6_000);
        for receipt in ["r1", "r2"] {
            let leased = world.lease(world.key(receipt), to, "b").await;
            assert!(matches!(leased, LeaseResult::Idle(Idle::Wait { wait, .. }) if millis(wait) > TEN_MINUTES_MS - 60_000), "{leased:?}");
        }
        let DestinationNeed::Drain { keys, .. } = world.store.destination_need(to, 9).await.unwrap() else { panic!("nothing to drain") };
        assert_eq!(keys, [world.key("other")]);
        let other = world.attempt(world.key("other"), to, "c").await;
        world.finish(&other, Verdict::Delivered).await;
        world.drain(world.key("other"), to).await;
        assert_eq!(world.store.destination_need(to, 9).await.unwrap(), DestinationNeed::Pause { wait: Duration::from_secs(30) }, "it is rechecked");
        world.pass(TEN_MINUTES_MS);
        world.attempt(world.key("r2"), to, "d").await;
    }
}
