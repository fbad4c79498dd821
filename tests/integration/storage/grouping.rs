//! Groups of writes of two processes on PostgreSQL: what several purchases share is locked in one order, and for a
//! short time.

use super::world::{Raw, Report, World, record, reported, story};
use domain::{NotificationKind, UserId};
use futures::future::join_all;
use futures::poll;
use std::pin::pin;
use std::time::Duration;
use storage::{Error, Record, Recorded, Store};
use system_tests::wait;
use system_tests::world::SOON;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a statement waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Accepts a notification of a purchase of this customer.
async fn notify(world: &World, message: &str, receipt: &str, customer: &str) {
    let report = Report { kind: NotificationKind::Renewed, customer: Some(customer), related: None };
    let at_ms = 1_000 * i64::try_from(message.len()).unwrap();
    world.accept(reported(world.platform.id, message, receipt, at_ms, report)).await;
}

/// Accepts and settles a first notification of a purchase, then accepts a second one.
async fn prepare(world: &World, receipt: &str, customer: &str) {
    notify(world, &format!("{receipt}-1"), receipt, customer).await;
    world.settle(world.key(receipt)).await;
    notify(world, &format!("{receipt}-second"), receipt, customer).await;
}

/// Locks the row of a purchase in another session, until the next statement of that session.
fn locked(world: &World, receipt: &str) -> Raw {
    let mut raw = world.raw();
    raw.run(&format!("BEGIN; SELECT 1 FROM purchases WHERE collapse_key = '{}' FOR UPDATE", world.key(receipt)));
    raw
}

/// Locks a user in another session, until the next statement of that session.
fn locked_user(world: &World, user: UserId) -> Raw {
    let mut raw = world.raw();
    raw.run(&format!("BEGIN; SELECT 1 FROM users WHERE id = '{user}' FOR UPDATE"));
    raw
}

/// Waits until a session waits for `held`, and every other one waits for a lock or has no transaction.
async fn wait_for_quiet(world: &World, held: &mut Raw) {
    let holder = held.number("SELECT CAST(pg_backend_pid() AS BIGINT) AS value");
    let sessions = format!(
        "SELECT CASE WHEN {holder} = ANY(pg_blocking_pids(pid)) THEN 'waits for it'
            WHEN wait_event_type = 'Lock' THEN 'waits' ELSE 'runs' END AS value
         FROM pg_stat_activity
         WHERE datname = current_database() AND state <> 'idle' AND pid NOT IN ({holder}, pg_backend_pid())"
    );
    wait::until(SOON, "a session that waits for the lock, and none that runs", async || {
        let found = world.raw().texts(&sessions);
        let is_quiet = found.iter().any(|one| one == "waits for it") && found.iter().all(|one| one != "runs");
        if is_quiet { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// Whether another session has locked a user.
fn is_locked(world: &World, user: UserId) -> bool {
    world.raw().texts(&format!("SELECT id AS value FROM users WHERE id = '{user}' FOR UPDATE SKIP LOCKED")).is_empty()
}

/// A record of what is open of a purchase.
async fn next(world: &World, receipt: &str) -> Record {
    let key = world.key(receipt);
    record(key, &world.load(key).await)
}

/// Records what is open of a purchase. As its activity does, it tries again what waited too long for a lock.
fn settle_after_all(store: &Store, next: Record) -> impl Future<Output = ()> + Send + use<> {
    let store = store.clone();
    async move {
        loop {
            match store.record(next.clone()).await {
                Err(Error::Unavailable(_)) => {}
                recorded => return assert!(matches!(recorded, Ok(Recorded::Done { .. })), "{recorded:?}"),
            }
        }
    }
}

/// Begins `settlings` now, and goes on with them beside the test: one that waits too long for a lock is tried again.
async fn begun<F: Future<Output: Send> + Send + 'static>(settlings: F) -> JoinHandle<F::Output> {
    let mut settlings = Box::pin(settlings);
    assert!(poll!(settlings.as_mut()).is_pending());
    tokio::spawn(settlings)
}

story! {
    async fn the_settlings_of_a_group_lock_users_in_one_order(world: World) {
        if !world.is_postgres() {
            return;
        }
        let mut users = ["one", "two"].map(|name| (UserId::anonymous(world.app.id, "amazon", name), name));
        users.sort_unstable();
        let [(low, low_name), (high, high_name)] = users;
        // A process has several groups at once: with so many, one of each half is in that of the lower user's purchase.
        let highs = (0..24).map(|number| format!("high-{number}")).collect::<Vec<_>>();
        for receipt in &highs {
            prepare(&world, receipt, high_name).await;
        }
        prepare(&world, "low", low_name).await;
        // Not settled before: their users are known by the notifications alone.
        notify(&world, "new-high", "new-high", high_name).await;
        notify(&world, "new-low", "new-low", low_name).await;
        let (one, other) = (world.store.clone(), world.second_process().await);
        let (new_high, new_low) = (next(&world, "new-high").await, next(&world, "new-low").await);
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for (number, receipt) in highs.iter().map(String::as_str).chain(["low"]).enumerate() {
            let half = if number < highs.len() / 2 { &mut first } else { &mut second };
            half.push(settle_after_all(&one, next(&world, receipt).await));
        }
        // While the first half waits, the second one comes, that of the lower user last.
        let (mut held_high, mut held_low) = (locked_user(&world, high), locked_user(&world, low));
        let first = begun(join_all(first)).await;
        world.wait_for_locks(1).await;
        let second = begun(join_all(second)).await;
        held_high.run("COMMIT");
        wait_for_quiet(&world, &mut held_low).await;
        assert!(!is_locked(&world, high), "the lower user is locked first, in whatever order their purchases came");
        // The other process settles purchases of the same users, that of the higher id first.
        let others = join_all([settle_after_all(&other, new_high), settle_after_all(&other, new_low)]);
        held_low.run("COMMIT");
        let (first, second, _) = tokio::join!(first, second, others);
        first.and(second).unwrap();
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
        // It waits for its purchase and has locked the customer, and the others wait for the customer.
        let mut held = locked(&world, "stuck");
        let mut stuck = pin!(world.store.record(stuck));
        assert!(poll!(stuck.as_mut()).is_pending());
        world.wait_for_locks(1).await;
        let began = Instant::now();
        let (refused, _) = tokio::join!(stuck, join_all(after_it));
        assert!(matches!(refused, Err(Error::Unavailable(_))), "{refused:?}");
        let elapsed = began.elapsed();
        assert!(elapsed < 2 * LOCK_TIMEOUT, "the others waited {elapsed:?} for a purchase that somebody else locked");
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
