//! Groups of writes of two processes on PostgreSQL: what several purchases share is locked in one order, and for a
//! short time.

use super::world::{Raw, Report, World, record, reported, story};
use domain::{NotificationKind, UserId};
use futures::poll;
use std::pin::pin;
use storage::{Error, Record, Recorded};
use system_tests::wait;
use system_tests::world::SOON;

/// Accepts a notification of a purchase of this customer.
async fn notify(world: &World, message: &str, receipt: &str, customer: &str) {
    let report = Report { kind: NotificationKind::Renewed, customer: Some(customer), related: None };
    let at_ms = 1_000 * i64::try_from(message.len()).unwrap();
    world.accept(reported(world.platform.id, (message, receipt), at_ms, report)).await;
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

/// Waits until at least so many sessions wait for a lock: two records of a process may be one group or two.
async fn wait_for_waiting(world: &World, count: i64) {
    wait::until(SOON, "sessions that wait for a lock", async || {
        let waiting = world.raw().number(
            "SELECT COUNT(*) AS value FROM pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'",
        );
        if waiting >= count { Ok(()) } else { Err(waiting.to_string()) }
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

story! {
    async fn the_settlings_of_a_group_lock_users_in_one_order(world: World) {
        if !world.is_postgres() {
            return;
        }
        let mut users = ["one", "two"].map(|name| (UserId::anonymous(world.app.id, "amazon", name), name));
        users.sort_unstable();
        let [(low, low_name), (high, high_name)] = users;
        for (receipt, customer) in [("high", high_name), ("low", low_name), ("busy", "three")] {
            prepare(&world, receipt, customer).await;
        }
        // Not settled before: their users are known by the notifications alone.
        notify(&world, "new-high", "new-high", high_name).await;
        notify(&world, "new-low", "new-low", low_name).await;
        let (one, other) = (world.store.clone(), world.second_process().await);
        // The writer is busy, so that the next two settlings are one group.
        let mut busy = locked(&world, "busy");
        let mut of_busy = pin!(one.record(next(&world, "busy").await));
        let mut of_high = pin!(one.record(next(&world, "high").await));
        let mut of_low = pin!(one.record(next(&world, "low").await));
        assert!(poll!(of_busy.as_mut()).is_pending());
        wait_for_waiting(&world, 1).await;
        // Before the settlings: they may have threads of their own, which do not wait for the busy one.
        let mut held = locked(&world, "high");
        assert!(poll!(of_high.as_mut()).is_pending() && poll!(of_low.as_mut()).is_pending());
        busy.run("COMMIT");
        is_done(of_busy.await);
        let revision = format!("SELECT revision AS value FROM purchases WHERE collapse_key = '{}'", world.key("low"));
        wait::until(SOON, "the user that is locked first", async || {
            // A slow transaction ends after the first settling.
            let is_first = is_locked(&world, low) || world.raw().number(&revision) == 2;
            match (is_first, is_locked(&world, high)) {
                (true, true) => Ok(()),
                found => Err(format!("low and high: {found:?}")),
            }
        })
        .await;
        // The other process settles purchases of the same users, that of the higher id first.
        let (new_high, new_low) = (next(&world, "new-high").await, next(&world, "new-low").await);
        let mut others = pin!(async { tokio::join!(other.record(new_high), other.record(new_low)) });
        assert!(poll!(others.as_mut()).is_pending());
        wait_for_waiting(&world, 2).await;
        held.run("COMMIT");
        let (of_high, of_low, (of_new_high, of_new_low)) = tokio::join!(of_high, of_low, others);
        [of_high, of_low, of_new_high, of_new_low].into_iter().for_each(is_done);
    }
}

fn is_done(recorded: Result<Recorded, Error>) {
    assert!(matches!(recorded, Ok(Recorded::Done { .. })), "{recorded:?}");
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
        wait_for_waiting(&world, 1).await;
        let mut alarm = pin!(world.store.alarm(None, "kind", "detail"));
        let mut released = pin!(world.store.release(world.key("second")));
        assert!(poll!(alarm.as_mut()).is_pending() && poll!(released.as_mut()).is_pending());
        first.run("COMMIT");
        busy.await.unwrap();
        wait_for_waiting(&world, 1).await;
        let raised = tokio::time::timeout(SOON, other.alarm(None, "kind", "detail")).await;
        raised.expect("it is raised while the group of the other process waits").unwrap();
        second.run("COMMIT");
        let (alarm, released) = tokio::join!(alarm, released);
        alarm.and(released).unwrap();
        let alarms = world.store.alarms(storage::Page::default()).await.unwrap().items;
        assert_eq!(alarms.iter().map(|alarm| alarm.count).collect::<Vec<_>>(), [3]);
    }
}
