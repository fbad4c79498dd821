//! The sweep finds exactly what is overdue.

use super::aging::MINUTE_MS;
use super::world::{LEASE_MS, WINDOW_MS, World, story};
use domain::time::duration;
use domain::{DestinationId, TransitionKind};
use storage::{Due, Verdict};

async fn due(world: &World) -> Vec<Due> {
    world.store.due(100).await.unwrap()
}

/// Returns the destinations with an overdue delivery.
async fn late(world: &World) -> Vec<DestinationId> {
    world.store.late_destinations().await.unwrap().destinations
}

story! {
    async fn an_open_row_is_overdue_a_while_after_its_window(world: World) {
        world.notify("m1", "r1", 1).await;
        world.pass(WINDOW_MS + 10_000);
        assert_eq!(due(&world).await, []);
        world.pass(6_000);
        assert_eq!(due(&world).await, [Due { collapse_key: world.key("r1"), why: storage::DueReason::Unsettled }]);
        world.settle(world.key("r1")).await;
        assert_eq!(due(&world).await, []);
    }
}

story! {
    async fn a_window_that_was_restarted_is_not_overdue(world: World) {
        world.notify("m1", "r1", 1).await;
        world.pass(WINDOW_MS + 10_000);
        world.notify("m2", "r1", 2).await;
        world.pass(60_000);
        assert_eq!(due(&world).await, []);
        world.pass(WINDOW_MS);
        assert_eq!(due(&world).await.len(), 1);
    }
}

story! {
    async fn a_window_restarted_for_ever_is_overdue_at_its_cap(world: World) {
        world.set(|settings| settings.max_wait_ms = Some(150_000)).await;
        world.notify("m1", "r1", 1).await;
        world.pass(100_000);
        world.notify("m2", "r1", 2).await;
        assert_eq!(due(&world).await, []);
        world.pass(66_000);
        assert_eq!(due(&world).await, [Due { collapse_key: world.key("r1"), why: storage::DueReason::Unsettled }]);
    }
}

story! {
    async fn a_held_purchase_is_not_overdue(world: World) {
        world.notify("m1", "r1", 1).await;
        let until = world.store.now().await.unwrap().plus_millis(WINDOW_MS * 3);
        world.store.hold(world.key("r1"), until, "ann", "looking").await.unwrap();
        world.pass(WINDOW_MS * 2);
        assert_eq!(due(&world).await, []);
        world.pass(WINDOW_MS * 2);
        assert_eq!(due(&world).await.len(), 1);
    }
}

story! {
    async fn a_lane_without_a_holder_makes_its_destination_late(world: World) {
        let hook = world.destination("hook").await;
        world.revise("r1", 1).await;
        let key = world.key("r1");
        assert_eq!(late(&world).await, []);
        world.pass(46_000);
        assert_eq!(late(&world).await, [hook.id]);
        assert_eq!(due(&world).await, [], "the purchase is not overdue");
        let attempt = world.attempt(key, hook.id, "a").await;
        assert_eq!(late(&world).await, []);
        world.pass(LEASE_MS + 1);
        assert_eq!(late(&world).await, [hook.id], "its worker died");
        world.finish(&attempt, Verdict::Retry { delay: duration(600_000) }).await;
        assert_eq!(late(&world).await, []);
        world.pass(646_000);
        assert_eq!(late(&world).await, [hook.id]);
        world.alter(hook.id, move |common| common.enabled = false).await;
        let recalls = async || world.store.late_destinations().await.unwrap().in_backoff;
        assert_eq!(late(&world).await, []);
        assert_eq!(recalls().await, [hook.id], "its lane may be in back-off in a run, and has to be called back");
        let now = world.store.now().await.unwrap();
        world.store.backoff_cancelled(hook.id, now).await.unwrap();
        assert_eq!(recalls().await, []);
    }
}

story! {
    async fn backlogs_of_deleted_destinations_are_found_and_closed(world: World) {
        let (hook, other) = (world.destination("hook").await, world.destination("other").await);
        world.happen("r1", 1, &[TransitionKind::Renewed]).await;
        assert_eq!(world.store.end_deleted_pending(100).await.unwrap(), 0, "no destination was deleted");
        world.store.delete_destination(hook.id).await.unwrap();
        assert_eq!(world.store.end_deleted_pending(100).await.unwrap(), 0, "the deletion ended all of it");
        // Like when a process that had not seen the deletion recorded them.
        for (status, event_type) in [("pending", "purchase.updated"), ("waiting", "user.subscription.renewed")] {
            world.raw().run(&format!(
                "UPDATE deliveries SET status = '{status}', finished_at = NULL WHERE event_type = '{event_type}'
                     AND destination_id = '{}'",
                hook.id
            ));
        }
        assert_eq!(world.broken(1000).await, [], "the check allows time to end them");
        world.age(11 * MINUTE_MS);
        assert_eq!(world.broken(1000).await, [("nothing_is_pending_for_the_deleted", 2)]);
        assert_eq!(world.store.end_deleted_pending(1).await.unwrap(), 1);
        assert_eq!(world.store.end_deleted_pending(100).await.unwrap(), 1);
        assert_eq!(world.store.end_deleted_pending(100).await.unwrap(), 0);
        assert_eq!(world.broken(1000).await, []);
        assert_eq!(world.store.destination_health(other.id).await.unwrap().health.pending, 2,
            "deliveries of other destinations stay");
    }
}

story! {
    async fn a_past_wake_is_found_until_it_was_followed(world: World) {
        world.revise("r1", 1).await;
        let now = world.store.now().await.unwrap();
        world.wake_all_at(now.plus_millis(5_000).micros());
        assert_eq!(due(&world).await, []);
        world.pass(6_000);
        assert_eq!(due(&world).await, [Due { collapse_key: world.key("r1"), why: storage::DueReason::Wake }]);
        world.settle(world.key("r1")).await;
        assert_eq!(due(&world).await, []);
    }
}

story! {
    async fn one_process_starts_a_late_sweep_again(world: World) {
        let stores = [world.store.clone(), world.second_process().await];
        let take = || async { world.store.take_sweep_restart().await.unwrap() };
        let last = || async { world.store.last_sweep().await.unwrap() };
        assert!(!last().await.is_late() && !take().await, "the installation is new");
        world.pass(5 * MINUTE_MS);
        assert!(last().await.is_late() && last().await.finished_at.is_none());
        for store in &stores {
            store.sweeps_are_late().await.unwrap();
        }
        let restarts = stores.iter().cycle().take(8).map(|store| store.take_sweep_restart());
        let taken = futures::future::join_all(restarts).await.into_iter().filter(|is_taken| *is_taken.as_ref().unwrap());
        assert_eq!(taken.count(), 1);
        world.pass(4 * MINUTE_MS);
        assert!(!take().await, "it needs some time");
        world.pass(MINUTE_MS);
        assert!(take().await, "it did not help");
        let alarms = world.store.alarms(storage::Page::default()).await.unwrap().items;
        assert_eq!(alarms.iter().map(|alarm| (alarm.kind.as_str(), alarm.count)).collect::<Vec<_>>(), [("sweep", 1)]);
        world.store.sweep_finished().await.unwrap();
        assert!(!last().await.is_late() && last().await.finished_at.is_some());
        let closed = world.store.alarms(storage::Page::default()).await.unwrap().items;
        assert_eq!(closed[0].acknowledged_by.as_deref(), Some("settle"), "it closes itself: {closed:?}");
        world.pass(6 * MINUTE_MS);
        world.store.sweep_finished().await.unwrap();
        assert!(!take().await, "a sweep has just finished");
    }
}
