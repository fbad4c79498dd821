//! Users: the owners of purchases, and the announcements of their states.

use super::sending::{lease, must_send, rendering};
use super::world::{Report, World, happened, record, renewal, reported, story};
use domain::{CollapseKey, EventId, NotificationKind, TransitionKind, UserId};
use storage::{
    Error, EventFilter, Lease, Owner, Page, PurchaseFilter, Recorded, Rendered, Store, Verdict,
};

/// Accepts a notification of a receipt, optionally with a customer, and returns the purchase's key.
async fn accept_report(
    world: &World,
    receipt: &str,
    customer: Option<&str>,
    at_ms: i64,
) -> CollapseKey {
    let report = Report {
        kind: NotificationKind::Renewed,
        customer,
        related: None,
    };
    world
        .accept(reported(
            world.platform.id,
            &format!("{receipt}-{at_ms}"),
            receipt,
            at_ms,
            report,
        ))
        .await;
    world.key(receipt)
}

fn of_customer(world: &World, customer: &str) -> UserId {
    UserId::anonymous(world.app.id, "amazon", customer)
}

async fn owner(world: &World, key: CollapseKey) -> Option<UserId> {
    world.store.purchase(key).await.unwrap().standing.user_id
}

story! {
    async fn a_settling_makes_one_ordered_revision_of_its_user(world: World) {
        let key = world.key("r1");
        assert_eq!(world.happen("r1", 1, &[TransitionKind::TrialStarted, TransitionKind::Purchased]).await, 1);
        let filter = EventFilter { collapse_key: Some(key), ..Default::default() };
        let mut events = world.store.events(filter, Page::default()).await.unwrap().items;
        events.reverse();
        let types: Vec<_> = events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(types, ["user.journey.trial.started", "user.subscription.purchased", "purchase.updated"]);
        for event in &events {
            assert_eq!((event.id, event.revision), (EventId::of(key, 1, 1, &event.event_type, 0), 1));
        }
        assert_eq!(events[1].body["id"], events[1].id.to_string());
        assert_eq!((&events[0].body["user_revision"], &events[1].body["user_revision"]), (&1.into(), &1.into()));
        assert_eq!(world.user_revision(), 1);
        assert_eq!(world.raw().number("SELECT COUNT(user_revision) AS value FROM events"), 2);
        assert_eq!(world.raw().number("SELECT MAX(occurred_at) AS value FROM events"), 5_000);

        world.revise("r1", 2).await;
        assert_eq!(world.user_revision(), 1,
            "without a transition the user has no new revision");
        world.happen("r1", 3, &[TransitionKind::Renewed]).await;
        assert_eq!(world.user_revision(), 2);
    }
}

story! {
    async fn one_type_twice_in_one_revision_has_two_ids(world: World) {
        world.happen("r1", 1, &[TransitionKind::Cancelled, TransitionKind::Resumed, TransitionKind::Cancelled]).await;
        let key = world.key("r1");
        let filter = EventFilter { types: vec!["user.subscription.cancelled".to_owned()], ..Default::default() };
        let cancelled = world.store.events(filter, Page::default()).await.unwrap().items;
        let id = |n| EventId::of(key, 1, 1, "user.subscription.cancelled", n);
        assert_eq!(cancelled.iter().map(|event| event.id).collect::<Vec<_>>(), [id(1), id(0)]);
    }
}

story! {
    async fn purchases_of_one_customer_have_one_owner(world: World) {
        world.happen("r1", 1, &[TransitionKind::Purchased]).await;
        world.happen("r2", 1, &[TransitionKind::Purchased]).await;
        let user = of_customer(&world, "customer-1");
        assert_eq!(owner(&world, world.key("r1")).await, Some(user));
        assert_eq!(owner(&world, world.key("r2")).await, Some(user));
        assert_eq!(world.user_revision(), 2);
        let other = accept_report(&world, "r3", Some("customer-2"), 1).await;
        world.settle(other).await;
        world.destination("hook").await;
        assert_eq!(owner(&world, other).await, Some(of_customer(&world, "customer-2")));
    }
}

story! {
    async fn a_receipt_without_a_customer_owns_itself_until_named(world: World) {
        let key = accept_report(&world, "r1", None, 1).await;
        world.settle(key).await;
        assert_eq!(owner(&world, key).await, Some(of_customer(&world, "receipt/r1")));
        accept_report(&world, "r1", Some("customer-1"), 2).await;
        world.settle(key).await;
        assert_eq!(owner(&world, key).await, Some(of_customer(&world, "customer-1")));
        accept_report(&world, "r1", None, 3).await;
        world.settle(key).await;
        assert_eq!(owner(&world, key).await, Some(of_customer(&world, "customer-1")), "a known customer stays");
        let first = world.raw().texts("SELECT first_user_id AS value FROM purchases");
        assert_eq!(first, [of_customer(&world, "receipt/r1").to_string()]);
    }
}

