//! `kill -9` at any moment and at every fail point: every accepted notification has exactly one outcome in the end, and
//! the receiver has the newest revision, without another notification. Only messages that were not answered 200 are
//! posted again, like SNS does. Windows and back-offs pass in real time.

use domain::CollapseKey;
use futures::future::join_all;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use system_tests::postgres::Hold;
use system_tests::process::Backend;
use system_tests::receiver::Reply;
use system_tests::sns::Rtn;
use system_tests::temporal::Memory;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use tokio::sync::Semaphore;
use workflows::contract;

/// Limits the number of these tests' worlds that run concurrently.
static PLACES: Semaphore = Semaphore::const_new(3);

/// Time limit for repetition: an attempt or workflow task whose worker died is repeated after its timeout, within half
/// a minute. The sweep might repair losses within this time, so the end of each test checks that it had nothing to
/// repair.
const REPEATED: Duration = Duration::from_secs(150);

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const STOPPED: &str = "SUBSCRIPTION_AUTO_RENEWAL_OFF";

async fn world(backend: Backend, memory: Memory, fail_points: &str) -> World {
    let variables = vec![("FAILPOINTS".to_owned(), fail_points.to_owned())];
    World::start(Setting {
        backend,
        memory,
        window_seconds: 3,
        variables,
        ..Setting::default()
    })
    .await
}

/// Indexes of the processes in `World::processes`. On SQLite, the first process does both.
const SERVE: usize = 0;
const WORKER: usize = 1;

/// Restarts one process, without fail points.
async fn revive(world: &mut World, place: usize) {
    let command = match (world.installation.backend(), place) {
        (Backend::Sqlite, _) => "run",
        (_, SERVE) => "serve",
        (..) => "worker",
    };
    world.processes()[place].kill9();
    world.processes()[place] = world.installation.start(&[command], &[]);
    if place == SERVE {
        world.serve().wait_connected().await;
    }
}

