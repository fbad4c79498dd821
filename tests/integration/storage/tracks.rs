//! The two tracks of a lane: the latest state supersedes older ones, and the other events are all sent in order.

use super::sending::{RETRY, Sent, finish};
use super::world::{LEASE_MS, World, story};
use domain::TransitionKind;
use domain::time::duration;
use storage::{
    AttemptClass, DeliveryFilter, EndpointSignal, LaneState, LeaseResult, Mode, Page, Repair,
    Verdict,
};

/// Delivers until nothing is pending, and returns the types and revisions of the sent events.
async fn drain(world: &World, receipt: &str, to: domain::DestinationId) -> Vec<(String, i64)> {
    let (key, mut sent) = (world.key(receipt), Vec::new());
    loop {
        let leased = world.lease(key, to, "drain").await;
        let LeaseResult::Send(batch) = leased else {
            return sent;
        };
        let attempt = Sent {
            batch,
            key,
            to,
            token: "drain".to_owned(),
            mode: Mode::Lane,
        };
        sent.push((attempt.event_type.clone(), attempt.revision));
        world.finish(&attempt, Verdict::Delivered).await;
    }
}

fn names(sent: &[(String, i64)]) -> Vec<(&str, i64)> {
    sent.iter()
        .map(|(event_type, revision)| (event_type.as_str(), *revision))
        .collect()
}

story! {
    async fn events_of_two_revisions_are_ordered_with_one_newest_state(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::TrialStarted, TransitionKind::Purchased]).await;
        world.happen("r1", 2, &[TransitionKind::TrialConverted, TransitionKind::Renewed]).await;
        let sent = drain(&world, "r1", hook.id).await;
        assert_eq!(
            names(&sent),
            [
                ("user.journey.trial.started", 1),
                ("user.subscription.purchased", 1),
                ("user.journey.trial.converted", 2),
                ("user.subscription.renewed", 2),
                ("purchase.updated", 2),
            ]
        );
        let filter = DeliveryFilter { status: Some(storage::DeliveryStatus::Superseded), ..Default::default() };
        let superseded = world.store.deliveries(filter, Page::default()).await.unwrap().items;
        let [older] = &superseded[..] else { panic!("{superseded:?}") };
        assert_eq!((older.event_type.as_str(), older.revision, older.finished_at.is_some()), ("purchase.updated", 1, true));
    }
}

story! {
    async fn an_event_that_fails_holds_back_later_ones_and_not_the_state(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Cancelled, TransitionKind::Resumed]).await;
        let key = world.key("r1");
        let first = world.attempt(key, hook.id, "a").await;
        assert_eq!(first.event_type, "user.subscription.cancelled");
        assert_eq!(world.finish(&first, Verdict::Retry { delay: duration(60_000) }).await, LaneState::More);
        world.happen("r1", 2, &[TransitionKind::Renewed]).await;
        assert_eq!(names(&drain(&world, "r1", hook.id).await), [("purchase.updated", 2)]);
        assert_eq!(world.acked_revision(), 2);
        world.pass(60_001);
        let sent = drain(&world, "r1", hook.id).await;
        let rest =
            [("user.subscription.cancelled", 1), ("user.subscription.resumed", 1), ("user.subscription.renewed", 2)];
        assert_eq!(names(&sent), rest);
        assert_eq!(world.acked_revision(), 2);
    }
}

story! {
    async fn pending_deliveries_are_shown_by_the_first_of_their_track(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Cancelled, TransitionKind::Resumed]).await;
        let key = world.key("r1");
        let first = world.attempt(key, hook.id, "a").await;
        world.finish(&first, Verdict::Retry { delay: duration(60_000) }).await;
        drain(&world, "r1", hook.id).await;
        let user = world.owner_of(key).await;
        let pending = async || world.store.pending_deliveries(user, vec![key]).await.unwrap().remove(0);
        let head = world.store.delivery(first.delivery_id).await.unwrap();
        let shown = pending().await;
        assert_eq!((shown.destination_id, shown.events, shown.failing), (hook.id, 2, 1));
        assert_eq!(Some(shown.next_due_at), head.next_due_at, "the event behind it is not sent before");
        let error = Some("the endpoint answered 500".to_owned());
        assert_eq!((shown.error, shown.repair), (error, None));
        for (class, expected) in [
            (AttemptClass::Refused, Some(Repair::AtDestination)),
            (AttemptClass::ForbiddenAddress, Some(Repair::InSettle)),
            (AttemptClass::Dns, None),
        ] {
            world.pass(60_001);
            let again = world.attempt(key, hook.id, class.as_str()).await;
            let mut end = finish(&again, RETRY);
            end.result.endpoint_signal = EndpointSignal::Neutral;
            (end.result.events[0].class, end.result.events[0].error) = (class, Some("no".to_owned()));
            world.end(end).await;
            let shown = pending().await;
            assert_eq!((shown.error.as_deref(), shown.repair), (Some("no"), expected), "{class:?}");
        }
        assert_eq!(world.store.pending_deliveries(user, vec![world.key("not bought")]).await.unwrap(), []);
    }
}

