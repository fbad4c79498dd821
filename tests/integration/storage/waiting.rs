//! Notifications that wait for the store after their window: the API shows them, and the dispatcher and the sweep do
//! not signal them.

use super::world::{WINDOW_MS, World, is_missing, record, story};
use domain::{CollapseKey, Outcome, Parked, Timestamp, Waits};
use std::time::Duration;
use storage::{Due, Page, Record};

const HOUR_MS: i64 = 3_600_000;
const MAX_WAIT_MS: i64 = 150_000;

/// Returns a record in which only the notifications of `decided` have an outcome, while the others wait.
async fn partly(
    world: &World,
    key: CollapseKey,
    decided: &[(i64, Outcome)],
    waits: Waits,
) -> Record {
    let loaded = world.load(key).await;
    let mut record = record(key, &loaded);
    record.decision.outcomes = decided.to_vec();
    record.decision.waits = Some(waits);
    record.decision.wake = Some(loaded.now.plus_millis(HOUR_MS));
    (record.is_answer, record.is_real) = (false, false);
    record
}

async fn waiting_for(world: &World, message: &str) -> Option<storage::WaitingFor> {
    world
        .store
        .notifications_of(message)
        .await
        .unwrap()
        .remove(0)
        .waiting_for
}

async fn alarms(world: &World) -> Vec<(String, i64)> {
    let alarms = world.store.alarms(Page::default()).await.unwrap().items;
    assert!(
        alarms
            .iter()
            .all(|alarm| alarm.platform_id == Some(world.platform.id))
    );
    alarms
        .into_iter()
        .map(|alarm| (alarm.kind, alarm.count))
        .collect()
}

story! {
    async fn only_decided_notifications_get_an_outcome(world: World) {
        let with_outcome = world.notify("said", "r1", 1).await;
        let undecided = world.notify("kept", "r1", 2).await;
        let key = world.key("r1");
        world.done(partly(&world, key, &[(with_outcome, Outcome::Settled)], Waits::Verification).await).await;
        let view = world.store.notifications_of("said").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.waiting_for), (Some(Outcome::Settled), None));
        assert_eq!(waiting_for(&world, "kept").await, Some(storage::WaitingFor::Verification));
        let loaded = world.load(key).await;
        assert_eq!(loaded.notifications.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [undecided]);
        let standing = world.store.purchase(key).await.unwrap().standing;
        assert_eq!(standing.waiting_for, Some(storage::WaitsFor::Verification));
        assert!(standing.next_wake_at.is_some());
        world.settle(key).await;
        let view = world.store.notifications_of("kept").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.revision), (Some(Outcome::Settled), Some(2)));
        let standing = world.store.purchase(key).await.unwrap().standing;
        assert_eq!((standing.waiting_for, standing.next_wake_at), (None, None));
    }
}

story! {
    async fn a_waiting_purchase_is_not_signalled_or_swept_before_its_wake(world: World) {
        let first = world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        world.done(partly(&world, key, &[], Waits::Parked(Parked::UnknownReceipt)).await).await;
        assert_eq!(waiting_for(&world, "m1").await, Some(storage::WaitingFor::Parked));
        let quiet = world.store.load(key, 0, 500).await.unwrap().quiet;
        assert!(quiet.is_zero(), "it was flushed: its wake does not wait for the rest of a window");
        assert_eq!(world.store.open_after(0, 10).await.unwrap(), []);
        assert_eq!(world.store.newest_open_before(i64::MAX, 10).await.unwrap(), []);
        assert_eq!(world.store.inbox_age().await.unwrap(), None);
        world.pass(WINDOW_MS + 20_000);
        assert_eq!(world.store.due(10).await.unwrap(), []);
        assert!(!world.load(key).await.due);
        world.pass(HOUR_MS);
        assert_eq!(world.store.due(10).await.unwrap(), [Due { collapse_key: key, why: storage::DueReason::Wake }]);
        let loaded = world.load(key).await;
        assert!(loaded.due);
        assert_eq!((loaded.newest_seq, loaded.late), (first, None), "a waiting notification is not late");
    }
}

story! {
    async fn a_new_notification_has_its_window_whatever_else_waits(world: World) {
        world.set(|settings| settings.max_wait_ms = Some(MAX_WAIT_MS)).await;
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        world.done(partly(&world, key, &[], Waits::Verification).await).await;
        world.pass(WINDOW_MS * 2);
        assert_eq!(world.store.due(10).await.unwrap(), [], "`max_wait` does not end a wait for the store");
        let began = world.store.now().await.unwrap();
        let second = world.notify("m2", "r1", 2).await;
        let loaded = world.store.load(key, 0, 500).await.unwrap();
        world.check_left(loaded.quiet, WINDOW_MS, began).await;
        world.check_left(loaded.cap.unwrap(), MAX_WAIT_MS, began).await;
        assert_eq!(loaded.notifications.len(), 2);
        assert_eq!(waiting_for(&world, "m1").await, Some(storage::WaitingFor::Verification));
        assert_eq!(waiting_for(&world, "m2").await, Some(storage::WaitingFor::Window));
        let open = world.store.open_after(0, 10).await.unwrap();
        assert_eq!(open.iter().map(|open| open.seq).collect::<Vec<_>>(), [second]);
        let newest = world.store.newest_open_before(i64::MAX, 10).await.unwrap();
        assert_eq!(newest.iter().map(|open| open.seq).collect::<Vec<_>>(), [second]);
        world.check_left(newest[0].cap.unwrap(), MAX_WAIT_MS, began).await;
        world.pass(WINDOW_MS + 20_000);
        assert_eq!(world.store.due(10).await.unwrap(), [Due { collapse_key: key, why: storage::DueReason::Unsettled }]);
    }
}

