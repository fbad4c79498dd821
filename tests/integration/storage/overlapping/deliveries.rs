//! Records that overlap with deliveries of lanes.

use super::{Stall, begin_record, next_record, recorded, soon, two_processes};
use crate::storage::sending::{Sent, finish, lease};
use crate::storage::world::new_destination;
use domain::TransitionKind;
use storage::{Idle, LaneState, LeaseResult, Mode, Verdict};

/// The run of a purchase erases a lane when a request answers that it is closed, unless a record answered a higher
/// sequence number. Therefore a request must not name a delivery that it did not see.
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
    // By the clock of the finishing process, the record's delivery may be due a moment later.
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
    // The rate limit makes the lease wait between choosing a delivery and rendering it.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_destination_deleted_during_a_record_has_nothing_pending() {
    let (world, second) = two_processes().await;
    let key = world.key("r1");
    // A record queues its event for destinations in the order of their creation.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_waits_for_no_user_that_is_being_changed() {
    let (world, second) = two_processes().await;
    let to = world.analytics("analytics").await.id;
    world
        .happen_to("guest", "r1", &[TransitionKind::Purchased])
        .await;
    // The event has no external id yet, so the lease checks whether one is being set.
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
