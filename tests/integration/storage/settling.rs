//! Loading and recording: every notification gets one outcome, and every decision is recorded once.

use super::world::{WINDOW_MS, World, is_missing, record, story};
use domain::{Decision, EventId, Outcome};
use storage::{EventFilter, Page, PurchaseFilter, Recorded};

story! {
    async fn a_purchase_without_notifications_is_unknown(world: World) {
        let loaded = world.load(world.key("r1")).await;
        assert!(loaded.platform_id.is_none() && loaded.notifications.is_empty() && loaded.lanes.is_empty());
        assert_eq!((loaded.revision, loaded.settling, loaded.newest_seq), (0, 0, 0));
        assert!(is_missing(&world.store.record(record(world.key("r1"), &loaded)).await.unwrap_err()));
    }
}

story! {
    async fn only_rows_above_through_extend_the_wait(world: World) {
        let first = world.notify("m1", "r1", 1).await;
        world.pass(WINDOW_MS - 10_000);
        let began = world.store.now().await.unwrap();
        let second = world.notify("m2", "r1", 2).await;
        let key = world.key("r1");
        let loaded = world.store.load(key, first, 500).await.unwrap();
        world.check_left(loaded.quiet, WINDOW_MS, began).await;
        assert_eq!((loaded.newest_seq, loaded.cap), (second, None));
        assert!(world.store.load(key, second, 500).await.unwrap().quiet.is_zero());
        world.pass(WINDOW_MS);
        assert!(world.store.load(key, first, 500).await.unwrap().quiet.is_zero());
    }
}

story! {
    async fn a_record_of_before_a_hold_is_not_written(world: World) {
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        let loaded = world.load(key).await;
        let until = world.store.now().await.unwrap().plus_millis(WINDOW_MS);
        world.store.hold(key, until, "ann", "looking").await.unwrap();
        assert_eq!(world.store.record(record(key, &loaded)).await.unwrap(), storage::Recorded::Moved);
        world.pass(WINDOW_MS + 1);
        assert_eq!(world.settle(key).await.0, 1);
    }
}

story! {
    async fn the_longest_wait_counts_from_the_oldest_row(world: World) {
        world.set(|settings| settings.max_wait_ms = Some(300_000)).await;
        let began = world.store.now().await.unwrap();
        world.notify("m1", "r1", 1).await;
        world.pass(100_000);
        world.notify("m2", "r1", 2).await;
        let cap = world.load(world.key("r1")).await.cap.unwrap();
        world.check_left(cap, 200_000, began).await;
    }
}

story! {
    async fn a_settled_notification_names_its_revision(world: World) {
        world.destination("hook").await;
        world.notify("m1", "r1", 1).await;
        world.notify("m2", "r1", 2).await;
        let key = world.key("r1");
        let (revision, lanes) = world.settle(key).await;
        assert_eq!((revision, lanes.len(), lanes[0].failing), (1, 1, false));
        for view in world.store.notifications_of_purchase(key, Page::default()).await.unwrap().items {
            assert_eq!((view.outcome, view.revision, view.waiting_for), (Some(Outcome::Settled), Some(1), None));
        }
        let loaded = world.load(key).await;
        assert_eq!((loaded.platform_id.is_some(), loaded.revision, loaded.settling, loaded.newest_seq), (true, 1, 1, 0));
        let events = world.store.events(EventFilter { collapse_key: Some(key), ..Default::default() }, Page::default()).await.unwrap();
        let event = &events.items[0];
        assert_eq!(event.id, EventId::of(key, 1, 1, "purchase.updated", 0));
        assert_eq!(event.body["attributes"]["coalesced"], 2);
        assert_eq!(event.body["attributes"]["org_id"], world.store.installation().org_id.to_string());
        let filter = PurchaseFilter { receipt_id: Some("r1".to_owned()), ..Default::default() };
        let found = world.store.purchases(filter, Page::default()).await.unwrap().items;
        assert_eq!((found.len(), found[0].collapse_key, found[0].revision), (1, key, 1));
        assert_eq!(world.store.purchase(key).await.unwrap().data["attributes"]["revision"], 1);
    }
}

story! {
    async fn a_record_of_already_settled_notifications_has_moved(world: World) {
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        let stale = record(key, &world.load(key).await);
        world.notify("m2", "r1", 2).await;
        world.settle(key).await;
        assert_eq!(world.store.record(stale).await.unwrap(), Recorded::Moved);
        let mut skipping = record(key, &world.load(key).await);
        skipping.settling += 1;
        assert_eq!(world.store.record(skipping).await.unwrap(), Recorded::Moved);
        let mut of_another_revision = record(key, &world.load(key).await);
        of_another_revision.revision = 0;
        assert_eq!(world.store.record(of_another_revision).await.unwrap(), Recorded::Moved);
        assert_eq!(world.load(key).await.revision, 1);
    }
}

