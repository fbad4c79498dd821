//! Transactions of two processes that overlap on PostgreSQL. On SQLite a writing transaction excludes all others, so
//! nothing overlaps there.
//!
//! A [`Stall`] stops a transaction in the middle, because it locks a row that the transaction needs there. The second
//! transaction begins when the first one waits, and the row is released when the second one has ended or waits too.

use super::aging::DAY_MS;
use super::redelivery::drain;
use super::sending::{Sent, finish, lease};
use super::topics::pending;
use super::world::{
    BEGINNING, Raw, Report, World, happened, new_destination, record, renewal, reported,
};
use domain::{
    DestinationId, EventId, Lane, NotificationKind, Outcome, RedeliverySelector, Timestamp,
    TransitionKind,
};
use std::sync::atomic::{AtomicI64, Ordering};
use storage::{
    Accepted, Fate, Idle, LaneState, LeaseResult, Loaded, Mode, NewNotification, Page, Record,
    Recorded, Run, Skipped, Store, Verdict,
};
use system_tests::wait;
use system_tests::world::SOON;
use tokio::task::JoinHandle;

/// A world, and the store of another process on its database.
pub async fn two_processes() -> (World, Store) {
    static NOW: AtomicI64 = AtomicI64::new(BEGINNING);
    let world =
        World::synced_postgres(|| Timestamp::from_micros(NOW.load(Ordering::SeqCst)), &NOW).await;
    let second = world.second_process().await;
    (world, second)
}

/// A transaction of the test's own, in which a statement was executed, such as `SELECT … FOR UPDATE`.
pub struct Stall(Raw);

impl Stall {
    pub fn by(world: &World, statement: &str) -> Self {
        let mut session = world.raw();
        session.run(&format!("BEGIN; {statement}"));
        Self(session)
    }

