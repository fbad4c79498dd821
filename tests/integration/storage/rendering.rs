//! Bodies: rendered with the known data when an event is first sent, and frozen. Some events are not sent.

use super::sending::{RETRY, Sent, finish, lease, must_send, rendering};
use super::world::{LEASE_MS, World, new_platform, renewal, story};
use domain::{CollapseKey, DestinationId, Environment, TransitionKind, UserId};
use std::sync::{Arc, Mutex};
use storage::{
    AttemptClass, DeliveryFilter, DeliveryStatus, DestinationChange, Filter, Finish, Idle, Lease,
    LeaseResult, Mode, Owner, Page, Render, Rendered, Unsent, Verdict,
};

fn app_user(name: &str) -> Owner {
    Owner::AppUser(name.to_owned())
}

/// Returns the type and the status of each delivery to a destination, oldest first.
async fn statuses(world: &World, to: DestinationId) -> Vec<(String, DeliveryStatus)> {
    let filter = DeliveryFilter {
        destination_id: Some(to),
        ..Default::default()
    };
    let deliveries = world
        .store
        .deliveries(filter, Page::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .rev();
    deliveries.map(|one| (one.event_type, one.status)).collect()
}

/// Returns a renderer that waits until the customer has an external id.
fn waits_for_a_name() -> Render {
    rendering(|unsent| match &unsent.external_id {
        Some(id) => Rendered::Body(format!("{id} {}", unsent.event_type)),
        None => Rendered::Wait {
            why: "the customer has no id yet".to_owned(),
        },
    })
}

async fn lease_by(
    world: &World,
    render: Render,
    (key, to): (CollapseKey, DestinationId),
) -> LeaseResult {
    world
        .store
        .lease(Lease {
            render,
            ..lease(key, to, "a")
        })
        .await
        .unwrap()
}

story! {
    async fn a_delivery_that_waits_for_a_name_is_not_leased(world: World) {
        let hook = world.destination("hook").await;
        world.happen_to("anna's", "r1", &[TransitionKind::Purchased]).await;
        let lane = (world.key("r1"), hook.id);
        assert!(matches!(lease_by(&world, waits_for_a_name(), lane).await, LeaseResult::Idle(Idle::Closed { last_seq: 2 })));
        let waiting = |kind: &str| (kind.to_owned(), DeliveryStatus::Waiting);
        let both = [waiting("user.subscription.purchased"), waiting("purchase.updated")];
        assert_eq!(statuses(&world, hook.id).await, both);
        assert_eq!(world.count("attempts"), 0, "nothing was attempted");
        world.pass(100_000);
        assert_eq!(world.store.lanes(lane.0).await.unwrap(), []);
        assert_eq!(world.store.late_destinations().await.unwrap().destinations, []);
        assert_eq!(world.store.destination_need(hook.id, 9).await.unwrap(), storage::DestinationNeed::Rest);
        let listed = DeliveryFilter { status: Some(DeliveryStatus::Waiting), ..Default::default() };
        let listed = world.store.deliveries(listed, Page::default()).await.unwrap().items;
        assert_eq!(listed[0].last_error.as_deref(), Some("the customer has no id yet"));
        assert_eq!((listed[0].attempts, listed[0].next_due_at, listed[0].finished_at), (0, None, None));

        world.store.name_customer(world.app.id, app_user("somebody else"), "otto", None).await.unwrap();
        assert!(matches!(lease_by(&world, waits_for_a_name(), lane).await, LeaseResult::Idle(Idle::Closed { .. })));
        world.store.name_customer(world.app.id, app_user("anna's"), "anna", None).await.unwrap();
        assert!(!world.store.lanes(lane.0).await.unwrap()[0].failing);
        for expected in ["anna user.subscription.purchased", "anna purchase.updated"] {
            let sent = must_send(&world.store, Lease { render: waits_for_a_name(), ..lease(lane.0, lane.1, "b") }).await;
            assert_eq!((sent.body.as_str(), sent.number), (expected, 1));
            world.finish(&sent, Verdict::Delivered).await;
        }
    }
}

story! {
    async fn a_user_who_joins_a_named_customer_is_sent_by_that_name(world: World) {
        let to = world.analytics("analytics").await.id;
        world.store.name_customer(world.app.id, app_user("first"), "anna", None).await.unwrap();
        world.happen_to("second", "r2", &[TransitionKind::Purchased]).await;
        let lane = (world.key("r2"), to);
        assert!(matches!(lease_by(&world, waits_for_a_name(), lane).await, LeaseResult::Idle(Idle::Closed { .. })));
        world.store.name_customer(world.app.id, app_user("second"), "anna", None).await.unwrap();
        let sent = must_send(&world.store, Lease { render: waits_for_a_name(), ..lease(lane.0, lane.1, "b") }).await;
        assert_eq!(sent.body, "anna user.subscription.purchased");
    }
}

story! {
    async fn a_name_set_concurrently_is_never_missed(world: World) {
        let hook = world.destination("hook").await;
        let second = world.second_process().await;
        for number in 0..20 {
            let (customer, receipt) = (format!("customer {number}"), format!("r{number}"));
            world.happen_to(&customer, &receipt, &[TransitionKind::Purchased]).await;
            let waits = Lease { render: waits_for_a_name(), ..lease(world.key(&receipt), hook.id, "a") };
            let named = format!("named {number}");
            let (leased, named) = tokio::join!(
                second.lease(waits),
                world.store.name_customer(world.app.id, app_user(&customer), &named, None)
            );
            drop((leased.unwrap(), named.unwrap()));
            assert_eq!(world.deliveries_in("waiting"), 0);
        }
    }
}

story! {
    async fn changed_settings_recheck_everything_that_waits(world: World) {
        let (hook, other) = (world.destination("hook").await, world.destination("other").await);
        world.happen_to("anna's", "r1", &[TransitionKind::Purchased]).await;
        for to in [hook.id, other.id] {
            lease_by(&world, waits_for_a_name(), (world.key("r1"), to)).await;
        }
        let change = DestinationChange { settings: Some(hook.settings), ..Default::default() };
        world.store.update_destination(hook.id, change, |_| {}).await.unwrap();
        let sent = world.attempt(world.key("r1"), hook.id, "a").await;
        assert_eq!(sent.types(), ["user.subscription.purchased"]);
        assert!(statuses(&world, other.id).await.iter().all(|(_, status)| *status == DeliveryStatus::Waiting));
    }
}

story! {
    async fn a_skipped_or_refused_event_lets_the_next_pass(world: World) {
        let hook = world.destination("hook").await;
        world.happen("r1", 1, &[TransitionKind::Cancelled, TransitionKind::Resumed, TransitionKind::Renewed]).await;
        let lane = (world.key("r1"), hook.id);
        let render = rendering(|unsent| match unsent.event_type.as_str() {
            "user.subscription.cancelled" => Rendered::Skip { why: "the wrong environment".to_owned() },
            "user.subscription.resumed" => Rendered::Refuse { why: "the id is too short".to_owned() },
            other => Rendered::Body(other.to_owned()),
        });
        let leased = lease_by(&world, render.clone(), lane).await;
        assert!(matches!(leased, LeaseResult::Undeliverable { .. }), "operators get an event: {leased:?}");
        let LeaseResult::Send(batch) = lease_by(&world, render, lane).await else { panic!("nothing to send") };
        assert_eq!(batch.attempts[0].body, "user.subscription.renewed");
        let filter = DeliveryFilter { destination_id: Some(hook.id), ..Default::default() };
        let mut closed = world.store.deliveries(filter, Page::default()).await.unwrap().items;
        closed.retain(|delivery| delivery.status != DeliveryStatus::Pending);
        let bodies: Vec<_> =
            closed.iter().map(|one| (one.status.as_str(), one.last_error.as_deref().unwrap(), one.attempts)).collect();
        assert_eq!(bodies, [("failed", "the id is too short", 0), ("skipped", "the wrong environment", 0)]);
        assert!(closed.iter().all(|delivery| delivery.finished_at.is_some()));
        assert_eq!(world.count("attempts"), 1);
        let skipped = DeliveryFilter { status: Some(DeliveryStatus::Skipped), ..Default::default() };
        assert_eq!(world.store.deliveries(skipped, Page::default()).await.unwrap().items.len(), 1);
        assert_eq!(world.store.health(hook.id).await.unwrap().health.failures, 0);
    }
}

story! {
    async fn events_skipped_at_the_head_are_not_in_the_batch(world: World) {
        let to = world.analytics("analytics").await.id;
        world.happen("r1", 1, &[TransitionKind::Cancelled, TransitionKind::Resumed, TransitionKind::Renewed]).await;
        let render = rendering(|unsent| match unsent.event_type.as_str() {
            "user.subscription.resumed" => Rendered::Body("body".to_owned()),
            _ => Rendered::Skip { why: "not wanted".to_owned() },
        });
        let sent = must_send(&world.store, Lease { render, ..lease(world.key("r1"), to, "a") }).await;
        assert_eq!(sent.types(), ["user.subscription.resumed"]);
    }
}

story! {
    async fn a_body_is_frozen_per_destination(world: World) {
        let (one, two) = (world.destination("one").await, world.destination("two").await);
        world.revise("r1", 1).await;
        let key = world.key("r1");
        let body_of = |text: &'static str| Arc::new(move |to: &storage::Destination, _: &Unsent| {
            Rendered::Body(format!("{text} for {}", to.name))
        });
        let send = async |to: &storage::Destination, text| {
            must_send(&world.store, Lease { render: body_of(text), ..lease(key, to.id, "a") }).await
        };
        let mut first = send(&one, "first").await;
        assert_eq!(first.body, "first for one");
        let again = async |sent: &mut Sent| {
            world.finish(sent, RETRY).await;
            world.pass(5_001);
            *sent = send(&one, "second").await;
        };
        again(&mut first).await;
        assert_eq!((first.body.as_str(), first.number), ("first for one", 2), "the same id has the same bytes");
        assert_eq!(send(&two, "second").await.body, "second for two");
    }
}

