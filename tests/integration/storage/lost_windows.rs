//! Windows whose wake-ups were lost are woken at the sweep's rate, regardless of windows that settle without it.
//! `SETTLE_LOST_WINDOWS` sets their number in the story of thousands.

use super::aging::MINUTE_MS;
use super::world::{WINDOW_MS, World, story};
use domain::CollapseKey;
use storage::{Overdue, Quota};
use system_tests::load::lost_windows;

/// Quota of one step of the sweep, and the part of it that is always woken.
const STEP: Quota = Quota::of(50);
const SHARE: usize = 10;
/// Number of purchases settling late by themselves that shows that the engine is only late.
const ENOUGH: usize = 50;

impl World {
    /// Opens windows of `count` purchases.
    async fn open_windows(&self, name: &str, count: usize) -> Vec<CollapseKey> {
        for number in 0..count {
            self.notify(
                &format!("{name}-m{number}"),
                &format!("{name}-r{number}"),
                1,
            )
            .await;
        }
        (0..count)
            .map(|number| self.key(&format!("{name}-r{number}")))
            .collect()
    }

    async fn settle_all(&self, keys: &[CollapseKey]) {
        for key in keys {
            self.settle(*key).await;
        }
    }

    /// Takes a step of the sweep, whose purchases settle before the step records that it woke them.
    async fn step(&self) -> Overdue {
        let found = self.store.overdue(STEP).await.unwrap();
        self.store.note_waking(found.clone()).await.unwrap();
        for due in &found.found {
            self.settle(due.collapse_key).await;
        }
        self.store
            .note_woken(found.clone(), found.found.clone())
            .await
            .unwrap();
        found
    }
}

story! {
    async fn what_settles_after_its_wake_is_no_progress(world: World) {
        world.open_windows("lost", 3 * ENOUGH).await;
        world.pass(WINDOW_MS + MINUTE_MS);
        for expected in [50, 50, 50, 0] {
            assert_eq!(world.step().await.found.len(), expected);
        }
    }
}

story! {
    async fn what_settles_by_itself_hides_nothing_lost(world: World) {
        let late = world.open_windows("late", ENOUGH + 10).await;
        world.open_windows("lost", 2 * SHARE + 5).await;
        world.pass(WINDOW_MS + MINUTE_MS);
        world.settle_all(&late).await;
        for expected in [SHARE, SHARE, 5] {
            let step = world.step().await;
            assert_eq!((step.found.len(), step.more), (expected, expected == SHARE));
        }
        assert_eq!(world.step().await.found, []);
    }
}

/// Returns the key of a purchase whose wake-up was lost.
fn lost_key(number: usize) -> CollapseKey {
    format!("00000000-0000-0000-0003-{}", 100_000_000_000 + number)
        .parse()
        .unwrap()
}

impl World {
    /// Inserts purchases whose windows ended a minute ago.
    async fn seed_lost(&self, count: usize) {
        let now = self.store.now().await.unwrap();
        let (platform, accepted) = (
            self.platform.id,
            now.plus_millis(-WINDOW_MS - MINUTE_MS).micros(),
        );
        let numbers = format!(
            "WITH RECURSIVE numbers(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < {})",
            count - 1
        );
        let key = "'00000000-0000-0000-0003-' || (100000000000 + i)";
        let purchases = self
            .purchases()
            .numbered(0, count - 1)
            .sql("receipt_id", "'lost' || i");
        self.raw().run(&purchases.sql("collapse_key", key));
        self.raw().run(&format!(
            "INSERT INTO notifications (platform_id, message_id, receipt_id, collapse_key, store_type, body, accepted_at,
                 due_at)
             {numbers}
             SELECT '{platform}', 'lost' || i, 'lost' || i, {key}, 'RENEWED', '{{}}', {accepted} + i,
                 {accepted} + {WINDOW_MS}000 + i FROM numbers"
        ));
    }

    /// Marks these purchases as settled now.
    async fn mark_settled(&self, keys: &[CollapseKey]) {
        let now = self.store.now().await.unwrap().micros();
        let keys = keys
            .iter()
            .map(|key| format!("'{key}'"))
            .collect::<Vec<_>>()
            .join(", ");
        let mut raw = self.raw();
        raw.run(&format!(
            "UPDATE notifications SET outcome = 'settled', finished_at = {now} WHERE collapse_key IN ({keys})"
        ));
        raw.run(&format!(
            "UPDATE purchases SET updated_at = {now} WHERE collapse_key IN ({keys})"
        ));
    }
}

