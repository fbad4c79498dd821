//! The run of a destination: it probes while the breaker is open, honours a pause, drains the backlog and hands back
//! failing lanes; operators control it with the documented commands; `kill -9` during a drain loses nothing and sends
//! nothing twice.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;
use system_tests::process::Backend;
use system_tests::receiver::{Received, Reply};
use system_tests::runs;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use workflows::activities::Supervise;
use workflows::contract;

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const FAILING: Reply = Reply::Status(500);
const WELL: Reply = Reply::Status(200);
/// Number of purchases: more than are needed to open a breaker.
const MANY: usize = 14;
/// Time limit for an interrupted activity to be repeated. A lost worker is detected within seconds. The sweep might
/// repair losses within this time, so the end of each test checks that it had nothing to repair.
const REPEATED: Duration = Duration::from_secs(150);
/// Index of the worker in `World::processes`.
const WORKER: usize = 1;

fn receipts() -> Vec<String> {
    (0..MANY).map(|number| format!("many-{number}")).collect()
}

async fn world(backend: Backend, fail_points: &str) -> World {
    let variables = vec![("FAILPOINTS".to_owned(), fail_points.to_owned())];
    let world = World::start(Setting {
        backend,
        window_seconds: 1,
        variables,
        ..Setting::default()
    })
    .await;
    // An hour, so that no purchase's run makes a second attempt on its own.
    change(&world, &json!({ "schedule": [3600, 3600] })).await;
    world
}

