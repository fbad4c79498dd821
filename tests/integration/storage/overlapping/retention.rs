//! Redeliveries that overlap with retention.

use super::{Stall, soon, two_processes};
use crate::storage::aging::DAY_MS;
use crate::storage::redelivery::drain;
use crate::storage::world::World;
use domain::{DestinationId, EventId, RedeliverySelector, TransitionKind};
use storage::{Idle, LeaseResult, Page, Run, Skipped, Store};
use tokio::task::JoinHandle;

/// Inserts an old event of a user that is no longer needed; returns it and the destination that acknowledged it.
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
    // Retention locks the events in order: the user's event, then the state of its revision.
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
