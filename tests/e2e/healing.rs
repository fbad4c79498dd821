//! The database suffices to rebuild every workflow: terminated runs and an emptied Temporal recover within two minutes,
//! without a notification and without an operator.

use domain::Timestamp;
use futures::{StreamExt, stream};
use serde_json::json;
use std::time::Duration;
use system_tests::load::lost_windows;
use system_tests::postgres;
use system_tests::process::Backend;
use system_tests::receiver::Reply;
use system_tests::runs;
use system_tests::sns::Rtn;
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tokio::time::Instant;
use workflows::contract;

/// Time limit for recovery on any machine.
const HEALED: Duration = Duration::from_secs(600);
/// Maximum total of the sweep's pauses until everything has recovered: the two minutes without the time that the work
/// takes on a busy machine.
const TWO_MINUTES: Duration = Duration::from_secs(120);
/// How long the purchase `paused` is held: past the termination of the runs, and well within [`HEALED`].
const PAUSE_MS: i64 = 25_000;

/// Several times as many windows as the sweep wakes in one step, unless `SETTLE_LOST_WINDOWS` sets another number.
const LOST_WINDOWS: usize = 300;
/// Time limit for the lost windows: the rest of a window, plus the work of a debug build on a busy machine. A sweep
/// that wakes fifty and then pauses for a minute would need more than six minutes.
const MANY_HEALED: Duration = Duration::from_secs(360);

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";

