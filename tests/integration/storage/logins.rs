//! Logins of many apps: the cost of each, and which work does not wait for them. `people` tests the moves of purchases
//! that they cause.

use super::overlapping::Stall;
use super::people::{device, log_in, login, place};
use super::world::{BEGINNING, World, new_platform, secret, story};
use domain::{DeviceId, DevicePlace, PlatformId, Timestamp};
use futures::future::join_all;
use futures::poll;
use std::ops::RangeInclusive;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use storage::{DeviceUsage, Login, PlatformChange};
use system_tests::rows;
use tokio::task::JoinHandle;
use uuid::Uuid;

const APPS: u64 = 40;
const LOGINS: u64 = 20;
/// How long a statement waits for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum number of round trips of the first login on a device that has reported, and of a repeated one.
const MOST: [u64; 2] = [9, 3];

static NOW: AtomicI64 = AtomicI64::new(BEGINNING);

fn now() -> Timestamp {
    Timestamp::from_micros(NOW.load(Ordering::SeqCst))
}

async fn platform_of(world: &World, name: &str) -> PlatformId {
    let app = world.store.new_app(name).await.unwrap();
    world
        .store
        .new_platform(new_platform(&app, name))
        .await
        .unwrap()
        .id
}

fn at(platform: PlatformId, number: u64) -> DevicePlace {
    DevicePlace {
        platform,
        device: DeviceId::new(Uuid::from_u128(
            0x4000_8000_0000_0000_0000 + u128::from(number),
        )),
    }
}