story! {
    async fn a_user_named_by_a_receipt_stays_the_same_user(world: World) {
        let key = accept_report(&world, "r1", None, 1).await;
        world.settle(key).await;
        let user = of_customer(&world, "receipt/r1");
        world.name_users(Some("ext-1"));
        accept_report(&world, "r1", Some("customer-1"), 2).await;
        world.settle(key).await;
        assert_eq!(owner(&world, key).await, Some(user));
        let view = world.store.purchase(key).await.unwrap();
        assert_eq!(view.data["data"]["last_seen_external_id"], "ext-1");
        let second = accept_report(&world, "r2", Some("customer-1"), 1).await;
        world.settle(second).await;
        assert_eq!(owner(&world, second).await, Some(user),
            "later purchases of the store's customer belong to that user");
        let named = PurchaseFilter { external_id: Some("ext-1".to_owned()), ..Default::default() };
        assert_eq!(world.store.purchases(named, Page::default()).await.unwrap().items.len(), 2);
        let nobody = PurchaseFilter { external_id: Some("ext-2".to_owned()), ..Default::default() };
        assert_eq!(world.store.purchases(nobody, Page::default()).await.unwrap().items.len(), 0);
    }
}

story! {
    async fn a_purchase_keeps_its_first_owner_after_a_join(world: World) {
        let to = world.analytics("analytics").await.id;
        let named = |customer: &str| Owner::AppUser(customer.to_owned());
        world.store.name_customer(world.app.id, named("anna's"), "anna", None).await.unwrap();
        world.happen_to("guest", "r1", &[TransitionKind::Purchased]).await;
        world.store.name_customer(world.app.id, named("guest"), "anna", None).await.unwrap();
        world.happen_to("guest", "r1", &[TransitionKind::Renewed]).await;
        world.happen_to("guest", "r2", &[TransitionKind::Purchased]).await;
        let (anna, guest) = (of_customer(&world, "anna's"), of_customer(&world, "guest"));
        let (purchased, renewed) = ("user.subscription.purchased", "user.subscription.renewed");
        for (receipt, expected) in [
            ("r1", vec![(purchased, guest, guest), (renewed, anna, guest)]),
            ("r1", vec![("purchase.updated", anna, guest)]),
            ("r2", vec![(purchased, anna, anna)]),
        ] {
            let render = rendering(|unsent| {
                let id = |user: Option<UserId>| user.unwrap().to_string();
                let whose = [id(unsent.user_id), id(unsent.first_user_id), unsent.external_id.clone().unwrap()];
                Rendered::Body(whose.join(" "))
            });
            let sent = must_send(&world.store, Lease { render, ..lease(world.key(receipt), to, "a") }).await;
            let sent_bodies: Vec<_> = sent.batch.attempts.iter().map(|one| (one.event_type.as_str(), one.body.clone())).collect();
            let expected: Vec<_> =
                expected.into_iter().map(|(kind, user, first)| (kind, format!("{user} {first} anna"))).collect();
            assert_eq!(sent_bodies, expected);
            world.finish(&sent, Verdict::Delivered).await;
        }
    }
}

story! {
    async fn an_unaccepted_receipt_names_no_user(world: World) {
        let key = world.key("r1");
        let seq = world.notify("m1", "r1", 1).await;
        let mut refused = record(key, &world.load(key).await);
        refused.decision.purchase = domain::Purchase::default();
        refused.decision.outcomes = vec![(seq, domain::Outcome::Abandoned)];
        (refused.is_answer, refused.is_real) = (false, false);
        assert_eq!(world.done(refused).await, 0);
        let view = world.store.purchase(key).await.unwrap();
        assert_eq!((view.app_user_id, view.standing.user_id), (None, None));
        assert_eq!(world.count("users"), 0);
    }
}

/// Settles a purchase with a transition, and repeats that if the purchase changed meanwhile.
async fn settle(store: Store, key: CollapseKey) -> i64 {
    loop {
        let loaded = store.load(key, i64::MAX, 500).await.unwrap();
        match store
            .record(happened(record(key, &loaded), &[TransitionKind::Renewed]))
            .await
            .unwrap()
        {
            Recorded::Done { revision, .. } => return revision,
            Recorded::Moved => {}
        }
    }
}

story! {
    async fn purchases_of_one_user_settle_concurrently(world: World) {
        const ROUNDS: i64 = 12;
        let second = world.second_process().await;
        let (one, two) = (world.key("r1"), world.key("r2"));
        for round in 1..=ROUNDS {
            for receipt in ["r1", "r2"] {
                world.notify(&format!("{receipt}-{round}"), receipt, round).await;
            }
            let both = tokio::join!(
                tokio::spawn(settle(world.store.clone(), one)),
                tokio::spawn(settle(second.clone(), two)),
            );
            assert_eq!((both.0.unwrap(), both.1.unwrap()), (round, round));
        }
        assert_eq!(world.user_revision(), ROUNDS * 2);
        let statement = "SELECT COUNT(DISTINCT user_revision) AS value FROM events WHERE event_type <> 'purchase.updated'";
        assert_eq!(world.raw().number(statement), ROUNDS * 2, "each revision of the user is announced once");
    }
}

