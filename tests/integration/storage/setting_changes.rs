//! Changes of the settings of an app and its platforms while purchases are recorded. On PostgreSQL such a change waits
//! for the records that have begun, but not for later ones; on SQLite nothing overlaps.

use super::world::{
    BEGINNING, Report, World, new_platform, of_secret, record, renewal, reported, story,
};
use domain::{CollapseKey, NotificationKind, PlatformId, Timestamp, UnknownReceipts};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use storage::{
    Catalogue, Change, EntitlementText, Error, Platform, PlatformChange, Recorded, Run,
    SecretString, Store,
};
use system_tests::wait;
use system_tests::world::SOON;
use tokio::task::JoinHandle;

/// Number of processes, each with a thread that records continuously.
const PROCESSES: usize = 8;
/// How long a change may take on any machine. A change that later records could overtake would hardly ever end.
const PROMPTLY: Duration = Duration::from_secs(10);

/// A trigger that makes each record hold its locks 300 ms longer, so that some record always holds them, and there are
/// only a few per second.
const SLOWLY: &str = "
    CREATE FUNCTION take_long() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_sleep(0.3);
        RETURN NULL;
    END
    $$;
    CREATE TRIGGER records_take_long AFTER UPDATE OF revision ON purchases
    FOR EACH ROW EXECUTE FUNCTION take_long()";

