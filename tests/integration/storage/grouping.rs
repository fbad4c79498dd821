//! Grouped writes of two processes on PostgreSQL: rows shared by several purchases are locked in one order and only
//! briefly, and no writer waits for another writer's customer.

use super::world::{
    BEGINNING, Raw, Report, World, happened, new_platform, record, renewal, reported, story,
};
use domain::{CollapseKey, NotificationKind, Timestamp, TransitionKind, UserId};
use futures::future::join_all;
use futures::poll;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{Error, Record, Recorded, Store};
use system_tests::world::SOON;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a statement waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts a notification of this customer's purchase.
async fn notify(world: &World, message: &str, receipt: &str, customer: &str) {
    let report = Report {
        kind: NotificationKind::Renewed,
        customer: Some(customer),
        related: None,
    };
    let at_ms = 1_000 * i64::try_from(message.len()).unwrap();
    world
        .accept(reported(world.platform.id, message, receipt, at_ms, report))
        .await;
}

/// Accepts and settles a first notification of a purchase, then accepts a second one.
async fn prepare(world: &World, receipt: &str, customer: &str) {
    notify(world, &format!("{receipt}-1"), receipt, customer).await;
    world.settle(world.key(receipt)).await;
    notify(world, &format!("{receipt}-second"), receipt, customer).await;
}

/// Locks a purchase's row in another session, until that session's next statement.
fn locked(world: &World, receipt: &str) -> Raw {
    let mut raw = world.raw();
    raw.run(&format!(
        "BEGIN; SELECT 1 FROM purchases WHERE collapse_key = '{}' FOR UPDATE",
        world.key(receipt)
    ));
    raw
}

/// Locks a user in another session, until that session's next statement.
fn locked_user(world: &World, user: UserId) -> Raw {
    let mut raw = world.raw();
    raw.run(&format!(
        "BEGIN; SELECT 1 FROM users WHERE id = '{user}' FOR UPDATE"
    ));
    raw
}

/// Returns a record that settles the open notifications of a purchase.
async fn next(world: &World, receipt: &str) -> Record {
    let key = world.key(receipt);
    record(key, &world.load(key).await)
}

/// Records `next`, and retries, like its activity, when the wait for a lock takes too long.
fn settle_after_all(store: &Store, next: Record) -> impl Future<Output = ()> + Send + use<> {
    let store = store.clone();
    async move {
        loop {
            match store.record(next.clone()).await {
                Err(Error::Unavailable(_) | Error::Raced(_)) => {}
                recorded => {
                    return assert!(
                        matches!(recorded, Ok(Recorded::Done { .. })),
                        "{recorded:?}"
                    );
                }
            }
        }
    }
}

/// Starts `settlings` at once, and continues them in the background; each is retried when its wait for a lock takes too
/// long.
async fn begun<F: Future<Output: Send> + Send + 'static>(settlings: F) -> JoinHandle<F::Output> {
    let mut settlings = Box::pin(settlings);
    assert!(poll!(settlings.as_mut()).is_pending());
    tokio::spawn(settlings)
}

story! {
    async fn a_locked_customer_keeps_nobody_else_waiting(world: World) {
        if !world.is_postgres() {
            return;
        }
        let other = world.store.new_app("Other").await.unwrap();
        let other = world.store.new_platform(new_platform(&other, "ingress-2")).await.unwrap();
        world.accept(renewal(other.id, "other", "other", 1_000)).await;
        let key = CollapseKey::of(other.id, "other");
        let other = record(key, &world.load(key).await);
        let busy = (0..40).map(|number| format!("busy-{number}")).collect::<Vec<_>>();
        let mut settlings = Vec::new();
        for receipt in &busy {
            prepare(&world, receipt, "busy").await;
            settlings.push(settle_after_all(&world.store, next(&world, receipt).await));
        }
        // Another process holds the customer, and each of this process's threads has settlings of that customer.
        let mut held = locked_user(&world, UserId::anonymous(world.app.id, "amazon", "busy"));
        let settlings = begun(join_all(settlings)).await;
        let recorded = tokio::time::timeout(LOCK_TIMEOUT, world.store.record(other)).await.unwrap();
        assert!(matches!(recorded, Ok(Recorded::Done { .. })), "{recorded:?}");
        assert!(!settlings.is_finished());
        assert_eq!(world.waiting_sessions(), 0, "no thread waits for the customer");
        held.run("COMMIT");
        settlings.await.unwrap();
    }
}

