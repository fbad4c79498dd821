//! Stuck work is detected and restarted: a hanging sweep, the sweep's workflow, a purchase's run.

use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;
use system_tests::http::Api;
use system_tests::process::Backend;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use system_tests::{ports, postgres};

/// Time limit until a process detects a late sweep.
const NOTICED: Duration = Duration::from_secs(300);

/// Moves the end of the last sweep ten minutes back, unless the sweep's workflow has been restarted.
const EARLIER: &str =
    "UPDATE sweeps SET finished_at = finished_at - 600000000 WHERE restarted_at IS NULL";

/// Returns the command that replaces the sweep's run with one that does not begin for an hour.
fn stuck_run_command(installation: &str) -> String {
    format!(
        "temporal workflow start --type sweep --workflow-id sweep --task-queue settle --start-delay 1h \
         --memo 'installation=\"{installation}\"' --id-conflict-policy TerminateExisting"
    )
}

async fn alarms(world: &World, kind: &str) -> Result<Vec<Value>, String> {
    let found = world.api.try_get("/v1/alarms").await?;
    let all = found.body["items"].as_array().cloned().unwrap_or_default();
    Ok(all
        .into_iter()
        .filter(|alarm| alarm["kind"] == kind)
        .collect())
}

/// Waits until a sweep has finished and `/readyz` shows this state of the sweep.
async fn wait_sweep(world: &World, state: &str) {
    wait::until(SOON, &format!("a sweep that is {state}"), async || {
        let ready = world.api.try_get("/readyz").await?.body;
        if ready["sweep"] == state && ready["last_sweep_at"].is_string() {
            Ok(())
        } else {
            Err(ready.to_string())
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stuck_sweep_is_started_again_once() {
    let planted = "sweep.hang=1*return;sweep.hang/streams=2*return;sweep.fail/late=return";
    let hangs = ("FAILPOINTS".to_owned(), planted.to_owned());
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        variables: vec![hangs],
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.send("SUBSCRIPTION_PURCHASED", "r1").await;
    let received = world.wait_received("r1", 1).await;
    let installation = received[0].body["attributes"]["org_id"]
        .as_str()
        .expect("the id of the installation")
        .to_owned();
    // The first sweep hangs, times out and is repeated. Parts that hang or fail do not stop later parts.
    wait_sweep(&world, "on_time").await;
    world
        .temporal
        .run_line(&stuck_run_command(&installation))
        .await;
    let database = world.installation.database();
    let found = wait::until(NOTICED, "the alarm", async || {
        postgres::execute(database, EARLIER).map_err(|error| error.to_string())?;
        let found = alarms(&world, "sweep").await?;
        if found.is_empty() {
            Err("none".to_owned())
        } else {
            Ok(found)
        }
    })
    .await;
    wait_sweep(&world, "on_time").await;
    // Both processes watch, but only one acted. The finished sweep closes the alarm.
    assert_eq!(
        found
            .iter()
            .map(|alarm| alarm["count"].as_i64())
            .collect::<Vec<_>>(),
        [Some(1)]
    );
    let closed = wait::until(SOON, "the end of the alarm", async || {
        let found = alarms(&world, "sweep").await?;
        if found
            .iter()
            .all(|alarm| alarm["acknowledged_by"] == "settle")
        {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await;
    assert_eq!(
        (closed.len(), &closed[0]["id"], &closed[0]["count"]),
        (1, &found[0]["id"], &found[0]["count"])
    );
    world.finish().await;
}

/// Moves the end of the window back by twenty minutes, and records three wakes without effect.
const LATE: &str = "UPDATE notifications SET due_at = due_at - 1200000000, sweep_at = due_at - 1200000000, wakes = 3 \
                    WHERE outcome IS NULL";

/// Starts a run for the purchase `r1` whose workflow tasks all fail, because no worker knows its workflow type, and
/// sends a notification. Returns the ids of the workflow and of the message.
async fn start_failing_run(world: &mut World, signal: Option<&str>) -> (String, String) {
    let workflow = world.workflow("r1");
    let line = format!(
        "temporal workflow start --type unknown --workflow-id {workflow} --task-queue settle"
    );
    world.temporal.run_line(&line).await;
    if let Some(signal) = signal {
        let line = format!(
            "temporal workflow signal --workflow-id {workflow} --name {signal} --input '{{\"by\":\"ann\"}}'"
        );
        world.temporal.run_line(&line).await;
    }
    let message = world.send("SUBSCRIPTION_PURCHASED", "r1").await;
    wait::until(
        NOTICED,
        "a workflow task that fails repeatedly",
        async || {
            let task = world
                .temporal
                .describe(&workflow)
                .await
                .and_then(|found| found.pending_workflow_task);
            if task.as_ref().is_some_and(|task| task.attempt >= 3) {
                Ok(())
            } else {
                Err(format!("{task:?}"))
            }
        },
    )
    .await;
    assert!(world.receiver.all().is_empty(), "nothing settles it");
    postgres::execute(world.installation.database(), LATE).expect("the window ended earlier");
    (workflow, message)
}

/// Waits until the purchase `r1` is settled.
async fn wait_settled(world: &World, message: &str) {
    wait::until(NOTICED, "the outcome", async || {
        world
            .receiver
            .revisions(&world.key("r1").to_string())
            .first()
            .copied()
            .ok_or("none".to_owned())
    })
    .await;
    world.wait_outcome(message).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_run_with_an_admins_signal_is_not_terminated() {
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.let_sweep_help("it wakes the run in vain");
    let (workflow, message) = start_failing_run(&mut world, Some("redeliver")).await;
    let found = wait::until(NOTICED, "the alarm", async || {
        let found = alarms(&world, "stuck").await?;
        found.first().cloned().ok_or("none".to_owned())
    })
    .await;
    assert!(
        found["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("was not ended")),
        "{found}"
    );
    assert!(
        world.receiver.all().is_empty(),
        "the run still fails, and still has the signal"
    );
    // An operator terminates the run, and starts another with a signal.
    world
        .temporal
        .run_line(&format!(
            "temporal workflow terminate --workflow-id {workflow}"
        ))
        .await;
    world
        .act("r1", "flush", &json!({ "reason": "its run was ended" }))
        .await;
    wait_settled(&world, &message).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_whose_run_keeps_failing_is_settled_by_another() {
    let setting = Setting {
        backend: Backend::Postgres,
        window_seconds: 1,
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    let (_, message) = start_failing_run(&mut world, None).await;
    wait_settled(&world, &message).await;
    let found = alarms(&world, "stuck").await.expect("the alarms");
    assert_eq!(
        found
            .iter()
            .map(|alarm| alarm["count"].as_i64())
            .collect::<Vec<_>>(),
        [Some(1)]
    );
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn naming_a_customer_takes_effect_without_a_sweep() {
    let hangs = ("FAILPOINTS".to_owned(), "sweep.hang=return".to_owned());
    let setting = Setting {
        window_seconds: 1,
        variables: vec![hangs],
        ..Setting::default()
    };
    let mut world = World::start(setting).await;
    world.send("SUBSCRIPTION_PURCHASED", "r1").await;
    world.wait_received("r1", 1).await;
    let path = format!("/v1/apps/{}/customers", world.app_id);
    let named = json!({ "external_id": "anna", "receipt_id": "r1" });
    assert_eq!(world.api.call(Method::PUT, &path, &named).await.status, 200);
    let received = world.wait_received("r1", 2).await;
    assert_eq!(received[1].body["data"]["last_seen_external_id"], "anna");
    world.finish().await;
}

/// The metric reported by the worker that ran the sweep.
const WORKERS: &str = "settle_workers ";

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_counts_the_workers_whose_rates_add_up() {
    let mut world = World::start(Setting {
        backend: Backend::Postgres,
        ..Setting::default()
    })
    .await;
    let mut pages = Vec::new();
    for _ in 0..2 {
        let address = format!("127.0.0.1:{}", ports::free());
        let process = world
            .installation
            .start(&["worker", "--metrics", &address], &[]);
        world.join(process);
        pages.push(Api::new(&format!("http://{address}"), ""));
    }
    // Kills the first worker, whose metrics are not read.
    world.processes()[1].kill9();
    wait::until(SOON, "a sweep that counts workers", async || {
        let mut figures = Vec::new();
        for page in &pages {
            let answer = page.try_get("/metrics").await?;
            let lines = answer.body.as_str().unwrap_or_default().lines();
            figures.extend(
                lines
                    .filter_map(|line| line.strip_prefix(WORKERS))
                    .map(str::to_owned),
            );
        }
        // For a while, Temporal still counts the worker that was killed.
        if figures
            .iter()
            .any(|figure| ["2", "3"].contains(&figure.as_str()))
        {
            Ok(())
        } else {
            Err(format!("{figures:?}"))
        }
    })
    .await;
    world.finish().await;
}