/// The receipts and messages that must have an outcome after recovery, and the message of the held purchase, which must
/// not.
struct Scene {
    healing: Vec<(&'static str, String)>,
    held: String,
}

/// Creates an open window, a lane in back-off, a hold that ends soon and one that does not.
async fn scene(world: &mut World) -> Scene {
    // The delivery is retried every few seconds until the test has seen a failure.
    world.set_schedule(&[5; 40]).await;
    world.receiver.answer(Reply::Status(500));
    let pending = world.send(BOUGHT, "pending").await;
    world.wait_back_off("pending").await;
    world.receiver.answer(Reply::Status(200));
    let held = hold(world, "held", "2030-01-01T00:00:00Z").await;
    let until = Timestamp::from_micros(api::clock::now().micros() + PAUSE_MS * 1000);
    let paused = hold(world, "paused", &until.to_string()).await;
    let waiting = world.send(BOUGHT, "waiting").await;
    world.wait_first_notified("waiting").await;
    Scene {
        healing: vec![
            ("pending", pending),
            ("paused", paused),
            ("waiting", waiting),
        ],
        held,
    }
}

/// Sends a notification, and holds its purchase at once.
async fn hold(world: &mut World, receipt_id: &str, until: &str) -> String {
    let message_id = world.send(BOUGHT, receipt_id).await;
    world
        .act(
            receipt_id,
            "hold",
            &json!({ "reason": "a test", "until": until }),
        )
        .await;
    wait::until(SOON, &format!("the hold of {receipt_id}"), async || {
        let purchase = world
            .api
            .try_get(&format!("/v1/purchases/{}", world.key(receipt_id)))
            .await?;
        if purchase.body["held_until"].is_string() {
            Ok(())
        } else {
            Err(format!("{purchase:?}"))
        }
    })
    .await;
    message_id
}

/// Returns the total of the sweep's pauses since `broken`.
async fn paused(world: &World, broken: Timestamp) -> Duration {
    let broken = Duration::from_micros(broken.micros().unsigned_abs());
    let mut paused = Duration::ZERO;
    for run in world
        .temporal
        .runs(contract::SWEEP)
        .await
        .into_iter()
        .filter_map(|run| run.execution)
    {
        let history = world.temporal.run_history(&run).await;
        let fired = runs::times(&history, EventType::TimerFired);
        // A sweep has one timer at a time.
        paused += runs::timers(&history)
            .into_iter()
            .zip(fired)
            .filter(|(_, at)| *at >= broken)
            .map(|(timer, _)| timer)
            .sum::<Duration>();
    }
    paused
}

/// Waits until everything has recovered, within two minutes of `broken`; then releases the held purchase.
async fn check(world: World, scene: Scene, broken: Timestamp) {
    for (receipt_id, message_id) in &scene.healing {
        wait::until(HEALED, &format!("{receipt_id} to heal"), async || {
            let answer = world
                .api
                .try_get(&format!("/v1/notifications/{message_id}"))
                .await?;
            let is_settled = answer.body["notifications"][0]["outcome"] == "settled";
            let revisions = world.receiver.revisions(&world.key(receipt_id).to_string());
            if is_settled && revisions.contains(&1) {
                Ok(())
            } else {
                Err(format!("{answer:?}, {revisions:?}"))
            }
        })
        .await;
        let paused = paused(&world, broken).await;
        eprintln!("{receipt_id} had healed after {paused:?} between sweeps");
        assert!(
            paused <= TWO_MINUTES,
            "{receipt_id} healed after {paused:?} between sweeps"
        );
    }
    assert!(
        world
            .receiver
            .about(&world.key("held").to_string())
            .is_empty(),
        "the hold was lost"
    );
    world
        .act("held", "release", &json!({ "reason": "a test" }))
        .await;
    world.wait_outcome(&scene.held).await;
    world.finish().await;
}

async fn terminated_runs_heal(backend: Backend) {
    let mut world = World::start(Setting {
        backend,
        window_seconds: 3,
        ..Setting::default()
    })
    .await;
    world.let_sweep_help("all runs are terminated");
    let scene = scene(&mut world).await;
    world.temporal.terminate_all().await;
    check(world, scene, api::clock::now()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_runs_heal_on_sqlite() {
    terminated_runs_heal(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terminated_runs_heal_on_postgres() {
    terminated_runs_heal(Backend::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_temporal_heals() {
    let setting = Setting {
        backend: Backend::Postgres,
        memory: Memory::File,
        window_seconds: 3,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.let_sweep_help("Temporal is emptied");
    let scene = scene(&mut world).await;
    world.temporal.kill9();
    world.temporal.delete_file();
    world.temporal.restart().await;
    let broken = api::clock::now();
    let registered = "temporal operator search-attribute list --output json";
    wait::until(HEALED, "the search attributes", async || {
        let listed =
            String::from_utf8_lossy(&world.temporal.run_line(registered).await.stdout).into_owned();
        let is_missing = |(name, _): &(&'static str, _)| !listed.contains(*name);
        let missing: Vec<_> = workflows::attributes::all()
            .into_iter()
            .filter(is_missing)
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("missing: {missing:?}"))
        }
    })
    .await;
    check(world, scene, broken).await;
}

/// Starts a world with many open windows that Temporal knows of, and returns their receipts. On a busy machine the
/// first windows may end before Temporal knows of the last ones; these are left out.
async fn many_windows() -> (World, Vec<String>) {
    let setting = Setting {
        backend: Backend::Postgres,
        memory: Memory::File,
        window_seconds: 180,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let receipts: Vec<String> = (0..lost_windows(LOST_WINDOWS))
        .map(|number| format!("lost{number}"))
        .collect();
    let messages: Vec<_> = receipts
        .iter()
        .map(|receipt_id| world.sns.notification(&Rtn::new(BOUGHT, receipt_id)))
        .collect();
    world.post_all(&messages).await;
    let notified = stream::iter(&receipts)
        .for_each_concurrent(16, |receipt_id| world.wait_first_notified(receipt_id));
    notified.await;
    let is_open = |receipt_id: &String| {
        world
            .receiver
            .revisions(&world.key(receipt_id).to_string())
            .is_empty()
    };
    let open: Vec<String> = receipts
        .iter()
        .filter(|receipt_id| is_open(receipt_id))
        .cloned()
        .collect();
    assert!(
        open.len() > receipts.len() / 2,
        "{} of {} windows are open",
        open.len(),
        receipts.len()
    );
    (world, open)
}

async fn all_heal(world: &World, receipts: &[String]) {
    let began = Instant::now();
    wait::until(MANY_HEALED, "all windows to be settled", async || {
        let is_open = |receipt_id: &&String| {
            world
                .receiver
                .revisions(&world.key(receipt_id).to_string())
                .is_empty()
        };
        let open = receipts.iter().filter(is_open).count();
        if open == 0 {
            Ok(())
        } else {
            Err(format!("{open} of {} are open", receipts.len()))
        }
    })
    .await;
    eprintln!(
        "{} windows had healed after {:?}",
        receipts.len(),
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_windows_heal_in_an_emptied_temporal() {
    let (mut world, receipts) = many_windows().await;
    world.let_sweep_help("Temporal is emptied");
    world.temporal.kill9();
    world.temporal.delete_file();
    world.temporal.restart().await;
    all_heal(&world, &receipts).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_windows_heal_with_an_alarm_after_a_termination() {
    let (mut world, receipts) = many_windows().await;
    world.let_sweep_help("all runs are terminated");
    world.temporal.terminate_all().await;
    all_heal(&world, &receipts).await;
    let alarms = world.api.all("/v1/alarms").await;
    assert!(
        alarms.iter().any(|alarm| alarm["kind"] == "windows"),
        "{alarms:?}"
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_change_of_settings_is_resumed() {
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.let_sweep_help("the process that changed the settings died");
    world.receiver.answer(Reply::Status(500));
    world.send(BOUGHT, "pending").await;
    let statuses = async |world: &World| {
        let deliveries = world.deliveries("pending").await;
        deliveries
            .iter()
            .map(|one| one["status"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    wait::until(SOON, "a delivery that failed", async || {
        if world.receiver.all().is_empty() {
            Err("no request".to_owned())
        } else {
            Ok(())
        }
    })
    .await;
    // As if the deliveries were waiting for an external id, and a process had stored a change and died before it
    // reconsidered them.
    let left = [
        "UPDATE deliveries SET status = 'waiting'",
        "UPDATE destinations SET reconsider_after = 0",
    ];
    for statement in left {
        postgres::execute(world.installation.database(), statement).expect("the change is left");
    }
    world.receiver.answer(Reply::Status(200));
    for (what, is_so) in [
        (
            "the sweep to reconsider them",
            (|status| status != "waiting") as fn(&str) -> bool,
        ),
        ("their delivery", |status| status == "delivered"),
    ] {
        wait::until(HEALED, what, async || {
            let found = statuses(&world).await;
            if found.iter().all(|status| is_so(status)) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_change_of_many_purchases_is_resumed() {
    let environment = "production";
    let setting = Setting {
        backend: Backend::Postgres,
        environment,
        window_seconds: 1,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.let_sweep_help("the process that changed the settings died");
    world.send(BOUGHT, "known").await;
    let is_production = async |world: &World, wanted: bool| {
        wait::until(HEALED, "the announced environment", async || {
            if world
                .receiver
                .revisions(&world.key("known").to_string())
                .is_empty()
            {
                return Err("nothing was announced".to_owned());
            }
            let newest = world.newest_acked("known");
            if newest["data"]["is_production"] == json!(wanted) {
                Ok(())
            } else {
                Err(newest.to_string())
            }
        })
        .await;
    };
    is_production(&world, true).await;
    // As if the process that made the change had died before the batch with this purchase.
    let left = [
        "UPDATE platforms SET environment = 'sandbox'",
        "INSERT INTO rechecks (why, subject_id, app_id, requested_at, cause, after_key)
             SELECT 'environment', id, app_id, 1, '{\"kind\":\"environment\"}', '' FROM platforms",
    ];
    for statement in left {
        postgres::execute(world.installation.database(), statement).expect("the change is left");
    }
    is_production(&world, false).await;
    world.finish().await;
}
