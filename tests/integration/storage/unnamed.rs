//! Deliveries that wait for their customer's external id: which wait, which are released, and which are given up.

use super::sending::{lease, must_send, rendering};
use super::world::{Report, World, reported, story};
use domain::time::millis;
use domain::user::{TRANSFERRED_FROM, TRANSFERRED_TO};
use domain::{CollapseKey, DestinationId, NotificationKind, TransitionKind};
use storage::{
    CustomerNames, DeliveryFilter, DeliveryView, Idle, LONGEST_WAIT, Lease, LeaseResult, Owner,
    Page, Render, Rendered, Store, Verdict,
};
use system_tests::rows;

/// Returns a renderer that waits until the customer has an external id.
fn waits() -> Render {
    rendering(|unsent| match &unsent.external_id {
        Some(id) => Rendered::Body(format!("{id} {} {}", unsent.event_type, unsent.revision)),
        None => Rendered::Wait {
            why: "the customer has no id yet".to_owned(),
        },
    })
}

fn waiting_lease(key: CollapseKey, to: DestinationId) -> Lease {
    Lease {
        render: waits(),
        ..lease(key, to, "a")
    }
}

/// Leases a lane in which everything must wait.
async fn put_aside(world: &World, receipt: &str, to: DestinationId) {
    let leased = world
        .store
        .lease(waiting_lease(world.key(receipt), to))
        .await
        .unwrap();
    assert!(
        matches!(leased, LeaseResult::Idle(Idle::Closed { .. })),
        "{leased:?}"
    );
}

async fn name(store: &Store, world: &World, customer: &str) {
    let owner = Owner::AppUser(customer.to_owned());
    store
        .name_customer(world.app.id, owner, &format!("named {customer}"), None)
        .await
        .unwrap();
}

/// Returns the type, revision and status of each delivery to a destination, oldest first.
async fn standing(world: &World, to: DestinationId) -> Vec<(String, i64, &'static str)> {
    let all = listed(world, to).await;
    all.into_iter()
        .map(|one| (one.event_type, one.revision, one.status.as_str()))
        .collect()
}

async fn listed(world: &World, to: DestinationId) -> Vec<DeliveryView> {
    let filter = DeliveryFilter {
        destination_id: Some(to),
        ..Default::default()
    };
    world
        .store
        .deliveries(filter, Page::default())
        .await
        .unwrap()
        .items
        .into_iter()
        .rev()
        .collect()
}

/// Makes all deliveries older, since the clock of a PostgreSQL server cannot be moved.
fn age(world: &World, millis: i64) {
    world.raw().run(&format!(
        "UPDATE deliveries SET created_at = created_at - {}",
        millis * 1000
    ));
}

const PURCHASED: &str = "user.subscription.purchased";
const RENEWED: &str = "user.subscription.renewed";
const UPDATED: &str = "purchase.updated";

