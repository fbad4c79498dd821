//! Which overdue purchases a sweep wakes, in which order, and what it records about them.

use super::aging::MINUTE_MS;
use super::seeded::Seed;
use super::world::{WINDOW_MS, World, new_platform, renewal, story};
use domain::CollapseKey;
use std::time::Duration;
use storage::{Due, Overdue, Owner, Quota};

const MANY: Quota = Quota::of(1_000);
/// A time after which an open window counts as missed.
const MISSED_MS: i64 = WINDOW_MS + 20_000;

impl World {
    /// Takes a sweep whose signals are all accepted; returns what it found.
    async fn sweep(&self, quota: Quota) -> Overdue {
        let found = self.store.overdue(quota).await.unwrap();
        self.store.note_waking(found.clone()).await.unwrap();
        self.store
            .note_woken(found.clone(), found.found.clone())
            .await
            .unwrap();
        found
    }

    /// Returns the purchases that a sweep wakes.
    async fn swept(&self, quota: Quota) -> Vec<CollapseKey> {
        self.sweep(quota)
            .await
            .found
            .into_iter()
            .map(|due| due.collapse_key)
            .collect()
    }

    async fn notify_many(&self, count: usize) -> Vec<CollapseKey> {
        for number in 0..count {
            self.notify(&format!("m{number}"), &format!("r{number}"), 1)
                .await;
        }
        (0..count)
            .map(|number| self.key(&format!("r{number}")))
            .collect()
    }

    /// Inserts purchases whose next wake has passed, without a history.
    fn seed_due(&self, name: &str, count: usize) {
        for number in 0..count {
            self.seed(&Seed {
                receipt: &format!("{name}{number}"),
                ..Seed::default()
            });
        }
        self.raw().run(&format!(
            "UPDATE purchases SET next_wake_at = 5 WHERE receipt_id LIKE '{name}%'"
        ));
    }
}

story! {
    async fn stuck_purchases_hide_no_younger_one(world: World) {
        let stuck = world.notify_many(60).await;
        world.pass(MISSED_MS);
        let mut found = world.swept(Quota::of(40)).await;
        found.extend(world.swept(Quota::of(40)).await);
        assert_eq!(found.len(), stuck.len());
        world.notify("young", "young", 1).await;
        world.pass(MISSED_MS);
        assert!(world.swept(Quota::of(40)).await.contains(&world.key("young")));
    }
}

story! {
    async fn a_stuck_purchase_is_woken_with_a_growing_back_off(world: World) {
        let stuck = world.notify_many(1).await;
        world.pass(MISSED_MS);
        for (wakes, minutes) in [1, 2, 4, 8, 16, 32, 64, 64].into_iter().enumerate() {
            let swept = world.sweep(MANY).await;
            assert_eq!(swept.found, [Due { collapse_key: stuck[0], why: storage::DueReason::Unsettled }]);
            assert_eq!(swept.unfollowed.is_empty(), wakes < 3, "after three wakes its run is ended");
            world.pass(minutes * MINUTE_MS - 30_000);
            let other = world.second_process().await;
            assert_eq!(other.overdue(MANY).await.unwrap().found, [], "no process wakes it earlier");
            world.pass(30_000);
        }
        world.settle(stuck[0]).await;
        world.pass(64 * MINUTE_MS);
        assert_eq!(world.swept(MANY).await, []);
    }
}

story! {
    async fn a_wake_that_was_not_noted_is_repeated(world: World) {
        let stuck = world.notify_many(1).await;
        world.pass(MISSED_MS);
        for _ in 0..2 {
            let found = world.store.overdue(MANY).await.unwrap();
            assert_eq!(found.found.len(), 1, "a process died, or Temporal took no signal");
            world.store.note_woken(found, Vec::new()).await.unwrap();
        }
        assert_eq!(world.swept(MANY).await, stuck);
    }
}

story! {
    async fn a_late_engine_that_makes_progress_is_left_alone(world: World) {
        let step = Quota::of(50);
        world.notify("lost", "lost", 1).await;
        world.pass(MINUTE_MS);
        let late = world.notify_many(100).await;
        world.pass(WINDOW_MS + MINUTE_MS);
        for key in &late[..60] {
            world.settle(*key).await;
        }
        let (first, second) = (world.swept(step).await, world.swept(step).await);
        assert!(first.contains(&world.key("lost")), "younger ones overtook it");
        assert_eq!((first.len(), second.len()), (10, 10), "the others are about to settle, except the oldest");
        world.pass(MINUTE_MS + 1_000);
        assert_eq!(world.swept(MANY).await.len(), 41, "nothing settled for a minute, and back-offs are over");
        for key in &late[60..] {
            world.settle(*key).await;
        }
        world.notify("another", "another", 1).await;
        world.pass(MISSED_MS);
        assert!(world.swept(step).await.contains(&world.key("another")), "what was woken shows no progress");
    }
}

