//! The round trips needed to find the platform of an ingress key, and how soon another process's change takes effect,
//! measured on PostgreSQL through a proxy that counts round trips.

use super::{Amazon, PACKAGE, SOON, Settings, Sns, now};
use api::clock;
use api::stores::ingress::Answer;
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;
use storage::{App, Config, Database, Key, NewPlatform, Platform, PlatformSettings, Store};
use system_tests::distance::Distance;
use system_tests::postgres::{self, Fsync};
use system_tests::wait;
use tokio::time::Instant;

/// More platforms than the cache remembered when it was bounded.
const PLATFORMS: usize = 1100;
const STRANGERS: usize = 500;

/// The ingress of a process.
struct Ingress {
    amazon: Amazon,
    store: Store,
}

impl Ingress {
    async fn open(url: String) -> Self {
        let config = Config {
            database: Database::Postgres(url),
            key: Key::new([7; 32]),
            clock: clock::now,
        };
        let store = Store::open(config).await.expect("a store");
        let settings = Settings {
            certificates: Vec::new(),
            auto_confirm_accounts: Vec::new(),
            clock: now,
        };
        let amazon = Amazon::with_fetch(settings, Arc::new(Sns::default())).expect("settings");
        Self { amazon, store }
    }

    async fn check(&self, key: &str) -> Result<(), Answer> {
        self.amazon.check_key(&self.store, key).await
    }
}

/// Returns the URL of a new database.
async fn database() -> String {
    tokio::task::spawn_blocking(|| postgres::migrated(Fsync::Off))
        .await
        .expect("no panic")
        .expect("a database")
}

async fn platform(store: &Store, app: &App, key: String) -> Platform {
    let new = NewPlatform {
        app_id: app.id,
        store: "amazon".to_owned(),
        settings: PlatformSettings {
            shares_package: true,
            ..PlatformSettings::new(&key, PACKAGE, 120_000)
        },
        shared_secret: None,
        topic_arn: None,
        publishable_key: format!("pk_{key}"),
        of_store: Default::default(),
        ingress_key: key.into(),
    };
    store.new_platform(new).await.expect("a platform")
}

async fn platforms(store: &Store, count: usize) -> Vec<String> {
    let app = store.new_app("app").await.expect("an app");
    let keys: Vec<String> = (0..count).map(|number| format!("key-{number}")).collect();
    join_all(keys.iter().map(|key| platform(store, &app, key.clone()))).await;
    keys
}

/// Returns the number of round trips that `after` counts in a process with `count` platforms, whose keys it gets.
async fn trips(
    count: usize,
    after: impl AsyncFn(&Ingress, &[String], &dyn Fn() -> u64) -> u64,
) -> u64 {
    let url = database().await;
    let keys = platforms(&Ingress::open(url.clone()).await.store, count).await;
    let (distance, far) = Distance::before_url(&url, Duration::ZERO).expect("a proxy");
    after(&Ingress::open(far).await, &keys, &|| distance.trips()).await
}

#[tokio::test]
async fn a_platform_is_found_once_however_many_there_are() {
    let again = async |ingress: &Ingress, keys: &[String], trips: &dyn Fn() -> u64| {
        join_all(
            keys.iter()
                .map(|key| async move { assert_eq!(ingress.check(key).await, Ok(())) }),
        )
        .await;
        let (before, began) = (trips(), Instant::now());
        wait::until(SOON, "the audit log is read again", async || {
            assert_eq!(ingress.check(&keys[0]).await, Ok(()));
            (trips() > before)
                .then_some(())
                .ok_or("no round trip".to_owned())
        })
        .await;
        for key in keys.iter().chain(keys) {
            assert_eq!(ingress.check(key).await, Ok(()));
        }
        // The process also reads the audit log once a second.
        (trips() - before).saturating_sub(2 * (began.elapsed().as_secs() + 1))
    };
    assert_eq!(trips(PLATFORMS, again).await, 0);
}

#[tokio::test]
async fn strangers_share_queries_also_right_after_a_start() {
    let flood = async |ingress: &Ingress, keys: &[String], trips: &dyn Fn() -> u64| {
        let before = trips();
        let strangers: Vec<String> = (0..STRANGERS)
            .map(|number| format!("unknown-{number}"))
            .collect();
        let check = async |key: &str| ingress.check(key).await.map_err(|answer| answer.status);
        let all = strangers.iter().chain(keys).map(|key| check(key.as_str()));
        let answers = join_all(all).await;
        assert!(
            answers[..STRANGERS]
                .iter()
                .all(|answer| *answer == Err(404)),
            "{answers:?}"
        );
        assert!(
            answers[STRANGERS..].iter().all(|answer| *answer == Ok(())),
            "{answers:?}"
        );
        trips() - before
    };
    let trips = trips(20, flood).await;
    assert!(trips < 60, "{trips} round trips for {STRANGERS} strangers");
}

#[tokio::test]
async fn a_change_by_another_process_shows_at_once_or_within_a_second() {
    let url = database().await;
    let (here, other) = (
        Ingress::open(url.clone()).await,
        Ingress::open(url).await.store,
    );
    let app = other.new_app("app").await.expect("an app");
    assert_eq!(
        here.check("first").await.map_err(|answer| answer.status),
        Err(404)
    );
    let one = platform(&other, &app, "first".to_owned()).await;
    assert_eq!(here.check("first").await, Ok(()), "a new key holds at once");
    other
        .rotate_ingress_key(one.id, "second".into(), Duration::ZERO)
        .await
        .expect("another key");
    assert_eq!(
        here.check("second").await,
        Ok(()),
        "a new key holds at once"
    );
    refused_soon(&here, "first").await;
    other.delete_platform(one.id).await.expect("deleted");
    refused_soon(&here, "second").await;
    platform(&other, &app, "third".to_owned()).await;
    assert_eq!(here.check("third").await, Ok(()));
    other.delete_app(app.id).await.expect("deleted");
    refused_soon(&here, "third").await;
}

async fn refused_soon(ingress: &Ingress, key: &str) {
    wait::until(SOON, "an ended key is refused", async || {
        match ingress.check(key).await {
            Err(answer) if answer.status == 404 => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
}