/// The sent messages: receipt and message id.
type Sent = Vec<(&'static str, String)>;

/// Creates a delivery in back-off, an open window, and a notification that was just answered.
async fn make_busy(world: &mut World) -> Sent {
    // The delivery is retried every few seconds until the test has seen a failure.
    world.set_schedule(&[5; 40]).await;
    world.receiver.answer(Reply::Status(500));
    let mut sent = vec![("pending", world.send(BOUGHT, "pending").await)];
    world.wait_back_off("pending").await;
    world.receiver.answer(Reply::Status(200));
    sent.push(("waiting", world.send(BOUGHT, "waiting").await));
    world.wait_first_notified("waiting").await;
    sent.push(("waiting", world.send(STOPPED, "waiting").await));
    sent.push(("fresh", world.send(BOUGHT, "fresh").await));
    sent
}

/// Waits until all work has ended, and checks that nothing was lost or counted twice.
async fn check(world: World, sent: &Sent) {
    for (receipt_id, message_id) in sent {
        wait::until(
            REPEATED,
            &format!("the outcome of {message_id} of {receipt_id}"),
            async || {
                let answer = world
                    .api
                    .try_get(&format!("/v1/notifications/{message_id}"))
                    .await?;
                let found = answer.body["notifications"]
                    .as_array()
                    .map_or(&[][..], Vec::as_slice);
                match found {
                    [one] if one["outcome"] == "settled" => Ok(()),
                    _ => Err(format!("{answer:?}")),
                }
            },
        )
        .await;
    }
    for receipt_id in ["pending", "waiting", "fresh"] {
        let count = sent.iter().filter(|(of, _)| *of == receipt_id).count();
        if count > 0 {
            check_purchase(&world, receipt_id, count).await;
        }
    }
    world.finish().await;
}

/// Checks that the revisions have no gap and count each notification once, and that the newest one arrived.
async fn check_purchase(world: &World, receipt_id: &str, count: usize) {
    world
        .check_revisions(receipt_id, count)
        .await
        .unwrap_or_else(|wrong| panic!("{wrong}"));
    let newest = i64::try_from(world.events(receipt_id).await.len()).unwrap_or(i64::MAX);
    let key = world.key(receipt_id).to_string();
    wait::until(
        REPEATED,
        &format!("the newest revision of {receipt_id} at the receiver"),
        async || {
            let acked = world.receiver.revisions(&key);
            let deliveries = world.deliveries(receipt_id).await;
            let are_final = deliveries
                .iter()
                .all(|one| one["status"] == "delivered" || one["status"] == "superseded");
            let has_arrived = acked.last() == Some(&newest) && are_final;
            if has_arrived {
                Ok(())
            } else {
                Err(format!("{acked:?} of {newest}, {deliveries:?}"))
            }
        },
    )
    .await;
}

/// Kills processes while work of all kinds is in progress.
async fn killed(backend: Backend, places: &[usize]) {
    let _place = PLACES.acquire().await;
    let mut world = world(backend, Memory::Shared, "").await;
    let sent = make_busy(&mut world).await;
    for place in places {
        world.processes()[*place].kill9();
    }
    for place in places {
        revive(&mut world, *place).await;
    }
    check(world, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_api_loses_nothing() {
    killed(Backend::SyncedPostgres, &[SERVE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_worker_loses_nothing() {
    killed(Backend::SyncedPostgres, &[WORKER]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_the_one_process_of_sqlite_loses_nothing() {
    killed(Backend::Sqlite, &[SERVE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_temporal_loses_nothing_and_refuses_nothing() {
    let _place = PLACES.acquire().await;
    let mut world = world(Backend::SyncedPostgres, Memory::File, "").await;
    let mut sent = make_busy(&mut world).await;
    world.temporal.kill9();
    sent.push(("fresh", world.send(STOPPED, "fresh").await));
    world.temporal.restart().await;
    check(world, &sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_everything_at_once_loses_nothing() {
    let _place = PLACES.acquire().await;
    let mut world = world(Backend::SyncedPostgres, Memory::File, "").await;
    let sent = make_busy(&mut world).await;
    for place in [SERVE, WORKER] {
        world.processes()[place].kill9();
    }
    world.temporal.kill9();
    world.temporal.restart().await;
    world.restart().await;
    check(world, &sent).await;
}

/// A fail point at which a process aborts.
struct Point {
    name: &'static str,
    /// Index of the process that reaches the point.
    place: usize,
}

/// Fail points between a notification and its signal.
pub const ACCEPTING: [&str; 3] = [
    "accept.before_commit",
    "accept.after_commit",
    "dispatch.before_signal",
];
/// Fail points of a settling.
pub const SETTLING: [&str; 3] = ["load.after", "record.before_commit", "record.after_commit"];
/// Fail points of an attempt.
pub const DELIVERING: [&str; 3] = [
    "deliver.before_send",
    "deliver.after_send",
    "deliver.after_finish",
];

/// Returns the name of the purchase during which the process aborts at this fail point.
pub fn purchase_at(point: &str) -> String {
    point.replace(['.', '_'], "-")
}

/// Returns the types of the `user.*` events about a purchase that arrived, each event once. A killed process repeats
/// requests.
pub fn events_of(world: &World, purchase_id: &str) -> Vec<String> {
    let received = world.receiver.of_receipt(purchase_id);
    let of_user = received
        .iter()
        .filter(|one| one.is_acked() && one.collapse_key().is_empty());
    let distinct: BTreeMap<String, String> = of_user
        .map(|one| (one.webhook_id.clone(), one.event_type().to_owned()))
        .collect();
    distinct.into_values().collect()
}

/// Waits until no run of a purchase is open, so that it does not reach the next fail point.
pub async fn wait_asleep(world: &World, key: CollapseKey) {
    let workflow = contract::workflow_id(key);
    wait::until(SOON, &format!("the end of {workflow}"), async || {
        if world.temporal.is_closed(&workflow).await {
            Ok(())
        } else {
            Err("an open run".to_owned())
        }
    })
    .await;
}

/// Sends two purchases and kills a process at a fail point. At a point of `accept`, the first purchase passes, so that
/// a window is open when the API dies at the second. At `dispatch.before_signal`, there is only one purchase, because a
/// signal may take several attempts and therefore reach the point any number of times.
async fn killed_at(backend: Backend, point: Point) {
    let _place = PLACES.acquire().await;
    let harmless = if point.name.starts_with("accept.") {
        "1*off->"
    } else {
        ""
    };
    let mut world = world(
        backend,
        Memory::Shared,
        &format!("{}={harmless}1*return", point.name),
    )
    .await;
    let mut sent = Sent::new();
    if point.name != "dispatch.before_signal" {
        sent.push(("waiting", world.send(BOUGHT, "waiting").await));
        world.wait_first_notified("waiting").await;
    }
    let message = world.sns.notification(&Rtn::new(BOUGHT, "fresh"));
    let answer = world.post(&message).await;
    let exit = world.processes()[point.place].wait_end().await;
    assert_eq!(
        exit.signal(),
        Some(6),
        "{}: ended with {exit} and not by aborting itself",
        point.name
    );
    revive(&mut world, point.place).await;
    if point.name == "accept.before_commit" {
        assert!(
            answer.is_err(),
            "it was answered before it was kept: {answer:?}"
        );
    }
    if answer.is_err() && point.name != "accept.after_commit" {
        world.post_until_accepted(&message).await;
    }
    sent.push(("fresh", message.id.clone()));
    if point.name == "deliver.after_send" {
        let repeated = wait::until(REPEATED, "the same request again", async || {
            let all = world.receiver.all();
            if all.len() > 2 {
                Ok(all)
            } else {
                Err(format!("{} requests", all.len()))
            }
        });
        let ids: std::collections::BTreeSet<_> = repeated
            .await
            .into_iter()
            .map(|one| one.webhook_id)
            .collect();
        assert_eq!(ids.len(), 2, "a repeated request has the same webhook-id");
    }
    if point.name == "accept.after_commit" {
        assert!(
            answer.is_err(),
            "it was answered by a dead process: {answer:?}"
        );
        world.wait_outcome(&message.id).await;
        // SNS received no answer and posts the message again, which is a repetition.
        world.post_until_accepted(&message).await;
    }
    check(world, &sent).await;
}

async fn killed_at_each(backend: Backend, names: &[&'static str], place: usize) {
    join_all(
        names
            .iter()
            .map(|&name| killed_at(backend, Point { name, place })),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_survives_every_kill_before_its_window() {
    killed_at_each(Backend::SyncedPostgres, &ACCEPTING, SERVE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_survives_every_kill_in_its_settling() {
    killed_at_each(Backend::SyncedPostgres, &SETTLING, WORKER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_survives_every_kill_in_its_attempt() {
    killed_at_each(Backend::SyncedPostgres, &DELIVERING, WORKER).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_survive_a_kill_of_the_one_process_of_sqlite() {
    killed_at_each(
        Backend::Sqlite,
        &["record.after_commit", "deliver.after_send"],
        SERVE,
    )
    .await;
}

/// Simulates a closed laptop or a migrated machine: Temporal gives the task to the poll that the worker had open, and
/// the worker receives it when it resumes, in addition to the task that it was executing.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_suspended_beyond_the_limit_of_its_task_goes_on() {
    let mut world = world(Backend::SyncedPostgres, Memory::Shared, "").await;
    world.send(BOUGHT, "suspended").await;
    world.wait_acked("suspended", 1).await;
    let rows = format!(
        "purchases WHERE collapse_key = '{}'",
        world.key("suspended")
    );
    let mut hold = Hold::on(world.installation.database(), &rows)
        .await
        .expect("a lock");
    let second = world.send(STOPPED, "suspended").await;
    wait::until(SOON, "a settling that waits for the row", async || {
        if hold.is_waited_for().expect("an answer") {
            Ok(())
        } else {
            Err("nobody waits".to_owned())
        }
    })
    .await;
    world.worker().freeze();
    let workflow = world.workflow("suspended");
    wait::until(REPEATED, "the end of the task's time", async || {
        let history = world.temporal.history(&workflow).await;
        let is_late = history
            .iter()
            .any(|event| event.event_type() == EventType::WorkflowTaskTimedOut);
        if is_late {
            Ok(())
        } else {
            Err(format!("{} events", history.len()))
        }
    })
    .await;
    world.worker().thaw();
    hold.release().expect("an end of the lock");
    world.wait_outcome(&second).await;
    world.send(BOUGHT, "next").await;
    world.wait_acked("next", 1).await;
    assert_eq!(
        world.worker().exit_status(),
        None,
        "it ended:\n{}",
        world.worker().log()
    );
    world.finish().await;
}

/// Temporal's SDK panics in unexpected situations. The workers' interrupted work is repeated, and the process
/// continues.
#[tokio::test(flavor = "multi_thread")]
async fn a_process_outlives_a_panic_of_its_workers() {
    let mut world = world(
        Backend::Sqlite,
        Memory::Shared,
        "worker.after_begin=1*panic->off",
    )
    .await;
    let sent = world.send(BOUGHT, "r1").await;
    world.wait_outcome(&sent).await;
    world.wait_acked("r1", 1).await;
    let log = world.serve().log();
    assert!(
        log.contains("the workers ended and begin again") && log.contains("SDK panicked"),
        "{log}"
    );
    world.finish().await;
}