async fn change(world: &World, fields: &Value) {
    let path = format!("/v1/destinations/{}", world.destination_id);
    let answer = world.api.call(Method::PATCH, &path, fields).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

fn workflow(world: &World) -> String {
    let id = world.destination_id.parse().expect("a destination id");
    contract::destination_workflow_id(id)
}

/// Waits until no run of this type is open.
async fn wait_none_open(world: &World, workflow_type: &str) {
    let query = format!("WorkflowType = '{workflow_type}' AND ExecutionStatus = 'Running'");
    wait::until(
        SOON,
        &format!("the end of all runs of {workflow_type}"),
        async || {
            let open = world.temporal.list(&query).await.len();
            if open == 0 {
                Ok(())
            } else {
                Err(format!("{open} are open"))
            }
        },
    )
    .await;
}

/// Opens the breaker by failing deliveries of purchases, which are pending afterwards.
async fn open_breaker(world: &mut World) {
    world.receiver.answer(FAILING);
    for receipt_id in receipts() {
        world.send(BOUGHT, &receipt_id).await;
    }
    world.wait_state(&world.destination_id, "open").await;
    for receipt_id in receipts() {
        wait::until(SOON, &format!("a delivery of {receipt_id}"), async || {
            let deliveries = world.deliveries(&receipt_id).await;
            if deliveries.is_empty() {
                Err("none".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
    }
}

/// Waits until every purchase is acknowledged, every delivery has ended, and the destination is healthy.
async fn check_delivered(world: &World, deadline: Duration) {
    let keys: Vec<String> = receipts()
        .iter()
        .map(|receipt_id| world.key(receipt_id).to_string())
        .collect();
    wait::until(deadline, "everything that was queued", async || {
        let missing = keys
            .iter()
            .filter(|key| world.receiver.revisions(key).is_empty())
            .count();
        if missing == 0 {
            Ok(())
        } else {
            Err(format!("{missing} of {MANY} are missing"))
        }
    })
    .await;
    for receipt_id in receipts() {
        wait::until(
            deadline,
            &format!("the end of the delivery of {receipt_id}"),
            async || {
                let deliveries = world.deliveries(&receipt_id).await;
                if deliveries.iter().all(|one| one["status"] == "delivered") {
                    Ok(())
                } else {
                    Err(format!("{deliveries:?}"))
                }
            },
        )
        .await;
    }
    world.wait_state(&world.destination_id, "healthy").await;
}

/// Returns whether an event starts a `supervise` that probes on a person's request.
fn is_requested_probe(event: &HistoryEvent) -> bool {
    let Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) =
        event.attributes.as_ref()
    else {
        return false;
    };
    let mut inputs = scheduled.input.iter().flat_map(|input| &input.payloads);
    inputs.any(|input| {
        serde_json::from_slice::<Supervise>(&input.data).is_ok_and(|input| input.is_probe)
    })
}

/// Returns the histories of the destination's runs. A purchase's run that ends late can start another run, which finds
/// nothing.
async fn histories(world: &World) -> Vec<Vec<HistoryEvent>> {
    let runs = world.temporal.runs(&workflow(world)).await.into_iter();
    join_all(
        runs.filter_map(|run| run.execution)
            .map(async |run| world.temporal.run_history(&run).await),
    )
    .await
}

/// Returns how often the destination's run started a `supervise`, each of which probes an open breaker at most once.
async fn supervisions(world: &World) -> usize {
    let is_one = |event: &HistoryEvent| match event.attributes.as_ref() {
        Some(Attributes::ActivityTaskScheduledEventAttributes(scheduled)) => scheduled
            .activity_type
            .as_ref()
            .is_some_and(|kind| kind.name == "supervise"),
        _ => false,
    };
    histories(world)
        .await
        .iter()
        .flatten()
        .filter(|event| is_one(event))
        .count()
}

fn acked(world: &World) -> usize {
    world
        .receiver
        .all()
        .iter()
        .filter(|one| one.is_acked())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_ends_its_lanes_and_one_probe_delivers_all() {
    let mut world = world(Backend::Sqlite, "").await;
    open_breaker(&mut world).await;
    // Without the breaker, the next attempts would be an hour later.
    wait_none_open(&world, contract::PURCHASE).await;
    let requests_before = world.receiver.all().len();
    let probes = supervisions(&world).await;
    assert!(
        requests_before <= MANY + probes,
        "{requests_before} requests of {MANY} purchases, {probes} probes"
    );
    let status = world.by_script("--type status").await;
    assert!(
        status.contains("probe") && status.contains("the endpoint answered 500"),
        "{status}"
    );

    world.receiver.answer(WELL);
    world.by_script("--signal-name probe ").await;
    check_delivered(&world, SOON).await;
    assert_eq!(acked(&world), MANY, "each of them once");
    wait_none_open(&world, contract::DESTINATION).await;
    wait_none_open(&world, contract::PURCHASE).await;
    wait::until(SOON, "a run that probed on request", async || {
        let histories = histories(&world).await;
        let failures: Vec<_> = histories
            .iter()
            .flat_map(|history| runs::failures(history))
            .collect();
        assert_eq!(failures, Vec::<String>::new());
        let is_probed = histories.iter().flatten().any(is_requested_probe);
        let seen: Vec<_> = histories
            .iter()
            .map(|history| runs::summary(history))
            .collect();
        if is_probed {
            Ok(())
        } else {
            Err(format!("{seen:#?}"))
        }
    })
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_in_a_drain_returns_to_its_purchases_run() {
    let mut world = world(Backend::Sqlite, "").await;
    change(&world, &json!({ "enabled": false })).await;
    for receipt_id in ["one", "two"] {
        world.send(BOUGHT, receipt_id).await;
        wait::until(SOON, "a delivery that is pending", async || {
            let deliveries = world.deliveries(receipt_id).await;
            if deliveries.is_empty() {
                Err("none".to_owned())
            } else {
                Ok(())
            }
        })
        .await;
        world.wait_asleep(receipt_id).await;
    }
    world.receiver.answer(FAILING);
    world.by_script("\"reason\":\"done\"").await;
    for receipt_id in ["one", "two"] {
        let purchase = world.workflow(receipt_id);
        wait::until(SOON, "a delivery that backs off", async || {
            let pending = world.temporal.pending_activities(&purchase).await;
            let is_seen = pending.iter().any(|one| {
                one.last_failure
                    .as_ref()
                    .is_some_and(|why| why.message.contains("500"))
            });
            if is_seen {
                Ok(())
            } else {
                Err(format!("{pending:?}"))
            }
        })
        .await;
    }
    world.receiver.answer(WELL);
    world.by_script("they lost it").await;
    for receipt_id in ["one", "two"] {
        world.wait_acked(receipt_id, 1).await;
        world.wait_asleep(receipt_id).await;
    }
    assert_eq!(acked(&world), 2, "each of them once");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_pauses_all_lanes_until_a_person_ends_it() {
    let mut world = world(Backend::Sqlite, "").await;
    world.receiver.answer_next(1, &Reply::RetryAfter(3600));
    world.send(BOUGHT, "asked").await;
    world.wait_received("asked", 1).await;
    world.wait_state(&world.destination_id, "failing").await;
    world.send(BOUGHT, "other").await;
    world.wait_asleep("other").await;
    let quiet = Duration::from_secs(8);
    wait::throughout(quiet, "the pause", async || {
        let count = world.receiver.all().len();
        if count == 1 {
            Ok(())
        } else {
            Err(format!("{count} requests"))
        }
    })
    .await;
    world.by_script("they lost it").await;
    world.wait_acked("asked", 1).await;
    world.wait_acked("other", 1).await;
    world.wait_state(&world.destination_id, "healthy").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_disabled_by_script_gets_nothing_until_enabled() {
    let mut world = world(Backend::Sqlite, "").await;
    world.receiver.answer(FAILING);
    world.send(BOUGHT, "tried").await;
    world.wait_received("tried", 1).await;
    world.receiver.answer(WELL);
    world.by_script("--signal-name disable ").await;
    // Otherwise, the next attempt would be an hour later.
    world.wait_asleep("tried").await;
    let shown = world.wait_state(&world.destination_id, "disabled").await;
    assert_eq!(
        (&shown["enabled"], &shown["reason"]),
        (&json!(false), &json!("me: maintenance")),
        "{shown}"
    );
    let message_id = world.send(BOUGHT, "off").await;
    world.wait_outcome(&message_id).await;
    world.wait_asleep("off").await;
    assert_eq!(acked(&world), 0);
    world
        .temporal
        .signal(&workflow(&world), contract::ENABLE, &json!(3))
        .await
        .unwrap_or_default();
    world.by_script("\"reason\":\"done\"").await;
    world.wait_acked("off", 1).await;
    world.wait_acked("tried", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enabling_by_script_with_newest_only_sends_no_old_events() {
    check_no_old_events("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enabling_with_newest_only_in_batches_sends_no_old_events() {
    check_no_old_events("enable.one_by_one=return").await;
}

async fn check_no_old_events(fail_points: &str) {
    let mut world = world(Backend::Sqlite, fail_points).await;
    change(&world, &json!({ "events": ["*"], "enabled": false })).await;
    world.send(BOUGHT, "off").await;
    wait::until(SOON, "a state and news that are pending", async || {
        let pending = world.deliveries("off").await.len();
        if pending > 1 {
            Ok(())
        } else {
            Err(format!("{pending}"))
        }
    })
    .await;
    world.wait_asleep("off").await;
    world.by_script("that is old news").await;
    world.wait_acked("off", 1).await;
    world.wait_state(&world.destination_id, "healthy").await;
    for delivery in world.deliveries("off").await {
        let is_news = delivery["event_type"]
            .as_str()
            .is_some_and(|name| name.starts_with("user."));
        assert_eq!(delivery["status"] == "skipped", is_news, "{delivery}");
    }
    assert_eq!(acked(&world), 1, "the newest state");
    // An enabled destination cannot be enabled with `newest_only`; the status shows the error.
    world.by_script("that is old news").await;
    wait::until(SOON, "the error about that", async || {
        let status = world.by_script("--type status").await;
        if status.contains("disable it first") {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;
    world.finish().await;
}

/// Returns a world whose worker aborted at a fail point of a drain and was replaced by another.
async fn killed_at(point: &str, replies: &[Reply]) -> World {
    let mut world = world(Backend::Postgres, &format!("{point}=1*return")).await;
    change(&world, &json!({ "schedule": [20, 20, 3600] })).await;
    open_breaker(&mut world).await;
    world.receiver.answer(WELL);
    for reply in replies {
        world.receiver.answer_next(1, reply);
    }
    world.by_script("--signal-name probe ").await;
    let exit = world.processes()[WORKER].wait_end().await;
    assert_eq!(
        exit.signal(),
        Some(6),
        "{point}: ended with {exit} and not by aborting itself"
    );
    world.processes()[WORKER] = world.installation.start(&["worker"], &[]);
    check_delivered(&world, REPEATED).await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_after_a_good_probe_loses_and_repeats_nothing() {
    let world = killed_at("supervise.after_probe", &[]).await;
    assert_eq!(acked(&world), MANY, "each of them once");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_before_it_hands_a_lane_back_loses_nothing() {
    // The probe succeeds; the next request fails.
    let mut world = killed_at("drain.before_hand_back", &[WELL, FAILING]).await;
    world.let_sweep_help("the worker was killed before it signalled the purchase's run");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_continues_in_another_worker() {
    let mut world = world(Backend::Postgres, "").await;
    open_breaker(&mut world).await;
    change(&world, &json!({ "concurrency": 2 })).await;
    world.receiver.answer(WELL);
    world.receiver.answer_next(1, &WELL);
    world.receiver.answer_next(2, &Reply::Hang);
    world.by_script("--signal-name probe ").await;
    wait::until(SOON, "two requests that hang", async || {
        let hanging = world
            .receiver
            .all()
            .iter()
            .filter(|one| one.finished_at.is_none())
            .count();
        if hanging == 2 {
            Ok(())
        } else {
            Err(format!("{hanging}"))
        }
    })
    .await;
    let before = world.receiver.all().len();
    world.processes()[WORKER].terminate();
    world.receiver.release();
    world.processes()[WORKER].wait_end().await;
    let begun: Vec<Received> = world.receiver.all().into_iter().skip(before).collect();
    assert!(
        begun.len() <= 2,
        "{} requests were begun by a worker that was ending",
        begun.len()
    );
    world.processes()[WORKER] = world.installation.start(&["worker"], &[]);
    check_delivered(&world, REPEATED).await;
    assert_eq!(acked(&world), MANY, "each of them once");
    world.finish().await;
}