story! {
    async fn a_body_may_use_everything_that_is_known(world: World) {
        let to = world.analytics("analytics").await.id;
        let named = world.store.name_customer(world.app.id, app_user("customer-1"), "anna", None).await.unwrap();
        world.happen("r1", 1, &[TransitionKind::TrialConverted, TransitionKind::Renewed]).await;
        world.happen("r1", 2, &[TransitionKind::Cancelled]).await;
        let seen: Arc<Mutex<Vec<Unsent>>> = Arc::default();
        let render = {
            let seen = seen.clone();
            rendering(move |unsent| {
                seen.lock().unwrap().push(unsent.clone());
                Rendered::Body(unsent.event_id.to_string())
            })
        };
        for token in ["a", "b"] {
            let lease = Lease { render: render.clone(), ..lease(world.key("r1"), to, token) };
            let sent = must_send(&world.store, lease).await;
            world.finish(&sent, Verdict::Delivered).await;
        }
        let seen = seen.lock().unwrap();
        let types: Vec<_> = seen.iter().map(|unsent| unsent.event_type.as_str()).collect();
        let [converted, renewed, cancelled] =
            ["user.journey.trial.converted", "user.subscription.renewed", "user.subscription.cancelled"];
        assert_eq!(types, [converted, renewed, cancelled, "purchase.updated"]);
        let siblings = |unsent: &Unsent| unsent.siblings.iter().map(|one| one.event_type.clone()).collect::<Vec<_>>();
        assert_eq!((siblings(&seen[0]), siblings(&seen[2])), (vec![converted.to_owned(), renewed.to_owned()], vec![cancelled.to_owned()]));
        assert!(seen[3].siblings.is_empty() && seen[0].siblings[0].event_id == seen[0].event_id);
        for (unsent, (revision, user_revision)) in seen.iter().zip([(1, Some(1)), (1, Some(1)), (2, Some(2)), (2, None)]) {
            assert_eq!((unsent.revision, unsent.user_revision), (revision, user_revision));
            assert_eq!((unsent.user_id, unsent.external_id.as_deref()), (Some(named.user_id), Some("anna")));
            assert_eq!((unsent.store.as_str(), unsent.environment), ("amazon", Environment::Production));
            assert_eq!(unsent.data["purchase_guid"], "r1");
            assert_eq!(unsent.acked_revision, None);
        }
        assert_ne!(seen[0].data["expires_at"], seen[3].data["expires_at"], "each has the record of its own revision");
        assert_eq!(seen[2].data, seen[3].body["data"]);
        assert_eq!(seen[2].occurred_at, Some(domain::Timestamp::from_millis(5)));
        assert_eq!(seen[3].occurred_at, None);
    }
}