story! {
    async fn a_restarted_window_and_a_hold_are_postponed(world: World) {
        for receipt in ["r1", "r2"] {
            world.notify(&format!("first-{receipt}"), receipt, 1).await;
        }
        world.pass(MINUTE_MS);
        world.notify("second", "r1", 2).await;
        let until = world.store.now().await.unwrap().plus_millis(30 * MINUTE_MS);
        world.store.hold(world.key("r2"), until, "ann", "why").await.unwrap();
        world.pass(MINUTE_MS + 30_000);
        let first = world.sweep(MANY).await;
        assert_eq!((first.found.len(), first.postponed.len()), (0, 2));
        assert_eq!(world.sweep(MANY).await.postponed, [], "they are not read again");
        world.pass(MISSED_MS);
        assert_eq!(world.swept(MANY).await, [world.key("r1")]);
        world.store.release(world.key("r2")).await.unwrap();
        assert_eq!(world.swept(MANY).await, [world.key("r2")], "it is late since the hold ended");
    }
}

story! {
    async fn a_customer_named_now_is_before_the_calendar(world: World) {
        world.seed_due("calendar", 50);
        world.revise("named", 1).await;
        let owner = || Owner::AppUser("customer-1".to_owned());
        world.store.name_customer(world.app.id, owner(), "anna", None).await.unwrap();
        let named = world.key("named");
        assert_eq!(world.swept(Quota { per_store: 5, ..MANY }).await[0], named);
        assert_eq!(world.store.overdue_for_persons(9).await.unwrap().found, [], "it was woken");
        world.settle(named).await;
        world.seed_due("imported", 50);
        world.raw().run("UPDATE purchases SET urgency = 'person' WHERE receipt_id LIKE 'imported%'");
        world.notify("renewed", "named", 7_000_000).await;
        world.settle(named).await;
        world.pass(1_000);
        let now = world.store.now().await.unwrap().micros();
        world.raw().run(&format!(
            "UPDATE purchases SET next_wake_at = {now}, urgency = 'person' WHERE collapse_key = '{named}'"
        ));
        let found = world.store.overdue_for_persons(5).await.unwrap().found;
        assert_eq!((found.len(), found[0].collapse_key), (5, named), "also before a large import");
    }
}

story! {
    async fn named_customers_wait_for_the_rate_of_their_store(world: World) {
        world.seed_due("named", 25);
        world.raw().run("UPDATE purchases SET urgency = 'person'");
        assert_eq!(world.store.overdue_for_persons(3).await.unwrap().found.len(), 3);
        for expected in [10, 10, 5, 0] {
            assert_eq!(world.swept(Quota { per_store: 10, ..MANY }).await.len(), expected);
        }
    }
}

story! {
    async fn a_new_secret_is_before_the_calendar(world: World) {
        world.seed_due("calendar", 30);
        world.seed(&Seed { receipt: "unverified", ..Seed::default() });
        world.raw().run("UPDATE purchases SET product_id = 'p', state = 'expired' WHERE receipt_id <> 'unverified'");
        world.set_secret(Some("another-shared-secret")).await;
        let found = world.swept(Quota { per_store: 5, ..MANY }).await;
        assert_eq!((found.len(), found[0]), (5, world.key("unverified")));
    }
}

story! {
    async fn each_platform_has_the_rate_of_its_store(world: World) {
        let other = world.store.new_platform(new_platform(&world.app, "other")).await.unwrap();
        world.seed_due("r", 25);
        world.accept(renewal(other.id, "m1", "other", 1)).await;
        let key = CollapseKey::of(other.id, "other");
        world.settle(key).await;
        world.wake_at(key, 7);
        let quota = Quota { per_store: 10, unfollowed: 15, others: 1_000 };
        let found = world.swept(quota).await;
        assert!(found.len() == 11 && found.contains(&key), "ten of the one, and the other's although it is later");
        assert_eq!(world.swept(quota).await.len(), 5, "fifteen were woken and did not settle");
        let third = world.sweep(quota).await;
        assert!(third.found.is_empty() && third.more);
        world.pass(MINUTE_MS);
        let fourth = world.swept(Quota { others: 3, ..quota }).await;
        assert_eq!(fourth.len(), 14, "three again, the other's, and ten that were not woken yet");
        world.raw().run("UPDATE platforms SET shared_secret = NULL");
        world.pass(8 * MINUTE_MS);
        assert!(world.swept(quota).await.len() > 11, "a store that is not queried has no rate");
    }
}

story! {
    async fn a_wake_that_is_not_followed_lets_others_go_first(world: World) {
        world.seed_due("r", 25);
        let quota = Quota { per_store: 20, ..MANY };
        let first = world.sweep(quota).await;
        assert!(first.found.len() == 20 && first.more);
        let second = world.sweep(quota).await;
        assert!(second.found.len() == 5 && !second.more);
        assert!(second.found.iter().all(|due| !first.found.contains(due)));
        let key = first.found[0].collapse_key;
        assert!(world.load(key).await.due, "the signalled run still finds the recheck due");
        world.pass(1_000);
        let now = world.store.now().await.unwrap().micros();
        world.wake_at(key, now);
        world.pass(1);
        assert_eq!(world.swept(quota).await, [key], "a next wake that was set since counts at once");
        for minutes in [1, 2, 4] {
            world.pass(minutes * MINUTE_MS + 1_000);
            assert!(world.store.overdue(MANY).await.unwrap().unfollowed.is_empty() == (minutes < 4));
            assert_eq!(world.swept(MANY).await.len(), 25, "they are tried again later");
        }
    }
}

