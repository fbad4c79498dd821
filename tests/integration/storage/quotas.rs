//! Devices' usage per day.

use super::claims::session;
use super::devices::{impression, report};
use super::people::{self, log_in};
use super::world::{BEGINNING, World, secret, story};
use domain::{PlatformId, Timestamp};
use futures::future::join_all;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{DeviceQuota, DeviceUsage, Login, MAX_COUNTS, PlatformDay};

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

fn now() -> Timestamp {
    Timestamp::from_micros(NOW.load(Ordering::SeqCst))
}

/// Returns as many days as one transaction can update, with one event each.
fn many(platform: PlatformId) -> BTreeMap<PlatformDay, DeviceUsage> {
    let one = DeviceUsage {
        events: 1,
        ..DeviceUsage::default()
    };
    (0..)
        .take(MAX_COUNTS)
        .map(|day| ((platform, day), one))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_usage_of_many_platforms_takes_few_round_trips() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let mut least = u64::MAX;
    for times in 1..=3 {
        let before = distance.trips();
        let totals = world
            .store
            .add_device_usage(many(world.platform.id))
            .await
            .unwrap();
        least = least.min(distance.trips() - before);
        assert!(
            totals.len() == MAX_COUNTS && totals.values().all(|one| one.events == times),
            "{totals:?}"
        );
    }
    assert!(least <= 10, "{least} round trips");
}

story! {
    async fn processes_that_add_to_many_days_at_once_lose_nothing(world: World) {
        let stores = [world.store.clone(), world.second_process().await];
        let adding = (0..8).map(|turn: usize| stores[turn % 2].add_device_usage(many(world.platform.id)));
        let added = join_all(adding).await;
        assert!(added.iter().all(Result::is_ok), "{added:?}");
        let rows = "SELECT COUNT(*) AS value FROM device_days WHERE events = 8";
        assert_eq!(world.raw().number(rows), i64::try_from(MAX_COUNTS).unwrap());
    }
}

story! {
    async fn what_devices_used_is_added_over_all_processes(world: World) {
        let second = world.second_process().await;
        let used = DeviceUsage { events: 3, bytes: 4000, devices: 1, users: 2 };
        let days: BTreeMap<_, _> = [1, 2].map(|day| ((world.platform.id, day), used)).into();
        let total = |times: i64| DeviceUsage { events: 3 * times, bytes: 4000 * times, devices: times, users: 2 * times };
        for (store, times) in [(&world.store, 1), (&second, 2)] {
            let totals = store.add_device_usage(days.clone()).await.unwrap();
            assert!(totals.values().all(|one| *one == total(times)) && totals.keys().eq(days.keys()), "{totals:?}");
        }
        assert_eq!(world.count("device_days"), 2, "one row for each day");
    }
}

story! {
    async fn a_signed_login_or_a_verified_claim_is_a_customer(world: World) {
        let [one, other, unknown] = [1, 2, 3].map(|number| world.place(number));
        for number in [1, 2] {
            world.device_claims(number, "a", session(number, &[("receipt", "customer")])).await;
        }
        for place in [one, other, unknown] {
            assert!(!world.store.has_customer(place).await.unwrap(), "a claim alone is anybody's");
        }
        world.claim_verified(one, "confirmed", "customer");
        log_in(&world.store, other, "anna").await;
        assert!(!world.store.has_customer(other).await.unwrap(), "so is a login that nobody signed");
        world.store.login(Login { is_signed: true, ..people::login(other, "anna") }).await.unwrap();
        for place in [one, other] {
            assert!(world.store.has_customer(place).await.unwrap());
        }
        world.store.logout(other, people::device(other), secret(other.device)).await.unwrap();
        assert!(!world.store.has_customer(other).await.unwrap(), "nobody is logged in any more");
        assert!(!world.store.has_customer(unknown).await.unwrap());
    }
}

/// Queries for the size of the device events.
const SIZE_ON_SQLITE: &str =
    "SELECT page_count * page_size AS value FROM pragma_page_count(), pragma_page_size()";
const SIZE_ON_POSTGRES: &str = "SELECT pg_total_relation_size('device_events') + pg_total_relation_size('device_deliveries') AS value";

story! {
    async fn stored_bytes_are_about_what_the_database_grows_by(world: World) {
        for name in ["one", "two", "three"] {
            world.destination(name).await;
        }
        let size = || world.raw().number(if world.is_postgres() { SIZE_ON_POSTGRES } else { SIZE_ON_SQLITE });
        let reports = |round: i64| (0..64).map(|number| report(&format!("{round}-{number}"), number, impression())).collect();
        let first = world.report(1, reports(0)).await;
        let (before, mut counted) = (size(), 0);
        for round in 1..=15 {
            counted += world.report(1, reports(round)).await.stored_bytes;
        }
        let (grown, counted) = (size() - before, i64::try_from(counted).unwrap());
        assert!(counted * 2 > grown && counted < grown * 2, "{counted} counted, {grown} grown");
        let again = world.report(1, reports(0)).await;
        assert_eq!((again.repeated, again.stored_bytes), (64, 0), "what is stored is counted once");
        assert!(first.stored_bytes > 64 * 1000, "{} bytes", first.stored_bytes);
    }
}

story! {
    async fn the_quota_of_a_day_is_a_setting_of_the_platform(world: World) {
        let quota = world.platform.settings.quota;
        assert_eq!(quota, DeviceQuota::default());
        let changed = world.set(|settings| settings.quota.device_events_per_day = 7).await.settings.quota;
        assert_eq!(changed, DeviceQuota { device_events_per_day: 7, ..quota });
        assert_eq!(changed.bounds(), DeviceUsage { events: 7, ..quota.bounds() });
        let both = world.set(|settings| settings.quota.new_users_per_day = 0).await.settings.quota;
        assert_eq!(both, DeviceQuota { new_users_per_day: 0, ..changed }, "the others stay");
    }
}
