//! Transactions of two processes that overlap on PostgreSQL. On SQLite a writing transaction excludes all others, so
//! nothing overlaps there.
//!
//! A [`Stall`] stops a transaction in the middle by locking a row that the transaction needs. The second transaction
//! begins when the first waits, and the row is released when the second has ended or waits too.

mod deliveries;
mod retention;

use super::topics::pending;
use super::world::{BEGINNING, Raw, Report, World, happened, record, renewal, reported};
use domain::{Lane, NotificationKind, Outcome, Timestamp, TransitionKind};
use std::sync::atomic::{AtomicI64, Ordering};
use storage::{Accepted, Handling, Loaded, NewNotification, Record, Recorded, Store};
use system_tests::wait;
use system_tests::world::SOON;
use tokio::task::JoinHandle;

/// Returns a world, and the store of another process on its database.
pub async fn two_processes() -> (World, Store) {
    static NOW: AtomicI64 = AtomicI64::new(BEGINNING);
    let world =
        World::synced_postgres(|| Timestamp::from_micros(NOW.load(Ordering::SeqCst)), &NOW).await;
    let second = world.second_process().await;
    (world, second)
}

/// The test's own transaction, in which a statement was executed, such as `SELECT … FOR UPDATE`.
pub struct Stall(Raw);

impl Stall {
    pub fn by(world: &World, statement: &str) -> Self {
        let mut session = world.raw();
        session.run(&format!("BEGIN; {statement}"));
        Self(session)
    }

    /// Stalls the acceptance of the next notification after its row was inserted: its sequence number is taken, but the
    /// row is invisible to others.
    fn next_acceptance(world: &World) -> Self {
        let next = world
            .raw()
            .number("SELECT COALESCE(MAX(seq), 0) + 1 AS value FROM notifications");
        Self::by(
            world,
            &format!("INSERT INTO acceptances (seq, notifications) VALUES ({next}, '[]')"),
        )
    }

    /// Waits until this many transactions wait for a lock.
    pub async fn wait_stalled(&self, world: &World, count: i64) {
        wait::until(SOON, &format!("{count} stalled transactions"), async || {
            let stalled = world.waiting_sessions();
            if stalled == count {
                Ok(())
            } else {
                Err(stalled.to_string())
            }
        })
        .await;
    }

    pub fn end(mut self) {
        self.0.run("ROLLBACK");
    }

    /// Executes another statement in the transaction, and commits both.
    fn commit(mut self, statement: &str) {
        self.0.run(&format!("{statement}; COMMIT"));
    }
}

/// Returns the result of a call that must not wait for a stalled transaction.
async fn soon<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, call)
        .await
        .expect("it waits for another transaction")
}

fn begin_accept(store: &Store, notification: NewNotification) -> JoinHandle<Vec<Accepted>> {
    let store = store.clone();
    tokio::spawn(async move { store.accept(vec![notification]).await.unwrap() })
}

fn begin_record(store: &Store, record: Record) -> JoinHandle<Recorded> {
    let store = store.clone();
    tokio::spawn(async move { store.record(record).await.unwrap() })
}

/// Returns the revision and the open lanes of a record.
async fn recorded(recording: JoinHandle<Recorded>) -> (i64, Vec<Lane>) {
    match soon(recording).await.unwrap() {
        Recorded::Done {
            revision, lanes, ..
        } => (revision, lanes),
        Recorded::Moved => panic!("the purchase moved"),
    }
}

fn seqs(loaded: &Loaded) -> Vec<i64> {
    loaded.notifications.iter().map(|(seq, _)| *seq).collect()
}