/// Processes that record purchases repeatedly, one on each of some platforms.
struct Recorders {
    is_over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Recorders {
    async fn start(world: &World, platforms: &[PlatformId]) -> Self {
        world.raw().run(SLOWLY);
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for number in 0..PROCESSES {
            let store = world.second_process().await;
            for platform in platforms {
                let receipt = format!("r{number}");
                let report = Report {
                    kind: NotificationKind::Renewed,
                    customer: Some(&receipt),
                    related: None,
                };
                world
                    .accept(reported(*platform, &receipt, &receipt, 1_000, report))
                    .await;
                let key = CollapseKey::of(*platform, &receipt);
                tasks.push(tokio::spawn(record_on(
                    store.clone(),
                    key,
                    Arc::clone(&is_over),
                )));
            }
        }
        Self { is_over, tasks }
    }

    /// Stops the processes. Each has recorded its purchase, at the latest after the last change of settings.
    async fn end(self) {
        self.is_over.store(true, Ordering::SeqCst);
        for task in self.tasks {
            tokio::time::timeout(SOON, task)
                .await
                .expect("a process recorded nothing")
                .unwrap();
        }
    }
}

/// Records a purchase at least once, and until `is_over`. Like its activity, it loads a moved purchase again.
async fn record_on(store: Store, key: CollapseKey, is_over: Arc<AtomicBool>) {
    let mut has_recorded = false;
    while !has_recorded || !is_over.load(Ordering::SeqCst) {
        let loaded = match store.load(key, i64::MAX, 500).await {
            Err(Error::Unavailable(_) | Error::Raced(_)) => {
                tokio::task::yield_now().await;
                continue;
            }
            loaded => loaded.unwrap(),
        };
        match store.record(record(key, &loaded)).await.unwrap() {
            Recorded::Done { .. } => has_recorded = true,
            Recorded::Moved => {}
        }
    }
}

/// Waits until half of the processes are in the middle of a record.
async fn wait_for_records(world: &World) {
    wait::until(SOON, "records that last", async || {
        let sleeping = "SELECT COUNT(*) AS value FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event = 'PgSleep'";
        let count = world.raw().number(sleeping);
        if count >= i64::try_from(PROCESSES / 2).unwrap() {
            Ok(())
        } else {
            Err(count.to_string())
        }
    })
    .await;
}

/// Makes a change while records continue. The change must end promptly.
async fn change<T>(world: &World, what: &str, change: impl Future<Output = Result<T, Error>>) -> T {
    wait_for_records(world).await;
    match tokio::time::timeout(PROMPTLY, change).await {
        Ok(changed) => changed.unwrap(),
        Err(_) => panic!("{what} waits for records that came after it"),
    }
}

async fn set_window(
    store: &Store,
    platform: PlatformId,
    window_ms: i64,
) -> Result<Platform, Error> {
    store
        .update_platform(platform, PlatformChange::default(), move |settings| {
            settings.window_ms = window_ms
        })
        .await
}

async fn on_postgres() -> World {
    static NOW: AtomicI64 = AtomicI64::new(BEGINNING);
    World::postgres(|| Timestamp::from_micros(NOW.load(Ordering::SeqCst)), &NOW).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_stream_of_records_holds_a_change_up() {
    let world = on_postgres().await;
    let (store, app, platform) = (&world.store, world.app.id, world.platform.id);
    let recorders = Recorders::start(&world, &[platform]).await;
    change(
        &world,
        "a setting of a platform",
        set_window(store, platform, 60_000),
    )
    .await;
    let (key, overlap) = (SecretString::from("another"), Duration::from_secs(60));
    change(
        &world,
        "an ingress key",
        store.rotate_ingress_key(platform, key, overlap),
    )
    .await;
    let keyed = PlatformChange {
        publishable_key: Some("pk_another".to_owned()),
        ..PlatformChange::default()
    };
    change(
        &world,
        "a publishable key",
        store.update_platform(platform, keyed, |_| {}),
    )
    .await;
    let secret = of_secret(Some("another shared secret"));
    change(
        &world,
        "a shared secret",
        store.update_platform(platform, secret, |_| {}),
    )
    .await;
    let login_secret = Some(SecretString::from("a login secret"));
    change(
        &world,
        "a login secret",
        store.set_login_secret(platform, login_secret),
    )
    .await;
    change(
        &world,
        "the name of an app",
        store.rename_app(app, "Another"),
    )
    .await;
    let gold = EntitlementText {
        name: "Gold".to_owned(),
        description: None,
    };
    let listed = Catalogue {
        entitlements: [("gold".to_owned(), gold)].into(),
        ..Catalogue::default()
    };
    let catalogue = store.change_catalogue(app, Change::Replace(listed), Run::Real);
    change(&world, "a catalogue", catalogue).await;
    change(
        &world,
        "the end of a platform",
        store.delete_platform(platform),
    )
    .await;
    change(&world, "the end of an app", store.delete_app(app)).await;
    recorders.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_two_apps_wait_for_no_group_of_both() {
    let world = on_postgres().await;
    let other = world.store.new_app("Other").await.unwrap();
    let other = world
        .store
        .new_platform(new_platform(&other, "ingress-2"))
        .await
        .unwrap();
    let platforms = [world.platform.id, other.id];
    let recorders = Recorders::start(&world, &platforms).await;
    let second = world.second_process().await;
    for window_ms in [60_000, 70_000, 80_000, 90_000] {
        let both = async {
            let one = set_window(&world.store, platforms[0], window_ms);
            let (one, other) = tokio::join!(one, set_window(&second, platforms[1], window_ms));
            one.and(other)
        };
        change(&world, "a setting", both).await;
    }
    recorders.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_after_a_change_waits_for_it() {
    let world = on_postgres().await;
    let key = world.key("r1");
    world.notify("m1", "r1", 1_000).await;
    let outdated = record(key, &world.load(key).await);
    let earlier = world.share_lock(world.app.id.uuid());
    let (second, platform) = (world.second_process().await, world.platform.id);
    let changing =
        tokio::spawn(async move { set_window(&second, platform, 60_000).await.unwrap() });
    world.wait_for_locks(1).await;
    let store = world.store.clone();
    let recording = tokio::spawn(async move { store.record(outdated).await.unwrap() });
    world.wait_for_locks(2).await;
    drop(earlier);
    assert_eq!(changing.await.unwrap().settings.window_ms, 60_000);
    assert_eq!(
        recording.await.unwrap(),
        Recorded::Moved,
        "it sees the change"
    );
    assert_eq!(world.settle(key).await.0, 1);
}

story! {
    async fn a_decision_on_older_settings_has_moved(world: World) {
        let key = world.key("r1");
        world.notify("m1", "r1", 1_000).await;
        for change in ["unknown receipts", "shared secret", "window"] {
            let outdated = record(key, &world.load(key).await);
            match change {
                "unknown receipts" => {
                    world.set(|settings| settings.unknown_receipts = UnknownReceipts::Believe).await
                }
                "shared secret" => world.set_secret(Some("another shared secret")).await,
                _ => world.set(|settings| settings.window_ms = 60_000).await,
            };
            assert_eq!(world.store.record(outdated).await.unwrap(), Recorded::Moved, "{change}");
        }
        assert_eq!(world.settle(key).await.0, 1);
    }
}

story! {
    async fn a_decision_outlives_what_is_no_change_of_settings(world: World) {
        let (store, platform, key) = (&world.store, world.platform.id, world.key("r1"));
        world.notify("m1", "r1", 1_000).await;
        let decided = record(key, &world.load(key).await);
        world.set(|_| {}).await;
        store.rotate_ingress_key(platform, SecretString::from("another"), Duration::ZERO).await.unwrap();
        store.note_unsigned_login(world.app.id, platform).await.unwrap();
        store.rename_app(world.app.id, "Another").await.unwrap();
        assert_eq!(world.done(decided.clone()).await, 1);
        world.set(|settings| settings.window_ms = 60_000).await;
        assert_eq!(world.done(decided).await, 1, "a repeated record has the same answer");
        // A record decided by an earlier version of settle names no version of the settings.
        world.accept(renewal(platform, "m2", "r1", 2_000)).await;
        let mut unnumbered = record(key, &world.load(key).await);
        unnumbered.settings_version = None;
        world.set(|settings| settings.window_ms = 70_000).await;
        assert_eq!(world.done(unnumbered).await, 2);
    }
}