story! {
    async fn what_comes_after_a_record_that_waits_does_not_overtake_it(world: World) {
        if !world.is_postgres() {
            return;
        }
        let others = (0..24).map(|number| format!("other-{number}")).collect::<Vec<_>>();
        for receipt in &others {
            prepare(&world, receipt, "other").await;
        }
        prepare(&world, "stuck", "busy").await;
        let through = world.raw().number("SELECT MAX(seq) AS value FROM notifications");
        let load = |receipt: &str| world.store.load_after_record(world.key(receipt), through, 100);
        // Each thread runs a group after everything sent to it earlier.
        let all_threads = || async {
            let loads = join_all(others.iter().map(|receipt| load(receipt))).await;
            assert!(loads.iter().all(Result::is_ok));
        };
        let stuck = next(&world, "stuck").await;
        let mut held = locked_user(&world, UserId::anonymous(world.app.id, "amazon", "busy"));
        let store = world.store.clone();
        let settling = begun(async move { store.record(stuck).await }).await;
        all_threads().await;
        let mut loaded = pin!(load("stuck"));
        assert!(poll!(loaded.as_mut()).is_pending());
        all_threads().await;
        assert!(poll!(loaded.as_mut()).is_pending(), "it waits for the record, which waits for the customer");
        held.run("COMMIT");
        let loaded = loaded.await;
        match settling.await.unwrap() {
            Ok(recorded) => {
                let left = loaded.unwrap().notifications;
                assert!(left.is_empty(), "{recorded:?} leaves {left:?}");
            }
            // On a slow machine, the record may have waited too long.
            Err(error) => assert!(matches!(error, Error::Unavailable(_)), "{error}"),
        }
    }
}

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settlings_of_one_customer_share_a_read_of_the_purchases() {
    const PURCHASES: usize = 48;
    let now = || Timestamp::from_micros(NOW.load(Ordering::SeqCst));
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let receipts = (0..PURCHASES)
        .map(|number| format!("receipt-{number}"))
        .collect::<Vec<_>>();
    for receipt in &receipts {
        prepare(&world, receipt, "one").await;
    }
    // Recorded one by one, each reads all purchases, for the customer's state in its event.
    let mut alone = 0;
    for receipt in &receipts {
        let renewed = happened(next(&world, receipt).await, &[TransitionKind::Renewed]);
        let before = distance.sent();
        world.done(renewed).await;
        alone += distance.sent() - before;
    }
    let mut settlings = Vec::new();
    for receipt in &receipts {
        notify(&world, &format!("{receipt}-the third one"), receipt, "one").await;
        let renewed = happened(next(&world, receipt).await, &[TransitionKind::Renewed]);
        settlings.push(settle_after_all(&world.store, renewed));
    }
    let mut held = locked_user(&world, UserId::anonymous(world.app.id, "amazon", "one"));
    let before = distance.sent();
    let settlings = begun(join_all(settlings)).await;
    held.run("COMMIT");
    settlings.await.unwrap();
    let together = distance.sent() - before;
    // Records of one transaction have the same time. How many records a transaction contains depends on the machine.
    let transactions = world
        .raw()
        .number("SELECT COUNT(DISTINCT updated_at) AS value FROM purchases");
    let transactions = u64::try_from(transactions).unwrap();
    eprintln!(
        "bytes from the server: {alone} one after another, {together} in {transactions} transactions"
    );
    let count = PURCHASES as u64;
    assert!(
        together * count < alone * (transactions + count / 4),
        "{together} bytes for settlings in {transactions} transactions, {alone} for those one after another"
    );
    let states = "SELECT MIN(n) AS value FROM (SELECT COUNT(*) AS n FROM events WHERE user_revision IS NOT NULL
        GROUP BY collapse_key) e";
    assert_eq!(world.raw().number(states), 2);
    assert_eq!(world.broken(1000).await, []);
}