story! {
    async fn a_waiting_purchase_without_a_wake_is_still_found(world: World) {
        world.notify("m1", "r1", 1).await;
        let key = world.key("r1");
        let mut erased = partly(&world, key, &[], Waits::Verification).await;
        erased.decision.wake = None;
        world.done(erased).await;
        world.pass(WINDOW_MS + 20_000);
        assert_eq!(world.store.due(10).await.unwrap(), [Due { collapse_key: key, why: storage::DueReason::Unsettled }]);
    }
}

story! {
    async fn an_alarm_is_raised_when_notifications_wait_and_are_lost(world: World) {
        let key = world.key("r1");
        let first = world.notify("m1", "r1", 1).await;
        world.done(partly(&world, key, &[(first, Outcome::Settled)], Waits::Verification).await).await;
        assert_eq!(alarms(&world).await, [], "no notification waits");
        let second = world.notify("m2", "r1", 2).await;
        world.raw().run("UPDATE purchases SET waits_for = NULL");
        world.done(partly(&world, key, &[], Waits::Verification).await).await;
        world.done(partly(&world, key, &[], Waits::Verification).await).await;
        assert_eq!(alarms(&world).await, [("verification_waits".to_owned(), 1)], "once, not at every try");
        world.pass(1_000);
        world.done(partly(&world, key, &[(second, Outcome::Abandoned)], Waits::Parked(Parked::WrongCustomer)).await).await;
        assert_eq!(alarms(&world).await[0], ("given_up".to_owned(), 1));
        let view = world.store.notifications_of("m2").await.unwrap().remove(0);
        assert_eq!((view.outcome, view.revision), (Some(Outcome::Abandoned), None));
        assert!(view.reason.is_some_and(|reason| reason.contains("did not accept")));
    }
}

story! {
    async fn notifications_after_the_load_get_no_outcome(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1).await;
        let mut record = record(key, &world.load(key).await);
        let unseen = world.notify("m2", "r1", 2).await;
        let elsewhere = world.notify("m3", "r2", 3).await;
        record.decision.outcomes.extend([(unseen, Outcome::Settled), (elsewhere, Outcome::Abandoned)]);
        world.done(record).await;
        for message in ["m2", "m3"] {
            assert_eq!(world.store.notifications_of(message).await.unwrap()[0].outcome, None);
        }
    }
}

story! {
    async fn retrying_wakes_only_parked_purchases(world: World) {
        for (receipt, waits) in [("r1", Waits::Parked(Parked::UnknownReceipt)), ("r2", Waits::Verification)] {
            world.notify(&format!("m-{receipt}"), receipt, 1).await;
            let record = partly(&world, world.key(receipt), &[], waits).await;
            world.done(record).await;
        }
        world.revise("r3", 1).await;
        let parked = world.key("r1");
        let in_flight = partly(&world, parked, &[], Waits::Parked(Parked::UnknownReceipt)).await;
        assert_eq!(world.store.retry_parked(world.platform.id).await.unwrap(), 1);
        assert_eq!(world.store.due(10).await.unwrap(), [Due { collapse_key: parked, why: storage::DueReason::Wake }]);
        assert_eq!(world.store.record(in_flight).await.unwrap(), storage::Recorded::Moved, "the retry is not lost");
        let nobody = domain::PlatformId::new(world.app.id.uuid());
        assert!(is_missing(&world.store.retry_parked(nobody).await.unwrap_err()));
    }
}

story! {
    async fn a_deleted_platform_wakes_only_waiting_purchases(world: World) {
        world.revise("sleeps", 1).await;
        world.notify("m1", "waits", 1).await;
        let key = world.key("waits");
        world.done(partly(&world, key, &[], Waits::Verification).await).await;
        world.wake_all_at(Timestamp::from_millis(1).micros());
        assert_eq!(world.store.due(10).await.unwrap().len(), 2);
        world.store.delete_platform(world.platform.id).await.unwrap();
        assert_eq!(world.store.due(10).await.unwrap(), [Due { collapse_key: key, why: storage::DueReason::Wake }]);
        assert!(!world.load(key).await.verify, "the store of a deleted platform is not queried, so the wait ends");
        let queried = world.key("asked");
        world.notify("m2", "asked", 1).await;
        world.pass(200_000);
        world.schedule_query(queried, Duration::from_secs(1)).await;
        world.pass(62_000);
        let found = world.store.due(10).await.unwrap();
        assert!(found.contains(&Due { collapse_key: queried, why: storage::DueReason::Wake }), "{found:?}");
    }
}

story! {
    async fn what_was_not_loaded_does_not_wait(world: World) {
        let late = world.notify("late", "r1", 1).await;
        let seen = world.notify("seen", "r1", 2).await;
        let key = world.key("r1");
        let mut waits = partly(&world, key, &[], Waits::Verification).await;
        assert_eq!(waits.seqs, [late, seen]);
        // The notification with the lower number was committed after the load.
        waits.seqs.retain(|seq| *seq == seen);
        world.done(waits).await;
        let open: Vec<i64> = world.store.open_after(0, 10).await.unwrap().iter().map(|open| open.seq).collect();
        assert_eq!(open, [late], "the sweep still finds it");
    }
}