/// Executes all these logins at once; returns the number of round trips to the database.
async fn trips(
    world: &World,
    trips: impl Fn() -> u64,
    logins: impl Iterator<Item = (PlatformId, u64)>,
) -> u64 {
    let before = trips();
    let logins =
        logins.map(|(platform, number)| login(at(platform, number), &format!("customer-{number}")));
    let done = join_all(logins.map(|login| world.store.login(login))).await;
    assert!(
        done.iter().all(Result::is_ok),
        "{:?}",
        done.iter().find(|one| one.is_err())
    );
    trips() - before
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_of_forty_apps_cost_what_those_of_one_do() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let mut platforms = Vec::new();
    for number in 0..APPS {
        platforms.push(platform_of(&world, &format!("app-{number}")).await);
    }
    // Warms up: each thread prepares its statements.
    trips(
        &world,
        || distance.trips(),
        platforms.iter().map(|platform| (*platform, 0)),
    )
    .await;
    let one = trips(
        &world,
        || distance.trips(),
        (1..=APPS * LOGINS).map(|number| (platforms[0], number)),
    )
    .await;
    let of_all = |number: u64| platforms.iter().map(move |platform| (*platform, number));
    let many = trips(
        &world,
        || distance.trips(),
        (10_001..=10_000 + LOGINS).flat_map(of_all),
    )
    .await;
    eprintln!(
        "round trips of {} logins: of one app {one}, of {APPS} apps {many}",
        APPS * LOGINS
    );
    assert!(
        many * 5 <= one * 6,
        "{many} round trips for {APPS} apps, {one} for one"
    );
    let repeated = trips(
        &world,
        || distance.trips(),
        (10_001..=10_000 + LOGINS).flat_map(of_all),
    )
    .await;
    assert!(
        repeated <= APPS * LOGINS * 3,
        "{repeated} round trips for repeated logins"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_takes_few_round_trips() {
    let (world, distance) = World::postgres_at_a_distance(now, &NOW, Duration::ZERO).await;
    let mut least = [u64::MAX; 2];
    for number in 0..12 {
        let here = login(place(&world, number), &format!("customer-{number}"));
        for least in &mut least {
            let before = distance.trips();
            world.store.login(here.clone()).await.unwrap();
            *least = (*least).min(distance.trips() - before);
        }
    }
    eprintln!("round trips of a login, of a repeated one: {least:?}");
    assert!(least[0] <= MOST[0] && least[1] <= MOST[1], "{least:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_alarms_and_quotas_do_not_wait_for_logins() {
    let world = World::postgres(now, &NOW).await;
    let other = platform_of(&world, "other").await;
    let here = place(&world, 2);
    // The test's own insertion of the device, which is never committed.
    let stall = Stall::by(
        &world,
        &rows::device(here.platform, here.device).to_string(),
    );
    let store = world.store.clone();
    let waiting = tokio::spawn(async move { log_in(&store, here, "anna").await });
    world.wait_for_locks(1).await;
    let rename = |settings: &mut storage::PlatformSettings| settings.name = "renamed".to_owned();
    world
        .store
        .update_platform(other, PlatformChange::default(), rename)
        .await
        .unwrap();
    world
        .store
        .alarm(Some(other), "odd", "beside logins")
        .await
        .unwrap();
    world
        .store
        .add_device_usage([((other, 1), DeviceUsage::default())].into())
        .await
        .unwrap();
    assert!(!waiting.is_finished(), "it still waits");
    stall.end();
    waiting.await.unwrap();
}

/// Creates platforms of other apps, so that each writer thread has some.
async fn other_platforms(world: &World) -> Vec<PlatformId> {
    let mut platforms = Vec::new();
    for number in 0..8 {
        platforms.push(platform_of(world, &format!("other-{number}")).await);
    }
    platforms
}

/// Logs a customer in on a device of each platform.
async fn log_in_on(world: &World, platforms: &[PlatformId]) {
    join_all(
        platforms
            .iter()
            .map(|platform| log_in(&world.store, at(*platform, 1), "otto")),
    )
    .await;
}

/// Begins logins on these devices at once, each of its own customer, in the background.
fn begin_logins(world: &World, numbers: RangeInclusive<u128>) -> JoinHandle<()> {
    let logins = numbers.map(|number| {
        let (store, place) = (world.store.clone(), place(world, number));
        async move { log_in(&store, place, &format!("customer-{number}")).await }
    });
    let logins: Vec<_> = logins.collect();
    tokio::spawn(async move { drop(join_all(logins).await) })
}

/// Inserts these devices in a transaction that is never committed: logins on them wait until it ends.
fn stalled(world: &World, numbers: RangeInclusive<u128>) -> Stall {
    let places = numbers.map(|number| place(world, number));
    let devices: Vec<_> = places
        .map(|place| rows::device(place.platform, place.device).to_string())
        .collect();
    Stall::by(world, &devices.join("; "))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_waits_for_few_of_another_app() {
    const MANY: u128 = 120;
    /// The first login, and those of the running and the next group, if each takes two round trips.
    const MOST: i64 = 1 + 2 * 16 + 16;
    let world = World::postgres(now, &NOW).await;
    let others = other_platforms(&world).await;
    let (first_stall, stall) = (stalled(&world, 0..=0), stalled(&world, 1..=MANY));
    let first = begin_logins(&world, 0..=0);
    world.wait_for_locks(1).await;
    let flood = begin_logins(&world, 1..=MANY);
    // A read is executed after the logins sent before it, so they are in the writer's queue now.
    let read = async || drop(world.store.login_secret(world.platform.id).await.unwrap());
    read().await;
    read().await;
    first_stall.end();
    first.await.unwrap();
    world.wait_for_locks(1).await;
    let queued = async {
        read().await;
        read().await;
        stall.end();
    };
    tokio::join!(log_in_on(&world, &others), queued);
    flood.await.unwrap();
    let app = world.app.id;
    let before = world.raw().number(&format!(
        "SELECT COUNT(*) AS value FROM users
         WHERE app_id = '{app}' AND created_at < (SELECT MAX(created_at) FROM users WHERE app_id <> '{app}')"
    ));
    assert!(
        before <= MOST,
        "{before} logins of another app came before the last one of these"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_of_a_locked_customer_stops_no_other_one() {
    let world = World::postgres(now, &NOW).await;
    let others = other_platforms(&world).await;
    let anna = log_in(&world.store, place(&world, 1), "anna").await.user_id;
    let stall = Stall::by(
        &world,
        &format!("SELECT 1 FROM users WHERE id = '{anna}' FOR UPDATE"),
    );
    let mut waiting = pin!(log_in(&world.store, place(&world, 2), "anna"));
    assert!(poll!(waiting.as_mut()).is_pending());
    let beside = async {
        log_in_on(&world, &others).await;
        log_in(&world.store, place(&world, 3), "bert").await;
    };
    let all = async {
        tokio::select! {
            biased;
            () = beside => (),
            _ = waiting.as_mut() => panic!("it waits for its customer"),
        }
    };
    tokio::time::timeout(LOCK_TIMEOUT / 2, all)
        .await
        .expect("they wait for the customer");
    assert_eq!(
        world.waiting_sessions(),
        0,
        "no thread waits for the customer"
    );
    stall.end();
    assert_eq!(waiting.await.user_id, anna);
}

story! {
    async fn a_repeated_login_stores_the_time_alone(world: World) {
        let here = place(&world, 1);
        let first = log_in(&world.store, here, "anna").await;
        let seen = || world.raw().number("SELECT seen_at AS value FROM devices");
        let rows = || {
            let device = "SELECT device || user_id || logouts || is_signed || created_at AS value FROM devices";
            let user = "SELECT id || external_id || revision || created_at AS value FROM users ORDER BY id";
            (world.raw().texts(device), world.raw().texts(user))
        };
        world.raw().run("UPDATE devices SET seen_at = 1");
        let before = rows();
        world.pass(1_000);
        assert_eq!(world.store.login(login(here, "anna")).await.unwrap(), first);
        assert!(seen() > 1, "the device was seen");
        assert_eq!(rows(), before);
        for changed in [
            Login { is_signed: true, ..login(here, "anna") },
            Login { device: serde_json::from_value(serde_json::json!({
                "id": here.device, "first_launch": "2026-11-01T08:00:00Z", "app_version": "4", "sdk_version": "web/1",
                "os": { "name": "fireos", "version": "8" },
            })).unwrap(), ..login(here, "anna") },
        ] {
            let stored = rows();
            assert_eq!(world.store.login(changed).await.unwrap(), first);
            assert_ne!(rows(), stored, "what differs is stored");
        }
        let stranger = Login { secret: secret(DeviceId::new(Uuid::from_u128(7))), ..login(here, "anna") };
        world.raw().run("UPDATE devices SET seen_at = 1");
        world.store.login(stranger).await.unwrap_err();
        assert_eq!(seen(), 1, "a stranger's login stores nothing");
        assert_ne!(world.store.logout(here, device(here), secret(here.device)).await.unwrap(), first.device_user_id);
    }
}