story! {
    async fn what_waits_follows_the_customer_of_each_event(world: World) {
        let hook = world.destination("hook").await;
        let anna = world.name("c1", "anna").await;
        let key = world.entitling("c1", "r1").await;
        drain(&world, "r1", hook.id).await;
        world.hand_over("c1", "otto").await;
        let otto = world.owner_of(key).await;
        world.pass(60_000);
        let recorded = world.raw().number("SELECT MAX(created_at) AS value FROM events");
        let first = world.attempt(key, hook.id, "a").await;
        world.finish(&first, Verdict::Retry { delay: duration(60_000) }).await;
        let pending = async |user| world.store.pending_deliveries(user, vec![key]).await.unwrap().remove(0);
        for user in [anna, otto] {
            let shown = pending(user).await;
            assert_eq!(shown.events, 2, "its event of the transfer, and the state of the purchase");
            assert_eq!(shown.since, domain::Timestamp::from_micros(recorded), "when it was recorded, not tried");
        }
        world.hand_over("c1", "anna").await;
        let both = (pending(anna).await.events, pending(otto).await.events);
        assert_eq!(both, (4, 4), "both transfers, each with its state");
    }
}

story! {
    async fn an_acknowledged_event_does_not_acknowledge_the_state(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        let event = world.attempt(key, hook.id, "a").await;
        world.finish(&event, Verdict::Delivered).await;
        assert_eq!(world.raw().number("SELECT COUNT(acked_revision) AS value FROM lanes"), 0);
        let state = world.attempt(key, hook.id, "b").await;
        assert!(state.body.contains("\"previous_acked_revision\":null"), "{}", state.body);
        world.finish(&state, Verdict::Delivered).await;
        world.happen("r1", 2, &[TransitionKind::Renewed]).await;
        let event = world.attempt(key, hook.id, "c").await;
        assert!(!event.body.contains("previous_acked_revision"), "{}", event.body);
        world.finish(&event, Verdict::Delivered).await;
        let state = world.attempt(key, hook.id, "d").await;
        assert!(state.body.contains("\"previous_acked_revision\":1"), "{}", state.body);
    }
}

story! {
    async fn a_newer_state_never_supersedes_events(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        let key = world.key("r1");
        // A request in flight whose worker dies.
        world.attempt(key, hook.id, "a").await;
        world.revise("r1", 2).await;
        world.revise("r1", 3).await;
        world.pass(LEASE_MS + 1);
        let sent = drain(&world, "r1", hook.id).await;
        assert_eq!(names(&sent), [("user.subscription.purchased", 1), ("purchase.updated", 3)]);
    }
}

story! {
    async fn each_destination_gets_its_chosen_types(world: World) {
        let mut hooks = Vec::new();
        for (name, events) in [("state", &["purchase.updated"][..]), ("users", &["user.*"]), ("one", &[RENEWED])] {
            let hook = world.destination(name).await;
            let events: Vec<String> = events.iter().map(|&name| name.to_owned()).collect();
            world.alter(hook.id, move |common| common.events = events.clone()).await;
            hooks.push(hook.id);
        }
        let deleted = world.destination("deleted").await.id;
        world.store.delete_destination(deleted).await.unwrap();
        hooks.push(deleted);
        world.happen("r1", 1, &[TransitionKind::TrialConverted, TransitionKind::Renewed]).await;
        let (state, users, one) = ((STATE, 1), (CONVERTED, 1), (RENEWED, 1));
        for (hook, expected) in hooks.into_iter().zip([vec![state], vec![users, one], vec![one], vec![]]) {
            assert_eq!(names(&drain(&world, "r1", hook).await), expected);
        }
    }
}

const STATE: &str = "purchase.updated";
const CONVERTED: &str = "user.journey.trial.converted";
const RENEWED: &str = "user.subscription.renewed";