/// Accepts another notification of the purchase `r1`, and returns the record that settles it.
async fn next_record(world: &World) -> Record {
    world.notify("news", "r1", 9_000).await;
    let key = world.key("r1");
    record(key, &world.load(key).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_accepted_during_a_record_is_settled_next() {
    let (world, second) = two_processes().await;
    let key = world.key("r1");
    world.notify("m1", "r1", 1_000).await;
    let first = record(key, &world.load(key).await);
    let stall = Stall::by(&world, "SELECT 1 FROM notifications FOR UPDATE");
    let recording = begin_record(&world.store, first);
    stall.wait_stalled(&world, 1).await;
    let accepted = soon(begin_accept(
        &second,
        renewal(world.platform.id, "m2", "r1", 2_000),
    ))
    .await
    .unwrap();
    let [Accepted::New { seq }] = accepted[..] else {
        panic!("{accepted:?}")
    };
    assert_eq!(
        world.load(key).await.notifications.len(),
        2,
        "the record is not committed"
    );
    stall.end();
    assert_eq!(recorded(recording).await.0, 1);
    assert_eq!(seqs(&world.load(key).await), [seq]);
    assert_eq!(world.settle(key).await.0, 2);
    assert_eq!(world.broken(1000).await, []);
}

/// A purchase's app is read from its row or, if there is none, from its notifications. Here the row is written between
/// the two reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_is_found_while_its_row_is_written() {
    let (world, second) = two_processes().await;
    world.revise("r1", 1).await;
    world.notify("m2", "r2", 2_000).await;
    let (settled, key) = (world.key("r1"), world.key("r2"));
    let stall = Stall::by(&world, "LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE");
    let discarding = tokio::spawn(async move { second.discard(key, None, "ann", "a test").await });
    stall.wait_stalled(&world, 1).await;
    stall.commit(&format!(
        "INSERT INTO purchases
         SELECT (jsonb_populate_record(p, '{{\"collapse_key\": \"{key}\", \"receipt_id\": \"r2\"}}')).*
         FROM purchases p WHERE p.collapse_key = '{settled}'"
    ));
    assert_eq!(soon(discarding).await.unwrap().unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_load_waits_for_the_record_that_is_underway() {
    let (world, second) = two_processes().await;
    let key = world.key("r1");
    let receiver = world.destination("hook").await;
    world.notify("m1", "r1", 1_000).await;
    let first = record(key, &world.load(key).await);
    let stall = Stall::by(&world, "SELECT 1 FROM notifications FOR UPDATE");
    let recording = begin_record(&world.store, first);
    stall.wait_stalled(&world, 1).await;
    let loading =
        tokio::spawn(async move { second.load_after_record(key, i64::MAX, 500).await.unwrap() });
    stall.wait_stalled(&world, 2).await;
    stall.end();
    let (revision, lanes) = recorded(recording).await;
    let loaded = soon(loading).await.unwrap();
    assert_eq!((loaded.revision, seqs(&loaded)), (revision, vec![]));
    assert_eq!(loaded.lanes, lanes);
    assert_eq!(
        lanes
            .iter()
            .map(|lane| lane.destination_id)
            .collect::<Vec<_>>(),
        [receiver.id]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_committed_after_a_later_one_is_settled() {
    let (world, second) = two_processes().await;
    let key = world.key("r1");
    let stall = Stall::next_acceptance(&world);
    let accepting = begin_accept(&world.store, renewal(world.platform.id, "m1", "r1", 1_000));
    stall.wait_stalled(&world, 1).await;
    let accepted = soon(begin_accept(
        &second,
        renewal(world.platform.id, "m2", "r1", 2_000),
    ))
    .await
    .unwrap();
    let loaded = second.load(key, i64::MAX, 500).await.unwrap();
    assert_eq!(
        accepted,
        [Accepted::New {
            seq: seqs(&loaded)[0]
        }],
        "only the later one is visible"
    );
    assert_eq!(
        recorded(begin_record(&second, record(key, &loaded)))
            .await
            .0,
        1
    );
    stall.end();
    let accepted = soon(accepting).await.unwrap();
    let [Accepted::New { seq }] = accepted[..] else {
        panic!("{accepted:?}")
    };
    assert!(seq < seqs(&loaded)[0]);
    assert_eq!(seqs(&world.load(key).await), [seq]);
    assert_eq!(world.settle(key).await.0, 2);
    assert_eq!(world.broken(1000).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_accepted_twice_at_once_is_stored_once() {
    let (world, second) = two_processes().await;
    let message = renewal(world.platform.id, "m1", "r1", 1_000);
    let again = renewal(world.platform.id, "m2", "r1", 1_000);
    let stall = Stall::next_acceptance(&world);
    let accepting = begin_accept(&world.store, message.clone());
    stall.wait_stalled(&world, 1).await;
    let repeating = begin_accept(&second, message);
    stall.wait_stalled(&world, 2).await;
    let third = world.second_process().await;
    let reporting = begin_accept(&third, again);
    stall.wait_stalled(&world, 3).await;
    stall.end();
    assert!(matches!(
        soon(accepting).await.unwrap()[..],
        [Accepted::New { .. }]
    ));
    assert!(matches!(
        soon(repeating).await.unwrap()[..],
        [Accepted::Repeated { .. }]
    ));
    assert!(matches!(
        soon(reporting).await.unwrap()[..],
        [Accepted::Duplicate { .. }]
    ));
    assert_eq!(world.settle(world.key("r1")).await.0, 1);
    assert_eq!(world.broken(1000).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_accepted_during_an_approval_is_released() {
    let (world, second) = two_processes().await;
    let topic = pending(&world, &[]).await;
    let waiting = NewNotification {
        handling: Handling::WaitTopic(topic),
        ..renewal(world.platform.id, "waiting", "r1", 1_000)
    };
    let stall = Stall::next_acceptance(&world);
    let accepting = begin_accept(&world.store, waiting);
    stall.wait_stalled(&world, 1).await;
    assert_eq!(
        soon(second.approve_topic(topic)).await.unwrap(),
        [],
        "it is not visible yet"
    );
    stall.end();
    assert!(matches!(
        soon(accepting).await.unwrap()[..],
        [Accepted::New { .. }]
    ));
    // Each sweep does this.
    second
        .expire_topics(second.now().await.unwrap())
        .await
        .unwrap();
    assert_eq!(world.store.open_after(0, 10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_reported_again_during_an_approval_is_a_duplicate() {
    let (world, second) = two_processes().await;
    let topic = pending(&world, &["r1"]).await;
    let stall = Stall::next_acceptance(&world);
    let accepting = begin_accept(&world.store, renewal(world.platform.id, "genuine", "r1", 0));
    stall.wait_stalled(&world, 1).await;
    let approving = tokio::spawn(async move { second.approve_topic(topic).await.unwrap() });
    stall.wait_stalled(&world, 2).await;
    stall.end();
    assert!(matches!(
        soon(accepting).await.unwrap()[..],
        [Accepted::New { .. }]
    ));
    assert_eq!(soon(approving).await.unwrap(), []);
    let first = world
        .store
        .notifications_of("waiting-0")
        .await
        .unwrap()
        .remove(0);
    assert_eq!(first.outcome, Some(Outcome::Duplicate), "{first:?}");
    assert_eq!(world.load(world.key("r1")).await.notifications.len(), 1);
}

/// In the first round, both create the user; in the second, the user's row exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_records_of_one_user_are_ordered() {
    let (world, second) = two_processes().await;
    let (one, other) = (world.key("r1"), world.key("r2"));
    let mut expected = Vec::new();
    for (round, what) in [(1, TransitionKind::Purchased), (2, TransitionKind::Renewed)] {
        for receipt in ["r1", "r2"] {
            world
                .notify(&format!("{receipt}-{round}"), receipt, round * 1000)
                .await;
        }
        let [first, later] = [world.load(one).await, world.load(other).await];
        let stall = Stall::by(
            &world,
            &format!("SELECT 1 FROM notifications WHERE collapse_key = '{one}' FOR UPDATE"),
        );
        let recording = begin_record(&world.store, happened(record(one, &first), &[what]));
        stall.wait_stalled(&world, 1).await;
        let waiting = begin_record(&second, happened(record(other, &later), &[what]));
        // An existing user is locked without waiting: the later record is set aside until the first has committed.
        if round == 1 {
            stall.wait_stalled(&world, 2).await;
        }
        stall.end();
        assert_eq!(
            (recorded(recording).await.0, recorded(waiting).await.0),
            (round, round)
        );
        expected.extend([
            format!("{one} {}", 2 * round - 1),
            format!("{other} {}", 2 * round),
        ]);
    }
    let revisions = "SELECT collapse_key || ' ' || user_revision AS value FROM events
                     WHERE user_revision IS NOT NULL ORDER BY seq";
    assert_eq!(world.raw().texts(revisions), expected);
    assert_eq!(world.broken(1000).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_purchases_never_replace_each_other() {
    let (world, second) = two_processes().await;
    let change = |message: &str, old: &str, new: &str| {
        let report = Report {
            kind: NotificationKind::PlanChanged,
            customer: Some("customer"),
            related: Some(old),
        };
        reported(world.platform.id, message, new, 50_000, report)
    };
    // The first process waits in the middle, behind a link that the second must see.
    let later = (0..).map(|number| format!("later{number}"));
    let mut later = later.filter(|receipt| world.key(receipt) > world.key("a").max(world.key("b")));
    let third = later.next().unwrap();
    let link = format!(
        "INSERT INTO replacements (old_key, new_key, created_at) VALUES ('{}', 'z', 0)",
        world.key(&third)
    );
    let stall = Stall::by(&world, &link);
    let store = world.store.clone();
    let both = vec![
        change("m1", "a", "b"),
        change("m2", &third, &later.next().unwrap()),
    ];
    let first = tokio::spawn(async move { store.accept(both).await.unwrap() });
    stall.wait_stalled(&world, 1).await;
    let inverse = begin_accept(&second, change("m3", "b", "a"));
    stall.wait_stalled(&world, 2).await;
    stall.end();
    soon(first).await.unwrap();
    soon(inverse).await.unwrap();
    let links = |old: &str| {
        world.count(&format!(
            "replacements WHERE old_key = '{}'",
            world.key(old)
        ))
    };
    assert_eq!((links("a"), links("b")), (1, 0));
}