story! {
    async fn two_processes_take_turns_at_a_customer(world: World) {
        let second = world.second_process().await;
        let mut settlings = Vec::new();
        for number in 0..48 {
            let receipt = format!("receipt-{number}");
            prepare(&world, &receipt, "one").await;
            let store = if number % 2 == 0 { &world.store } else { &second };
            settlings.push(settle_after_all(store, next(&world, &receipt).await));
        }
        // These purchases are new: only their notifications name the users.
        for (number, customer) in ["one", "another", "another"].into_iter().enumerate() {
            let receipt = format!("new-{number}");
            notify(&world, &receipt, &receipt, customer).await;
            let store = if number % 2 == 0 { &world.store } else { &second };
            settlings.push(settle_after_all(store, next(&world, &receipt).await));
        }
        join_all(settlings).await;
        let settled = world.raw().number("SELECT COUNT(*) AS value FROM notifications WHERE outcome IS NOT NULL");
        assert_eq!(settled, 2 * 48 + 3);
        assert_eq!(world.broken(1000).await, []);
    }
}

story! {
    async fn a_locked_purchase_costs_the_others_one_wait(world: World) {
        if !world.is_postgres() {
            return;
        }
        let others = (0..24).map(|number| format!("other-{number}")).collect::<Vec<_>>();
        for receipt in others.iter().map(String::as_str).chain(["stuck"]) {
            prepare(&world, receipt, "one").await;
        }
        let stuck = next(&world, "stuck").await;
        let mut after_it = Vec::new();
        for receipt in &others {
            after_it.push(settle_after_all(&world.store, next(&world, receipt).await));
        }
        // The record has locked the customer and waits for its purchase; the others wait for the customer.
        let mut held = locked(&world, "stuck");
        let mut stuck = pin!(world.store.record(stuck));
        assert!(poll!(stuck.as_mut()).is_pending());
        world.wait_for_locks(1).await;
        let began = Instant::now();
        let (refused, _) = tokio::join!(stuck, join_all(after_it));
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        let elapsed = began.elapsed();
        // One after another they would wait 24 times as long; a busy machine adds its own seconds to the one wait.
        assert!(elapsed < 6 * LOCK_TIMEOUT, "the others waited {elapsed:?} for a purchase that another transaction locked");
        held.run("COMMIT");
        settle_after_all(&world.store, next(&world, "stuck").await).await;
    }
}

story! {
    async fn an_alarm_is_not_locked_while_its_group_waits(world: World) {
        if !world.is_postgres() {
            return;
        }
        for receipt in ["first", "second"] {
            prepare(&world, receipt, "one").await;
        }
        let other = world.second_process().await;
        other.alarm(None, "kind", "detail").await.unwrap();
        let (mut first, mut second) = (locked(&world, "first"), locked(&world, "second"));
        let mut busy = pin!(world.store.release(world.key("first")));
        assert!(poll!(busy.as_mut()).is_pending());
        world.wait_for_locks(1).await;
        let mut alarm = pin!(world.store.alarm(None, "kind", "detail"));
        let mut released = pin!(world.store.release(world.key("second")));
        assert!(poll!(alarm.as_mut()).is_pending() && poll!(released.as_mut()).is_pending());
        first.run("COMMIT");
        busy.await.unwrap();
        world.wait_for_locks(1).await;
        let raised = tokio::time::timeout(SOON, other.alarm(None, "kind", "detail")).await;
        raised.expect("it is raised while the group of the other process waits").unwrap();
        second.run("COMMIT");
        let (alarm, released) = tokio::join!(alarm, released);
        alarm.and(released).unwrap();
        let alarms = world.store.alarms(storage::Page::default()).await.unwrap().items;
        assert_eq!(alarms.iter().map(|alarm| alarm.count).collect::<Vec<_>>(), [3]);
    }
}