story! {
    async fn many_purchases_of_two_users_settle_in_any_order(world: World) {
        let second = world.second_process().await;
        let receipts: Vec<String> = (0..16).map(|number| format!("r{number}")).collect();
        for (number, receipt) in receipts.iter().enumerate() {
            accept_report(&world, receipt, Some(["customer-1", "customer-2"][number % 2]), 1).await;
        }
        let mut settlings = Vec::new();
        for (number, receipt) in receipts.iter().enumerate() {
            // Each process settles purchases of both users, in opposite orders.
            let store = if number % 4 < 2 { world.store.clone() } else { second.clone() };
            settlings.push(tokio::spawn(settle(store, world.key(receipt))));
        }
        for settling in settlings {
            assert_eq!(settling.await.unwrap(), 1);
        }
        let revisions = "SELECT COUNT(*) AS value FROM users WHERE revision = 8";
        assert_eq!(world.raw().number(revisions), 2);
    }
}

story! {
    async fn repeating_a_record_with_events_gives_the_same_answer(world: World) {
        world.destination("hook").await;
        world.accept(renewal(world.platform.id, "m1", "r1", 1)).await;
        let key = world.key("r1");
        let first = happened(record(key, &world.load(key).await), &[TransitionKind::TrialStarted, TransitionKind::Purchased]);
        let answer = world.store.record(first.clone()).await.unwrap();
        assert_eq!(world.second_process().await.record(first.clone()).await.unwrap(), answer);
        // The process was restarted before it received the answer.
        let World { store, config, folder: _folder, .. } = world;
        drop(store);
        let store = Store::open(config).await.unwrap();
        assert_eq!(store.record(first).await.unwrap(), answer);
        let events = store.events(EventFilter::default(), Page::default()).await.unwrap().items;
        assert_eq!(events.len(), 3);
        assert_eq!(store.deliveries(storage::DeliveryFilter::default(), Page::default()).await.unwrap().items.len(), 3);
        assert!(events.iter().all(|event| event.body["user_revision"].as_i64().unwrap_or(1) == 1));
        let third = happened(record(key, &store.load(key, i64::MAX, 500).await.unwrap()), &[TransitionKind::Renewed]);
        store.record(third).await.unwrap();
        let newest = store.events(EventFilter::default(), Page::default()).await.unwrap().items;
        assert_eq!(newest[1].body["user_revision"], 2, "the user's revision was raised once before");
    }
}

story! {
    async fn deliveries_that_wait_for_a_name_are_sent_after_a_new_owner(world: World) {
        let hook = world.destination("hook").await.id;
        let render = || rendering(|unsent| match &unsent.external_id {
            Some(id) => Rendered::Body(format!("{id} {}", unsent.revision)),
            None => Rendered::Wait { why: "nobody named the customer".to_owned() },
        });
        let waiting = "SELECT COUNT(*) AS value FROM deliveries WHERE status = 'waiting'";
        world.store.name_customer(world.app.id, Owner::AppUser("anna's".to_owned()), "anna", None).await.unwrap();
        let key = accept_report(&world, "r1", None, 1_000).await;
        world.settle(key).await;
        let leased = world.store.lease(Lease { render: render(), ..lease(key, hook, "a") }).await.unwrap();
        assert!(matches!(leased, storage::LeaseResult::Idle(storage::Idle::Closed { .. })), "{leased:?}");
        assert_eq!(world.raw().number(waiting), 1, "the receipt has a user of its own");
        accept_report(&world, "r1", Some("anna's"), 2_000).await;
        world.settle(key).await;
        assert_eq!(world.raw().number(waiting), 0);
        let sent = must_send(&world.store, Lease { render: render(), ..lease(key, hook, "b") }).await;
        assert_eq!(sent.body, "anna 2");
    }
}

story! {
    async fn a_record_that_fails_leaves_nothing_behind(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        let whole = happened(record(key, &world.load(key).await), &[TransitionKind::Purchased]);
        // The last of the record's events cannot be written.
        let taken = EventId::of(key, 1, 1, "purchase.updated", 0);
        let other = world.key("r2");
        world.notify("m2", "r2", 1).await;
        world.settle(other).await;
        world.raw().run(&format!("UPDATE events SET id = '{taken}'"));
        assert!(matches!(world.store.record(whole.clone()).await.unwrap_err(), Error::Raced(_)));
        assert_eq!(world.load(key).await.revision, 0);
        assert_eq!(world.count("events"), 1);
        assert_eq!(world.raw().number("SELECT MAX(revision) AS value FROM users"), 0);
        world.raw().run(&format!("UPDATE events SET id = '{}'", EventId::of(other, 1, 1, "purchase.updated", 0)));
        assert_eq!(world.done(whole).await, 1);
        assert_eq!(world.count("events"), 3);
    }
}