story! {
    async fn put_off_queries_hold_the_calendar_back(world: World) {
        world.seed_due("r", 25);
        let quota = Quota { per_store: 10, unfollowed: 10, others: 1_000 };
        let woken = world.swept(quota).await;
        assert_eq!(woken.len(), 10);
        for key in &woken {
            world.schedule_query(*key, Duration::from_secs(5)).await;
        }
        for seconds in [0, 5, 50] {
            world.pass(seconds * 1_000);
            let swept = world.sweep(quota).await;
            assert!(swept.found.is_empty() && swept.more, "their runs use the store's rate: {:?}", swept.found);
        }
        for key in &woken[..4] {
            world.settle(*key).await;
        }
        let next = world.swept(quota).await;
        assert!(next.len() == 4 && next.iter().all(|key| !woken.contains(key)), "four have left room for others");
        world.pass(MINUTE_MS);
        let again = world.swept(quota).await;
        assert!(woken[4..].iter().all(|key| again.contains(key)), "their runs were lost");
    }
}

story! {
    async fn queries_of_days_do_not_stop_the_calendar(world: World) {
        world.seed_due("r", 25);
        let quota = Quota { per_store: 10, unfollowed: 10, others: 1_000 };
        let woken = world.swept(quota).await;
        for key in &woken {
            world.schedule_query(*key, Duration::from_secs(600)).await;
        }
        let next = world.swept(quota).await;
        assert!(next.len() == 10 && next.iter().all(|key| !woken.contains(key)), "{next:?}");
    }
}

story! {
    async fn two_sweeps_count_one_wake(world: World) {
        world.notify("m1", "unsettled", 1).await;
        world.pass(MISSED_MS);
        world.seed_due("r", 1);
        let (one, other) = (world.store.overdue(MANY).await.unwrap(), world.store.overdue(MANY).await.unwrap());
        assert_eq!((one.found.len(), &one.found), (2, &other.found), "both read before one of them notes");
        for sweep in [one, other] {
            world.store.note_woken(sweep.clone(), sweep.found).await.unwrap();
        }
        for table in ["notifications", "purchases"] {
            let wakes = format!("SELECT MAX(wakes) AS value FROM {table}");
            assert_eq!(world.raw().number(&wakes), 1, "of {table}");
        }
    }
}

story! {
    async fn a_wake_in_an_open_window_waits_for_its_end(world: World) {
        world.seed_due("r", 1);
        world.sweep(MANY).await;
        world.notify("m1", "r0", 1).await;
        world.pass(MINUTE_MS + 1_000);
        let swept = world.sweep(MANY).await;
        assert_eq!((swept.found.len(), swept.postponed.len()), (0, 1), "the end of the window settles it");
        assert_eq!(world.sweep(MANY).await.postponed, []);
    }
}

story! {
    async fn what_waits_for_the_store_is_in_no_index_of_the_sweep(world: World) {
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        world.pass(MISSED_MS);
        world.schedule_query(key, std::time::Duration::from_secs(3_600)).await;
        let indexed = || {
            world.count("notifications WHERE outcome IS NULL AND waits_since IS NULL")
        };
        assert_eq!((indexed(), world.store.inbox_age().await.unwrap()), (0, None));
        world.notify("m2", "r1", 2).await;
        assert_eq!(indexed(), 1, "a new one has its window");
        world.settle(key).await;
        assert_eq!(world.open_notifications(), 0);
        world.notify("m3", "r1", 3).await;
        world.pass(MISSED_MS);
        assert_eq!(world.swept(MANY).await, [key]);
    }
}

story! {
    async fn all_that_is_due_is_drained_step_by_step(world: World) {
        let sleeping = 3_000;
        for (name, wake) in [("sleeps", "4102444800000000"), ("due", "5")] {
            let part = if name == "due" { "0001" } else { "0002" };
            let purchases = world.purchases().numbered(1, sleeping).sql("receipt_id", format!("'{name}' || i"));
            let key = format!("'00000000-0000-0000-{part}-' || (100000000000 + i)");
            world.raw().run(&purchases.sql("collapse_key", key).sql("next_wake_at", wake));
        }
        let quota = Quota { per_store: 500, unfollowed: i64::MAX, others: 50 };
        let mut woken = std::collections::BTreeSet::new();
        for step in 0..6 {
            let found = world.swept(quota).await;
            assert_eq!(found.len(), 500, "step {step}");
            woken.extend(found);
        }
        assert_eq!((woken.len(), world.swept(quota).await.len()), (sleeping, 0));
    }
}
