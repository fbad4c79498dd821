//! Which reads wait for each other: stores' messages, devices and pages have separate connections.

use super::world::World;
use domain::Timestamp;
use futures::future::join_all;
use std::sync::atomic::{AtomicI64, Ordering};
use storage::{DeviceEventFilter, Page};

/// A number greater than that of reading connections.
const PAGES: usize = 20;

/// Pages whose queries wait for a lock delay neither a store's message nor a device's request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_wait_hold_up_no_message_and_no_device() {
    static NOW: AtomicI64 = AtomicI64::new(super::world::BEGINNING);
    let clock = || Timestamp::from_micros(NOW.load(Ordering::SeqCst));
    let world = World::postgres(clock, &NOW).await;
    let mut raw = world.raw();
    raw.run("BEGIN; LOCK TABLE topics IN ACCESS EXCLUSIVE MODE");
    let (store, platform) = (world.store.clone(), world.platform.id);
    let pages =
        tokio::spawn(async move { join_all((0..PAGES).map(|_| store.topics(platform))).await });
    world.wait_for_locks(2).await;
    world
        .store
        .newest_change()
        .await
        .expect("a message does not wait");
    let by_device = world
        .store
        .platforms_by_publishable_keys(vec!["pk_ingress-1".to_owned()])
        .await;
    assert_eq!(by_device.expect("a device does not wait")[0].id, platform);
    assert!(!pages.is_finished());
    raw.run("ROLLBACK");
    let pages = pages.await.expect("no panic");
    assert!(pages.iter().any(Result::is_ok), "{pages:?}");
}

/// Lists that use all their connections leave `/readyz` its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_lists_leave_readyz_its_reader() {
    static NOW: AtomicI64 = AtomicI64::new(super::world::BEGINNING);
    let clock = || Timestamp::from_micros(NOW.load(Ordering::SeqCst));
    let world = World::postgres(clock, &NOW).await;
    let mut raw = world.raw();
    raw.run("BEGIN; LOCK TABLE device_events IN ACCESS EXCLUSIVE MODE");
    let (store, platform_id) = (world.store.clone(), Some(world.platform.id));
    let filter = DeviceEventFilter {
        platform_id,
        ..DeviceEventFilter::default()
    };
    let lists = tokio::spawn(async move {
        join_all((0..PAGES).map(|_| store.device_events(filter.clone(), Page::default()))).await
    });
    world.wait_for_locks(2).await;
    world.store.check_keys().await.expect("its keys are read");
    world
        .store
        .last_sweep()
        .await
        .expect("its last sweep is read");
    assert!(!lists.is_finished());
    raw.run("ROLLBACK");
    let lists = lists.await.expect("no panic");
    assert!(lists.iter().any(Result::is_ok), "{lists:?}");
}