story! {
    async fn thousands_of_lost_windows_are_woken_at_the_whole_rate(world: World) {
        let lost = lost_windows(2_000);
        world.seed_lost(lost).await;
        world.store.set_sweep_run("first".to_owned()).await.unwrap();
        assert!(world.store.engine_emptied("first".to_owned(), "second".to_owned()).await.unwrap());
        let (mut left, mut by_itself) = (lost, lost);
        while left > 0 {
            // The newest purchases settle by themselves, as many as the dispatchers signalled.
            let newest: Vec<_> = (by_itself - left.min(20)..by_itself).map(lost_key).collect();
            world.mark_settled(&newest).await;
            (left, by_itself) = (left - newest.len(), by_itself - newest.len());
            let found = world.store.overdue(STEP).await.unwrap();
            assert_eq!((found.found.len(), found.more), (left.min(50), left > 50), "of {left}");
            world.store.note_waking(found.clone()).await.unwrap();
            let keys: Vec<_> = found.found.iter().map(|due| due.collapse_key).collect();
            world.mark_settled(&keys).await;
            world.store.note_woken(found.clone(), found.found).await.unwrap();
            left -= keys.len();
        }
    }
}

story! {
    async fn a_few_late_settlings_do_not_show_a_late_engine(world: World) {
        let open = world.open_windows("open", 30).await;
        world.pass(WINDOW_MS + MINUTE_MS);
        world.settle_all(&open[..5]).await;
        assert_eq!(world.step().await.found.len(), 25);
    }
}

story! {
    async fn a_window_that_was_restarted_is_not_settled_late(world: World) {
        world.open_windows("lost", 20).await;
        let busy = world.open_windows("busy", ENOUGH).await;
        world.pass(MINUTE_MS);
        for number in 0..ENOUGH {
            world.notify(&format!("again-m{number}"), &format!("busy-r{number}"), 2).await;
        }
        world.pass(WINDOW_MS + 1_000);
        world.settle_all(&busy).await;
        assert_eq!(world.step().await.found.len(), 20, "each purchase was settled at the end of its window");
    }
}

story! {
    async fn an_emptied_engine_is_not_waited_for(world: World) {
        let late = world.open_windows("late", ENOUGH + 10).await;
        world.open_windows("lost", 2 * ENOUGH).await;
        assert_eq!(world.store.sweep_run().await.unwrap(), None);
        world.store.set_sweep_run("first".to_owned()).await.unwrap();
        world.pass(WINDOW_MS + MINUTE_MS);
        world.settle_all(&late).await;
        assert_eq!(world.step().await.found.len(), SHARE);
        let emptied = || world.store.engine_emptied("first".to_owned(), "second".to_owned());
        assert!(emptied().await.unwrap());
        assert!(!emptied().await.unwrap(), "another process noted it");
        assert_eq!(world.store.sweep_run().await.unwrap().as_deref(), Some("second"));
        for expected in [50, 40, 0] {
            assert_eq!(world.step().await.found.len(), expected, "all were lost");
        }
        let again = world.open_windows("again", 2 * ENOUGH).await;
        world.pass(WINDOW_MS + MINUTE_MS);
        world.settle_all(&again[..ENOUGH]).await;
        assert_eq!(world.step().await.found.len(), SHARE, "these windows ended after it");
    }
}

story! {
    async fn a_wake_that_was_not_accepted_is_sent_again(world: World) {
        let late = world.open_windows("late", ENOUGH).await;
        let lost = world.open_windows("lost", 1).await;
        world.pass(WINDOW_MS + MINUTE_MS);
        world.settle_all(&late).await;
        for _ in 0..2 {
            let found = world.store.overdue(STEP).await.unwrap();
            assert_eq!((found.found.len(), found.found[0].collapse_key, found.missed()), (1, lost[0], 1));
            world.store.note_waking(found.clone()).await.unwrap();
            world.store.note_woken(found, Vec::new()).await.unwrap();
        }
        assert_eq!(world.step().await.found.len(), 1);
    }
}