story! {
    async fn a_notification_that_was_discarded_meanwhile_is_not_settled(world: World) {
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        let stale = record(key, &world.load(key).await);
        assert_eq!(world.store.discard(key, None, "ann", "a test").await.unwrap(), 1);
        assert_eq!(world.store.record(stale).await.unwrap(), Recorded::Moved);
        let view = world.store.notifications_of("m1").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.reason.as_deref()), (Some(Outcome::Discarded), Some("ann: a test")));
    }
}

story! {
    async fn discarding_spares_later_notifications(world: World) {
        let seen = world.notify("m1", "r1", 1).await;
        world.notify("m2", "r1", 2).await;
        let key = world.key("r1");
        assert_eq!(world.store.discard(key, Some(seen), "ann", "a test").await.unwrap(), 1);
        assert_eq!(world.load(key).await.notifications.len(), 1);
    }
}

story! {
    async fn a_decision_that_changes_nothing_makes_no_event(world: World) {
        world.destination("hook").await;
        let (known, unknown) = (world.notify("m1", "r1", 1).await, world.notify("m2", "r1", 2).await);
        let key = world.key("r1");
        let loaded = world.load(key).await;
        let mut nothing = record(key, &loaded);
        nothing.decision = Decision {
            purchase: loaded.purchase,
            transitions: Vec::new(),
            outcomes: vec![(known, Outcome::Settled), (unknown, Outcome::Unknown)],
            waits: None,
            wake: None,
            lag: None,
            refunds: Vec::new(),
            older: Vec::new(),
        };
        let Recorded::Done { revision, lanes, .. } = world.store.record(nothing).await.unwrap() else { panic!("moved") };
        assert_eq!((revision, lanes.len()), (0, 0));
        assert_eq!(world.count("events"), 0);
        let view = world.store.notifications_of("m1").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.revision), (Some(Outcome::NoChange), Some(0)));
        let view = world.store.notifications_of("m2").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.revision), (Some(Outcome::Unknown), None));
    }
}

story! {
    async fn two_workers_record_the_same_settling_once(world: World) {
        world.destination("hook").await;
        let key = world.key("r1");
        let second = world.second_process().await;
        for number in 1..=10 {
            world.notify(&format!("m{number}"), "r1", number).await;
            let once = record(key, &world.load(key).await);
            let both = tokio::join!(world.store.record(once.clone()), second.record(once));
            assert_eq!(both.0.unwrap(), both.1.unwrap());
        }
        assert_eq!(world.count("events"), 10);
        assert_eq!(world.load(key).await.revision, 10);
    }
}

story! {
    async fn a_concurrent_discard_and_record_give_one_outcome_each(world: World) {
        let key = world.key("r1");
        let second = world.second_process().await;
        for number in 1..=20 {
            world.notify(&format!("m{number}"), "r1", number).await;
            let once = record(key, &world.load(key).await);
            let (recorded, discarded) = tokio::join!(second.record(once), world.store.discard(key, None, "ann", "a race"));
            let settled = matches!(recorded.unwrap(), Recorded::Done { .. });
            assert_eq!(i64::from(settled) + discarded.unwrap(), 1, "either the record or the discard set the outcome");
        }
    }
}

story! {
    async fn a_hold_is_shown_until_it_expires_or_is_released(world: World) {
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        let until = world.store.now().await.unwrap().plus_millis(60_000);
        world.store.hold(key, until, "ann", "looking").await.unwrap();
        let held = world.load(key).await.held.unwrap();
        world.check_left(held, 60_000, until.plus_millis(-60_000)).await;
        let view = world.store.notifications_of("m1").await.unwrap().remove(0);
        assert_eq!(view.waiting_for, Some(storage::WaitingFor::Hold));
        world.store.release(key).await.unwrap();
        assert_eq!(world.load(key).await.held, None);
        world.store.hold(key, until, "ann", "again").await.unwrap();
        world.pass(61_000);
        assert_eq!(world.load(key).await.held, None);
        assert!(is_missing(&world.store.hold(world.key("r9"), until, "ann", "?").await.unwrap_err()));
    }
}

story! {
    async fn a_purchase_keeps_its_customer_and_is_found_by_him(world: World) {
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        world.settle(key).await;
        let filter = PurchaseFilter { app_user_id: Some("customer-1".to_owned()), ..Default::default() };
        assert_eq!(world.store.purchases(filter, Page::default()).await.unwrap().items.len(), 1);
        let other = PurchaseFilter { app_user_id: Some("customer-2".to_owned()), ..Default::default() };
        assert_eq!(world.store.purchases(other, Page::default()).await.unwrap().items.len(), 0);
    }
}