story! {
    async fn a_state_is_sent_for_the_owner_at_its_recording(world: World) {
        let to = world.analytics("analytics").await.id;
        world.store.name_customer(world.app.id, app_user("first"), "anna", None).await.unwrap();
        world.happen_to("second", "p1", &[TransitionKind::Renewed]).await;
        world.store.name_customer(world.app.id, app_user("second"), "anna", None).await.unwrap();
        let users = rendering(|unsent| Rendered::Body(format!("{:?} {:?}", unsent.user_id, unsent.external_id)));
        let nameless = UserId::anonymous(world.app.id, "amazon", "second");
        for _ in 0..2 {
            let sent = must_send(&world.store, Lease { render: users.clone(), ..lease(world.key("p1"), to, "a") }).await;
            assert_eq!(sent.body, format!("{:?} {:?}", Some(nameless), Some("anna")), "{}", sent.event_type);
            world.finish(&sent, Verdict::Delivered).await;
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn concurrent_events_name_the_one_queued_first(world: World) {
        let to = world.analytics("analytics").await.id;
        world.alter(to, move |common| common.events = vec!["user.subscription.*".to_owned()]).await;
        let hook = world.destination("hook").await.id;
        world.happen("r1", 1, &[TransitionKind::TrialConverted, TransitionKind::Renewed]).await;
        let queued = || rendering(|unsent| {
            Rendered::Body(format!("{:?}", unsent.siblings.iter().map(|one| one.queued_seq.is_some()).collect::<Vec<_>>()))
        });
        let sent = must_send(&world.store, Lease { render: queued(), ..lease(world.key("r1"), to, "a") }).await;
        assert_eq!((sent.types(), sent.body.as_str()), (vec!["user.subscription.renewed"], "[false, true]"));
        let sent = must_send(&world.store, Lease { render: queued(), ..lease(world.key("r1"), hook, "b") }).await;
        assert_eq!(sent.body, "[true, true]", "each destination by itself");
    }
}

story! {
    async fn an_older_user_state_is_stale_after_a_newer_ack(world: World) {
        let (to, hook) = (world.analytics("analytics").await.id, world.destination("hook").await.id);
        // The `renewed` of P1 fails, the `expired` of P2 is delivered, and then P1's event is sent again.
        world.happen("p1", 1, &[TransitionKind::Renewed]).await;
        let stuck = world.attempt(world.key("p1"), to, "a").await;
        assert!(!stuck.is_stale);
        world.finish(&stuck, RETRY).await;
        world.happen("p2", 1, &[TransitionKind::Expired]).await;
        let newer = world.attempt(world.key("p2"), to, "b").await;
        assert!(!newer.is_stale);
        world.finish(&newer, Verdict::Delivered).await;
        world.pass(5_001);
        let state = world.attempt(world.key("p1"), to, "c").await;
        assert!(state.event_type == "purchase.updated" && !state.is_stale,
            "a `purchase.updated` has no state of the user");
        world.finish(&state, Verdict::Delivered).await;
        let again = world.attempt(world.key("p1"), to, "d").await;
        assert!(again.event_type == "user.subscription.renewed" && again.is_stale);
        assert_eq!(again.body, stuck.body, "it is decided anew at each attempt");
        world.finish(&again, Verdict::Delivered).await;
        let acked = "SELECT MAX(acked_revision) AS value FROM user_lanes";
        assert_eq!(world.raw().number(acked), 2, "the acknowledged revision never falls");
        world.happen("p1", 2, &[TransitionKind::Cancelled]).await;
        assert!(!world.attempt(world.key("p1"), to, "e").await.is_stale);
        assert!(!world.attempt(world.key("p1"), hook, "f").await.is_stale);
    }
}

story! {
    async fn an_older_user_state_is_stale_after_a_newer_was_sent(world: World) {
        let to = world.analytics("analytics").await.id;
        world.happen("p1", 1, &[TransitionKind::Renewed]).await;
        let stuck = world.attempt(world.key("p1"), to, "a").await;
        world.finish(&stuck, RETRY).await;
        world.happen("p2", 1, &[TransitionKind::Expired]).await;
        // Amplitude may have accepted the event although its answer was lost, and would ignore a repetition.
        let newer = world.attempt(world.key("p2"), to, "b").await;
        world.finish(&newer, RETRY).await;
        world.pass(5_001);
        world.send("p1", to, Verdict::Delivered).await;
        let again = world.attempt(world.key("p1"), to, "c").await;
        assert!(again.event_type == "user.subscription.renewed" && again.is_stale);
        world.finish(&again, Verdict::Delivered).await;
        world.send("p2", to, Verdict::Delivered).await;
        let newest = world.attempt(world.key("p2"), to, "d").await;
        assert!(newest.event_type == "user.subscription.expired" && !newest.is_stale, "the event has the newest state");
        let statement = "SELECT MAX(sent_revision) AS value FROM user_lanes";
        assert_eq!(world.raw().number(statement), 2, "a stale state does not count as sent");
    }
}

/// Returns the end of a request that was answered 400 with this verdict.
fn refused(sent: &Sent, verdict: Verdict) -> Finish {
    Finish {
        status: Some(400),
        ..finish(sent, verdict)
    }
}

fn newest_sent(world: &World) -> i64 {
    world
        .raw()
        .number("SELECT COALESCE(MAX(sent_revision), 0) AS value FROM user_lanes")
}

story! {
    async fn an_undelivered_state_makes_no_older_one_stale(world: World) {
        let to = world.analytics("analytics").await.id;
        for (receipt, what) in [("p1", TransitionKind::Renewed), ("p2", TransitionKind::Cancelled)] {
            world.happen(receipt, 1, &[what]).await;
        }
        let open = world.attempt(world.key("p1"), to, "a").await;
        world.finish(&open, RETRY).await;
        let second = world.attempt(world.key("p2"), to, "b").await;
        world.end(refused(&second, RETRY)).await;
        world.happen("p3", 1, &[TransitionKind::Expired, TransitionKind::Purchased]).await;
        let newest = world.attempt(world.key("p3"), to, "c").await;
        assert_eq!((newest.types().len(), newest_sent(&world)), (2, 3));
        world.end(refused(&newest, Verdict::Failed)).await;
        assert_eq!(newest_sent(&world), 1, "the second was refused too, and the first may have arrived");
        world.pass(5_001);
        for receipt in ["p1", "p2"] {
            world.send(receipt, to, Verdict::Delivered).await;
        }
        let second = world.attempt(world.key("p2"), to, "d").await;
        assert!(second.event_type == "user.subscription.cancelled" && !second.is_stale);
        world.finish(&second, Verdict::Delivered).await;
        world.send("p3", to, Verdict::Delivered).await;
        world.happen("p3", 2, &[TransitionKind::Renewed]).await;
        let newest = world.attempt(world.key("p3"), to, "e").await;
        world.end(refused(&newest, Verdict::Failed)).await;
        assert_eq!(newest_sent(&world), 2, "a refusal does not undo an acknowledged state");
        assert!(world.attempt(world.key("p1"), to, "f").await.is_stale);
    }
}

story! {
    async fn a_state_that_may_have_arrived_counts_as_sent(world: World) {
        let to = world.analytics("analytics").await.id;
        for receipt in ["p1", "p2"] {
            world.happen(receipt, 1, &[TransitionKind::Renewed]).await;
        }
        let older = world.attempt(world.key("p1"), to, "a").await;
        world.end(refused(&older, RETRY)).await;
        let lost = world.attempt(world.key("p2"), to, "b").await;
        // The worker died, so its request may have been accepted.
        world.pass(LEASE_MS + 1);
        let again = world.attempt(world.key("p2"), to, "c").await;
        assert_eq!(again.delivery_id, lost.delivery_id);
        world.end(refused(&again, Verdict::Failed)).await;
        assert_eq!((newest_sent(&world), statuses(&world, to).await[2].1), (2, DeliveryStatus::Failed));
        world.send("p1", to, Verdict::Delivered).await;
        assert!(world.attempt(world.key("p1"), to, "d").await.is_stale);
    }
}

story! {
    async fn states_of_an_anonymous_user_are_stale_after_the_join(world: World) {
        let to = world.analytics("analytics").await.id;
        world.store.name_customer(world.app.id, app_user("first"), "anna", None).await.unwrap();
        world.happen_to("second", "p1", &[TransitionKind::Renewed]).await;
        let stuck = world.attempt(world.key("p1"), to, "a").await;
        world.finish(&stuck, RETRY).await;
        let anna = world.store.name_customer(world.app.id, app_user("second"), "anna", None).await.unwrap();
        assert_ne!(UserId::anonymous(world.app.id, "amazon", "second"), anna.user_id);
        world.pass(5_001);
        let state = world.attempt(world.key("p1"), to, "s").await;
        world.finish(&state, Verdict::Delivered).await;
        let again = world.attempt(world.key("p1"), to, "b").await;
        assert!(!again.is_stale, "nothing was sent about this user to that destination yet");
        world.finish(&again, RETRY).await;
        world.happen_to("first", "p2", &[TransitionKind::Purchased]).await;
        let newer = world.attempt(world.key("p2"), to, "c").await;
        world.finish(&newer, Verdict::Delivered).await;
        world.pass(5_001);
        assert!(world.attempt(world.key("p1"), to, "d").await.is_stale);
    }
}

story! {
    async fn the_time_of_a_delivery_begins_with_its_first_request(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        for token in ["a", "b"] {
            let sent = world.attempt(key, hook.id, token).await;
            let mut end = finish(&sent, RETRY);
            (end.result.events[0].class, end.result.events[0].counts) = (AttemptClass::InvalidSettings, false);
            world.end(end).await;
            assert_eq!(world.raw().number("SELECT COUNT(first_tried_at) AS value FROM deliveries"), 0);
            world.pass(5_001);
        }
        let before = world.store.now().await.unwrap();
        let first = world.attempt(key, hook.id, "c").await;
        assert!(first.first_tried_at.unwrap() >= before);
        world.finish(&first, RETRY).await;
        world.pass(600_000);
        let sent = world.attempt_as(Mode::Drain, key, hook.id, "d").await;
        assert!(world.store.now().await.unwrap().millis_since(sent.first_tried_at.unwrap()) >= 600_000);
        world.pass(LEASE_MS + 1);
    }
}

story! {
    async fn a_deleted_destination_has_nothing_pending_that_waited(world: World) {
        let hook = world.destination("hook").await;
        world.happen_to("anna's", "r1", &[TransitionKind::Purchased]).await;
        lease_by(&world, waits_for_a_name(), (world.key("r1"), hook.id)).await;
        world.store.delete_destination(hook.id).await.unwrap();
        world.store.name_customer(world.app.id, app_user("anna's"), "anna", None).await.unwrap();
        let failed = |kind: &str| (kind.to_owned(), DeliveryStatus::Failed);
        let both = [failed("user.subscription.purchased"), failed("purchase.updated")];
        assert_eq!(statuses(&world, hook.id).await, both);
    }
}

story! {
    async fn a_destination_gets_its_chosen_platforms_and_environments(world: World) {
        let mut sandbox = new_platform(&world.app, "sandbox");
        sandbox.settings.environment = Environment::Sandbox;
        let sandbox = world.store.new_platform(sandbox).await.unwrap();
        let mut hooks = Vec::new();
        let (all, none) = (Filter::default(), vec![]);
        let only = |platforms: &[domain::PlatformId], environments: &[Environment]| Filter {
            platforms: platforms.to_vec(),
            environments: environments.to_vec(),
        };
        let (here, there) = (world.platform.id, sandbox.id);
        let [money, test] = [Environment::Production, Environment::Sandbox];
        let wanted = [
            (all, vec!["r1", "r2"]),
            (only(&[here], &[]), vec!["r1"]),
            (only(&[there], &[]), vec!["r2"]),
            (only(&[here, there], &[test]), vec!["r2"]),
            (only(&[], &[money]), vec!["r1"]),
            (only(&[here], &[test]), none),
        ];
        for (number, (filter, receipts)) in wanted.into_iter().enumerate() {
            let hook = world.destination(&format!("hook {number}")).await;
            let wanted = filter.clone();
            assert_eq!(world.alter(hook.id, move |common| common.filter = wanted.clone()).await.filter, filter);
            hooks.push((hook.id, receipts));
        }
        world.revise("r1", 1).await;
        world.accept(renewal(there, "m1", "r2", 1)).await;
        let other = CollapseKey::of(there, "r2");
        world.settle(other).await;
        for (number, (hook, receipts)) in hooks.into_iter().enumerate() {
            let keys = [("r1", world.key("r1")), ("r2", other)];
            let mut pending = Vec::new();
            for (receipt, key) in keys {
                if matches!(world.lease(key, hook, "a").await, LeaseResult::Send(_)) {
                    pending.push(receipt);
                }
            }
            assert_eq!(pending, receipts, "hook {number}");
        }
    }
}