story! {
    async fn of_the_states_of_a_purchase_the_newest_waits_alone(world: World) {
        let to = world.destination("hook").await.id;
        for (revision, what) in [TransitionKind::Purchased, TransitionKind::Renewed, TransitionKind::Renewed].iter().enumerate() {
            world.happen_to("anna's", "r1", &[*what]).await;
            put_aside(&world, "r1", to).await;
            let states = listed(&world, to).await;
            let waiting: Vec<_> = states.iter().filter(|one| one.event_type == UPDATED && one.finished_at.is_none()).collect();
            assert_eq!((waiting.len(), waiting[0].revision), (1, i64::try_from(revision).unwrap() + 1));
        }
        let expected = [
            (PURCHASED, 1, "waiting"), (UPDATED, 1, "superseded"), (RENEWED, 2, "waiting"), (UPDATED, 2, "superseded"),
            (RENEWED, 3, "waiting"), (UPDATED, 3, "waiting"),
        ];
        let expected = expected.map(|(kind, revision, status)| (kind.to_owned(), revision, status));
        assert_eq!(standing(&world, to).await, expected);
        assert_eq!(world.store.lanes(world.key("r1")).await.unwrap(), []);
        assert_eq!(world.broken(1000).await, []);

        name(&world.store, &world, "anna's").await;
        for (event_type, revision) in [(PURCHASED, 1), (RENEWED, 2), (RENEWED, 3), (UPDATED, 3)] {
            let sent = must_send(&world.store, waiting_lease(world.key("r1"), to)).await;
            assert_eq!(sent.body, format!("named anna's {event_type} {revision}"), "in order");
            world.finish(&sent, Verdict::Delivered).await;
        }
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_state_that_may_be_sent_ends_the_older_one_that_waits(world: World) {
        let to = world.destination("hook").await.id;
        world.happen_to("anna's", "r1", &[]).await;
        put_aside(&world, "r1", to).await;
        // As if a newer event had been recorded after the settings changed, and before the older one was reconsidered.
        world.happen_to("anna's", "r1", &[]).await;
        let sent = world.attempt(world.key("r1"), to, "b").await;
        assert_eq!(sent.revision, 2);
        let expected = [(UPDATED.to_owned(), 1, "superseded"), (UPDATED.to_owned(), 2, "pending")];
        assert_eq!(standing(&world, to).await, expected);
    }
}

story! {
    async fn what_waits_for_thirty_days_is_abandoned(world: World) {
        let (to, other) = (world.destination("hook").await.id, world.destination("other").await.id);
        world.happen_to("anna's", "r1", &[TransitionKind::Purchased]).await;
        put_aside(&world, "r1", to).await;
        age(&world, millis(LONGEST_WAIT) - 60_000);
        assert_eq!(world.store.give_up_unnamed(500).await.unwrap(), 0, "a minute is left");
        world.happen_to("anna's", "r1", &[TransitionKind::Renewed]).await;
        put_aside(&world, "r1", to).await;
        age(&world, 60_000);
        assert_eq!(world.store.give_up_unnamed(500).await.unwrap(), 1, "the event: a newer state stands for its state");
        assert_eq!(world.store.give_up_unnamed(500).await.unwrap(), 0);
        let expected = [
            (PURCHASED, 1, "skipped"), (UPDATED, 1, "superseded"), (RENEWED, 2, "waiting"), (UPDATED, 2, "waiting"),
        ];
        let expected = expected.map(|(kind, revision, status)| (kind.to_owned(), revision, status));
        assert_eq!(standing(&world, to).await, expected);
        let abandoned = &listed(&world, to).await[0];
        let why = abandoned.last_error.as_deref().unwrap();
        assert!(why.starts_with("no_login: ") && abandoned.finished_at.is_some(), "{abandoned:?}");
        assert!(standing(&world, other).await.iter().all(|(_, _, status)| *status == "pending"), "these do not wait");
        assert_eq!(world.store.destination_health(to).await.unwrap().backlog.skipped, 1);
        assert_eq!(world.broken(1000).await, []);

        name(&world.store, &world, "anna's").await;
        let sent = must_send(&world.store, waiting_lease(world.key("r1"), to)).await;
        assert_eq!(sent.body, format!("named anna's {RENEWED} 2"), "what was given up stays so");
    }
}

story! {
    async fn thousands_are_abandoned_in_bounded_batches(world: World) {
        let to = world.destination("hook").await.id;
        world.happen_to("anna's", "r1", &[]).await;
        world.raw().run("UPDATE deliveries SET status = 'waiting', last_error = 'no id'");
        let copies = rows::copies("SUBSTR(d.destination_id, 1, 23) || '-' || (100000000000 + i)", "i").numbered(1, 1199);
        world.raw().run(&copies.of_each(format!("deliveries d, numbers WHERE d.destination_id = '{to}' AND d.n = 0 ORDER BY i")));
        age(&world, millis(LONGEST_WAIT));
        let mut batches = Vec::new();
        while let count @ 1.. = world.store.give_up_unnamed(500).await.unwrap() {
            batches.push(count);
        }
        assert_eq!(batches, [500, 500, 200]);
        assert_eq!(world.count("deliveries WHERE status <> 'skipped'"), 0);
    }
}

story! {
    async fn a_name_set_at_the_end_of_the_wait_has_one_result(world: World) {
        let to = world.destination("hook").await.id;
        let second = world.second_process().await;
        for number in 0..20 {
            let (customer, receipt) = (format!("customer {number}"), format!("r{number}"));
            world.happen_to(&customer, &receipt, &[TransitionKind::Purchased]).await;
            put_aside(&world, &receipt, to).await;
            age(&world, millis(LONGEST_WAIT));
            let (abandoned, ()) = tokio::join!(second.give_up_unnamed(500), name(&world.store, &world, &customer));
            let abandoned = i64::try_from(abandoned.unwrap()).unwrap();
            let key = world.key(&receipt);
            let count = |status: &str| {
                world.count(&format!("deliveries WHERE collapse_key = '{key}' AND status = '{status}'"))
            };
            assert_eq!((count("skipped"), count("pending"), count("waiting")), (abandoned, 2 - abandoned, 0));
        }
    }
}

story! {
    async fn a_new_owner_at_the_moment_of_the_lease_is_never_missed(world: World) {
        let to = world.destination("hook").await.id;
        let second = world.second_process().await;
        name(&world.store, &world, "anna's").await;
        for number in 0..20 {
            let receipt = format!("r{number}");
            let key = world.key(&receipt);
            let nameless = Report { kind: NotificationKind::Renewed, customer: None, related: None };
            world.accept(reported(world.platform.id, &format!("{receipt}-1"), &receipt, 1_000, nameless)).await;
            world.settle(key).await;
            // The store's id of a customer who has an external id becomes known.
            let report = Report { kind: NotificationKind::Renewed, customer: Some("anna's"), related: None };
            world.accept(reported(world.platform.id, &format!("{receipt}-2"), &receipt, 2_000, report)).await;
            let (leased, _) = tokio::join!(second.lease(waiting_lease(key, to)), world.settle(key));
            drop(leased.unwrap());
            assert_eq!(world.deliveries_in("waiting"), 0);
        }
    }
}

story! {
    async fn a_transfer_from_a_guest_never_has_the_ids_of_the_new_owner(world: World) {
        let to = world.analytics("analytics").await.id;
        let key = world.entitling("guest", "r1").await;
        world.drain(key, to).await;
        for customer in ["hers", "guest"] {
            let ids = CustomerNames { external_id: "anna".to_owned(), analytics_device_id: Some("tv".to_owned()) };
            world.store.name_customer(world.app.id, Owner::AppUser(customer.to_owned()), ids, None).await.unwrap();
        }
        let ids = rendering(|unsent| {
            let (name, device) = (unsent.external_id.as_deref(), unsent.analytics_device_id.as_deref());
            Rendered::Body(format!("{} {name:?} {device:?}", unsent.event_type))
        });
        let sent = must_send(&world.store, Lease { render: ids, ..lease(key, to, "a") }).await;
        let bodies: Vec<&str> = sent.batch.attempts.iter().map(|attempt| attempt.body.as_str()).collect();
        let expected = [
            format!("{TRANSFERRED_FROM} None None"),
            format!("{TRANSFERRED_TO} Some(\"anna\") None"),
        ];
        assert_eq!(bodies, expected, "the guest's own device brings along what was counted without a name");
    }
}
