//! The progress of connecting platforms (first delivery, newest purchase) and the cost of reading it for many; and
//! searching a receipt on all platforms.

use super::sending::{finish, lease, must_send};
use super::world::{BEGINNING, World, happened, new_platform, record, renewal, story};
use domain::{CollapseKey, PlatformId, Timestamp, TransitionKind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{Store, Verdict};

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

fn now() -> Timestamp {
    Timestamp::from_micros(NOW.load(Ordering::SeqCst))
}

async fn delivered_at(store: &Store, platform: PlatformId) -> Option<Timestamp> {
    store.progress(vec![platform]).await.unwrap()[&platform].delivered_at
}

story! {
    async fn the_first_delivery_of_a_platform_is_noted_once(world: World) {
        let hook = world.destination("one").await.id;
        let other = world.store.new_platform(new_platform(&world.app, "ingress-2")).await.unwrap().id;
        let mut first = None;
        for (number, verdict) in [Verdict::Failed, Verdict::Delivered, Verdict::Delivered].into_iter().enumerate() {
            let receipt = format!("receipt-{number}");
            let key = world.key(&receipt);
            world.notify(&format!("message-{number}"), &receipt, 1000).await;
            let loaded = world.load(key).await;
            world.done(happened(record(key, &loaded), &[TransitionKind::Renewed])).await;
            world.now.fetch_add(1_000_000, Ordering::SeqCst);
            let sent = must_send(&world.store, lease(key, hook, &receipt)).await;
            world.store.finish(finish(&sent, verdict)).await.unwrap();
            let noted = delivered_at(&world.store, world.platform.id).await;
            assert_eq!(noted.is_some(), verdict == Verdict::Delivered, "{number}");
            assert!(first.is_none() || noted == first, "the first one stays");
            first = noted;
        }
        assert_eq!(delivered_at(&world.store, other).await, None, "a platform of the same app has its own");
    }
}

story! {
    async fn the_newest_purchase_of_a_quiet_platform_is_its_own(world: World) {
        let busy = world.store.new_platform(new_platform(&world.app, "ingress-2")).await.unwrap().id;
        assert_eq!(world.store.newest_purchase(world.platform.id).await.unwrap(), None);
        world.notify("message", "receipt", 1000).await;
        for number in 0..30 {
            let receipt = format!("receipt-{number}");
            world.accept(renewal(busy, &receipt, &receipt, 1000)).await;
        }
        let key = world.key("receipt");
        assert_eq!(world.store.newest_purchase(world.platform.id).await.unwrap(), Some(key), "its window is open");
        let loaded = world.load(key).await;
        world.done(happened(record(key, &loaded), &[TransitionKind::Renewed])).await;
        assert_eq!(world.store.newest_purchase(world.platform.id).await.unwrap(), Some(key), "it is settled");
        assert_ne!(world.store.newest_purchase(busy).await.unwrap(), Some(key));
    }
}

story! {
    async fn a_receipt_without_a_purchase_is_found_on_any_platform(world: World) {
        let mut last = world.platform.id;
        for number in 0..60 {
            last = world.store.new_platform(new_platform(&world.app, &format!("other-{number}"))).await.unwrap().id;
        }
        world.accept(renewal(last, "message", "receipt", 1000)).await;
        world.raw().run("UPDATE notifications SET outcome = 'given_up'");
        let found = world.store.search(" receipt ", None).await.unwrap();
        let keys: Vec<_> = found.iter().map(|one| one.collapse_key).collect();
        assert_eq!(keys, [Some(CollapseKey::of(last, "receipt"))]);
        assert_eq!(world.store.search("receipt", Some(world.app.id)).await.unwrap(), found);
        let stranger = world.store.new_app("other").await.unwrap().id;
        assert_eq!(world.store.search("receipt", Some(stranger)).await.unwrap(), []);
        assert_eq!(world.store.search("unknown", None).await.unwrap(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_platforms_cost_the_round_trips_of_one() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let (store, one) = (&world.store, vec![world.platform.id]);
    let mut apps = vec![world.app.id];
    let mut many = one.clone();
    for number in 0..5 {
        let app = store.new_app(&format!("app {number}")).await.unwrap();
        many.push(
            store
                .new_platform(new_platform(&app, &format!("other-{number}")))
                .await
                .unwrap()
                .id,
        );
        apps.push(app.id);
    }
    let cost = async |platforms: &[PlatformId], apps: &[domain::AppId]| {
        let before = distance.trips();
        assert_eq!(
            store.progress(platforms.to_vec()).await.unwrap().len(),
            platforms.len()
        );
        assert_eq!(
            store.platforms_of(apps.to_vec(), 10).await.unwrap().len(),
            platforms.len()
        );
        store.apps_with_destination(apps.to_vec()).await.unwrap();
        distance.trips() - before
    };
    let mut least = [u64::MAX; 2];
    // The first calls may open a database session.
    for _ in 0..3 {
        least[0] = least[0].min(cost(&one, &apps[..1]).await);
        least[1] = least[1].min(cost(&many, &apps).await);
    }
    assert!(least[1] <= least[0], "{least:?}");
}