    /// Stalls the acceptance of the next notification after its row was inserted: so its sequence number is taken, and
    /// nobody else sees the row.
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

/// The result of a call that must not wait for a stalled transaction.
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

/// The revision and the open lanes of a record.
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

/// A purchase with a delivered first revision, and a second one that is ready to be recorded.
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

/// The app of a purchase is read from its row, or from its notifications while there is none. The row is written between
/// the two reads here.
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

/// The run of a purchase erases a lane if a request answers that it is closed, unless a record answered a higher
/// sequence number. So the answer to a request must not name a delivery that it did not see.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_closed_during_a_record_names_no_newer_delivery() {
    let (world, second) = two_processes().await;
    let (key, hook) = (world.key("r1"), world.destination("hook").await.id);
    world.revise("r1", 1).await;
    let sent = world.attempt(key, hook, "a").await;
    let next = next_record(&world).await;
    let stall = Stall::by(
        &world,
        "SELECT 1 FROM notifications WHERE outcome IS NULL FOR UPDATE",
    );
    let recording = begin_record(&world.store, next);
    stall.wait_stalled(&world, 1).await;
    let finished = soon(second.finish(finish(&sent, Verdict::Delivered)))
        .await
        .unwrap();
    let leased = soon(second.lease(lease(key, hook, "b"))).await.unwrap();
    stall.end();
    let LaneState::Closed {
        last_seq: of_finish,
    } = finished.lane
    else {
        panic!("{:?}", finished.lane)
    };
    let LeaseResult::Idle(Idle::Closed { last_seq: of_lease }) = leased else {
        panic!("{leased:?}")
    };
    let (revision, lanes) = recorded(recording).await;
    assert_eq!((revision, lanes.len()), (2, 1));
    assert!(
        lanes[0].last_seq > of_finish.max(of_lease),
        "{of_finish}, {of_lease}: {lanes:?}"
    );
    assert_eq!(world.attempt(key, hook, "c").await.revision, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_during_a_finish_leaves_the_lane_open() {
    let (world, second) = two_processes().await;
    let (key, hook) = (world.key("r1"), world.destination("hook").await.id);
    world.revise("r1", 1).await;
    let sent = world.attempt(key, hook, "a").await;
    let next = next_record(&world).await;
    let stall = Stall::by(&world, "SELECT 1 FROM attempts FOR UPDATE");
    let (store, end) = (world.store.clone(), finish(&sent, Verdict::Delivered));
    let finishing = tokio::spawn(async move { store.finish(end).await.unwrap() });
    stall.wait_stalled(&world, 1).await;
    let (revision, lanes) = recorded(begin_record(&second, next)).await;
    assert_eq!((revision, lanes.len()), (2, 1));
    stall.end();
    let lane = soon(finishing).await.unwrap().lane;
    // By the clock of the finish, the delivery of the record may be due in a moment.
    assert!(
        matches!(lane, LaneState::More | LaneState::Wait { .. }),
        "{lane:?}"
    );
    assert_eq!(world.attempt(key, hook, "b").await.revision, 2);
    assert_eq!(world.broken(1000).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_overtaken_by_a_record_sends_the_newest_state() {
    let (world, second) = two_processes().await;
    let mut new = new_destination(&world.app, "hook");
    new.common.rate = Some(100);
    let (key, hook) = (
        world.key("r1"),
        world.store.new_destination(new).await.unwrap().id,
    );
    world.revise("r1", 1).await;
    let next = next_record(&world).await;
    // The rate keeps the lease waiting between its choice of a delivery and the rendering.
    let stall = Stall::by(&world, "SELECT 1 FROM health FOR UPDATE");
    let store = world.store.clone();
    let leasing = tokio::spawn(async move { store.lease(lease(key, hook, "a")).await.unwrap() });
    stall.wait_stalled(&world, 1).await;
    assert_eq!(recorded(begin_record(&second, next)).await.0, 2);
    stall.end();
    let LeaseResult::Send(batch) = soon(leasing).await.unwrap() else {
        panic!("nothing is sent")
    };
    let sent = Sent {
        batch,
        key,
        to: hook,
        token: "a".to_owned(),
        mode: Mode::Lane,
    };
    assert_eq!(sent.revision, 2);
    assert!(matches!(
        world.finish(&sent, Verdict::Delivered).await,
        LaneState::Closed { .. }
    ));
    assert_eq!(world.broken(1000).await, []);
}

/// An event of a user that is old and needed by nobody, and the destination that acknowledged it.
async fn old_event(world: &World) -> (EventId, DestinationId) {
    let hook = world.destination("hook").await.id;
    world.happen("r1", 1, &[TransitionKind::Purchased]).await;
    world.revise("r1", 2).await;
    drain(world, world.key("r1"), hook).await;
    world.age(91 * DAY_MS);
    let events = world
        .store
        .events(Default::default(), Page::default())
        .await
        .unwrap()
        .items;
    (
        events
            .iter()
            .find(|one| one.event_type.starts_with("user."))
            .unwrap()
            .id,
        hook,
    )
}

fn begin_redelivery(store: &Store, event: EventId) -> JoinHandle<storage::Requeued> {
    let (store, selection) = (store.clone(), RedeliverySelector::Event(event).to(None));
    tokio::spawn(async move {
        store
            .resend(selection, Page::default(), Run::Real)
            .await
            .unwrap()
            .requeued
    })
}

async fn begin_pruning(store: &Store) -> JoinHandle<usize> {
    let (store, before) = (
        store.clone(),
        store.now().await.unwrap().plus_millis(-90 * DAY_MS),
    );
    tokio::spawn(async move { store.prune(before, 1000).await.unwrap() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_waits_for_a_redelivery_and_keeps_the_body() {
    let (world, second) = two_processes().await;
    let (event, hook) = old_event(&world).await;
    let stall = Stall::by(&world, "SELECT 1 FROM destinations FOR UPDATE");
    let redelivering = begin_redelivery(&world.store, event);
    stall.wait_stalled(&world, 1).await;
    let pruning = begin_pruning(&second).await;
    stall.wait_stalled(&world, 2).await;
    stall.end();
    assert_eq!(soon(redelivering).await.unwrap().pending, 1);
    assert!(
        soon(pruning).await.unwrap() > 0,
        "what nobody needs was pruned"
    );
    let pruned = "SELECT COUNT(*) AS value FROM events WHERE pruned_at IS NOT NULL";
    assert_eq!(
        world.raw().number(pruned),
        0,
        "the event and the state of its revision"
    );
    assert_eq!(
        world.attempt(world.key("r1"), hook, "again").await.event_id,
        event
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redelivery_waits_for_retention_and_finds_no_body() {
    let (world, second) = two_processes().await;
    let (event, hook) = old_event(&world).await;
    // Retention locks the events in their order: that of the user, then the state of its revision.
    let state =
        "SELECT 1 FROM events WHERE event_type = 'purchase.updated' AND revision = 1 FOR UPDATE";
    let stall = Stall::by(&world, state);
    let pruning = begin_pruning(&second).await;
    stall.wait_stalled(&world, 1).await;
    let redelivering = begin_redelivery(&world.store, event);
    stall.wait_stalled(&world, 2).await;
    stall.end();
    assert!(soon(pruning).await.unwrap() > 0);
    let requeued = soon(redelivering).await.unwrap();
    assert_eq!(
        (requeued.pending, requeued.skipped.get(&Skipped::Pruned)),
        (0, Some(&1))
    );
    assert!(matches!(
        world.lease(world.key("r1"), hook, "a").await,
        LeaseResult::Idle(Idle::Closed { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_accepted_during_an_approval_is_released() {
    let (world, second) = two_processes().await;
    let topic = pending(&world, &[]).await;
    let waiting = NewNotification {
        fate: Fate::WaitTopic(topic),
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_deleted_during_a_record_has_nothing_pending() {
    let (world, second) = two_processes().await;
    let key = world.key("r1");
    // A record queues its event to destinations in the order of their creation.
    let (deleted, other) = (
        world.destination("deleted").await.id,
        world.destination("other").await.id,
    );
    let next = next_record(&world).await;
    let stall = Stall::by(
        &world,
        "SELECT 1 FROM destinations WHERE name = 'other' FOR UPDATE",
    );
    let recording = begin_record(&world.store, next);
    stall.wait_stalled(&world, 1).await;
    soon(second.delete_destination(deleted)).await.unwrap();
    stall.end();
    let (_, lanes) = recorded(recording).await;
    assert_eq!(
        lanes
            .iter()
            .map(|lane| lane.destination_id)
            .collect::<Vec<_>>(),
        [other]
    );
    let pending = format!(
        "SELECT COUNT(*) AS value FROM deliveries WHERE destination_id = '{deleted}' AND status = 'pending'"
    );
    assert_eq!(
        world.raw().number(&pending),
        1,
        "the record did not see the deletion"
    );
    // Each sweep does this.
    assert_eq!(second.end_deleted_pending(10).await.unwrap(), 1);
    assert_eq!(world.raw().number(&pending), 0);
    assert!(matches!(
        world.lease(key, deleted, "a").await,
        LeaseResult::Idle(Idle::Closed { .. })
    ));
    assert_eq!(world.attempt(key, other, "a").await.revision, 1);
    assert_eq!(world.broken(1000).await, []);
}

/// In the first round both create the user; in the second one its row exists.
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
        // A user who exists is locked without waiting: the later record is set aside until the first one has committed.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_for_no_user_that_is_being_changed() {
    let (world, second) = two_processes().await;
    let to = world.analytics("analytics").await.id;
    world
        .happen_to("guest", "r1", &[TransitionKind::Purchased])
        .await;
    // The event has no name yet, so the lease looks whether somebody gives one.
    let stall = Stall::by(&world, "SELECT 1 FROM users FOR UPDATE");
    let busy = second.lease(lease(world.key("r1"), to, "a")).await.unwrap();
    assert!(
        matches!(busy, LeaseResult::Idle(Idle::UserBusy { .. })),
        "{busy:?}"
    );
    stall.end();
    let sent = second.lease(lease(world.key("r1"), to, "a")).await.unwrap();
    assert!(matches!(sent, LeaseResult::Send(_)), "{sent:?}");
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
    // The first process waits in the middle, behind the link that the second one must see.
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
