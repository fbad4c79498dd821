//! The quiet window as the start delay of the run: what people see meanwhile, what ends it, and that nothing depends on
//! who holds it.

use serde_json::{Value, json};
use std::time::Duration;
use system_tests::process::Backend;
use system_tests::runs;
use system_tests::sns::Rtn;
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::common::v1::Payload;
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use workflows::window::QuietWindow;

const BOUGHT: &str = "SUBSCRIPTION_PURCHASED";
const STOPPED: &str = "SUBSCRIPTION_AUTO_RENEWAL_OFF";
/// A window in real time, in which a test kills something.
const SHORT_WINDOW_SECONDS: u64 = 15;

fn delayed() -> Setting {
    Setting { quiet_window: QuietWindow::StartDelay, ..Setting::default() }
}

async fn history(world: &World, receipt_id: &str) -> Vec<HistoryEvent> {
    world.temporal.history(&world.workflow(receipt_id)).await
}

/// Checks that the newest run waits in its start delay.
async fn check_delayed(world: &World, receipt_id: &str) {
    let history = history(world, receipt_id).await;
    assert!(runs::delay_until(&history).is_some(), "{:#?}", runs::summary(&history));
}

/// Waits until the newest run has begun.
async fn wait_begun(world: &World, receipt_id: &str) {
    wait::until(SOON, "a workflow task", async || {
        let history = history(world, receipt_id).await;
        let has_begun = !runs::times(&history, EventType::WorkflowTaskCompleted).is_empty();
        if has_begun { Ok(()) } else { Err(format!("{:?}", runs::summary(&history))) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_notification_is_settled_in_one_workflow_task() {
    let mut world = World::start(delayed()).await;
    // A destination is prompt after its first request.
    for receipt_id in ["first", "second"] {
        world.send(BOUGHT, receipt_id).await;
        world.wait_notified(receipt_id, 1).await;
        check_delayed(&world, receipt_id).await;
        world.pass(receipt_id, 121).await;
        world.wait_acked(receipt_id, 1).await;
        world.wait_asleep(receipt_id).await;
    }
    let history = history(&world, "second").await;
    let count = |kind| history.iter().filter(|event| event.event_type() == kind).count();
    let seen = (count(EventType::WorkflowTaskCompleted), count(EventType::TimerStarted));
    assert_eq!(seen, (1, 0), "workflow tasks and timers: {:#?}", runs::summary(&history));
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_delay_people_see_the_window_without_the_run() {
    let mut world = World::start(delayed()).await;
    world.send(BOUGHT, "shown").await;
    world.wait_notified("shown", 1).await;
    let status = world.status("shown").await.expect("a status from storage");
    assert_eq!(
        (&status["delayed"], &status["pending"], &status["state"]),
        (&json!(true), &json!(1), &json!("unknown"))
    );
    let ends = |status: &Value| status["window_ends_at"].as_str().and_then(|end| end.parse::<domain::Timestamp>().ok());
    let end = ends(&status).expect("the end of the window");
    let workflow = world.workflow("shown");
    let found = world.temporal.describe(&workflow).await.expect("an open run");
    let metadata = found.execution_config.and_then(|config| config.user_metadata).expect("a summary and details");
    let text = |payload: Option<Payload>| {
        payload.map(|payload| String::from_utf8_lossy(&payload.data).into_owned()).unwrap_or_default()
    };
    assert!(text(metadata.summary).contains("one purchase"));
    let details = text(metadata.details);
    let shown = details.split("quiet until about ").nth(1).and_then(|rest| rest.split(": ").next());
    let shown: domain::Timestamp = shown.and_then(|time| time.parse().ok()).unwrap_or_else(|| panic!("{details}"));
    let apart = if shown > end { shown.since(end) } else { end.since(shown) };
    assert!(apart < SOON, "shown as {shown}, in storage {end}");
    let query = format!("SettleCollapseKey = '{}' AND ExecutionStatus = 'Running'", world.key("shown"));
    wait::until(SOON, &query, async || match world.temporal.list(&query).await.len() {
        1 => Ok(()),
        found => Err(format!("{found} runs")),
    })
    .await;
    // A plain signal does not end the delay, and storage knows the later end.
    world.send(STOPPED, "shown").await;
    let later = world.wait_status("shown", "a later end", |status| ends(status) > Some(end)).await;
    assert_eq!((&later["delayed"], &later["pending"]), (&json!(true), &json!(2)));
    world.act("shown", "flush", &json!({ "reason": "a test" })).await;
    world.wait_acked("shown", 1).await;
    world.wait_asleep("shown").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_action_in_the_delay_a_timer_holds_the_rest() {
    let mut world = World::start(delayed()).await;
    world.send(BOUGHT, "rest").await;
    world.wait_notified("rest", 1).await;
    world.pass("rest", 50).await;
    check_delayed(&world, "rest").await;
    // Nothing of it was delivered, so that it only wakes the run.
    world.act("rest", "redeliver", &json!({ "reason": "a test" })).await;
    wait_begun(&world, "rest").await;
    let status = world.wait_status("rest", "an answer of the run", |status| status["delayed"].is_null()).await;
    assert!(status["window_ends_at"].is_string(), "{status}");
    wait::until(SOON, "a timer", async || match runs::timers(&history(&world, "rest").await).as_slice() {
        [rest] if *rest <= Duration::from_secs(70) && *rest + SOON > Duration::from_secs(70) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    world.pass("rest", 40).await;
    world.check_waiting("rest").await;
    world.pass("rest", 31).await;
    world.wait_acked("rest", 1).await;
    world.wait_asleep("rest").await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_terminated_in_its_delay_is_started_again() {
    let mut world = World::start(Setting { window_seconds: SHORT_WINDOW_SECONDS, ..delayed() }).await;
    world.let_sweep_help("a run was terminated, and nobody but the sweep starts another for `alone`");
    for receipt_id in ["alone", "notified"] {
        world.send(BOUGHT, receipt_id).await;
        world.wait_notified(receipt_id, 1).await;
        check_delayed(&world, receipt_id).await;
        world.temporal.terminate(&world.workflow(receipt_id)).await;
    }
    world.send(STOPPED, "notified").await;
    let received = world.wait_received("notified", 1).await;
    assert_eq!(received.first().map(|one| one.body["attributes"]["coalesced"].as_i64()), Some(Some(2)));
    world.receiver.wait_for(&world.key("alone").to_string(), 1, SOON * 5).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_killed_in_the_delay_settle_once_when_back() {
    let mut world = World::start(Setting { window_seconds: SHORT_WINDOW_SECONDS, ..delayed() }).await;
    world.send(BOUGHT, "killed").await;
    world.wait_notified("killed", 1).await;
    check_delayed(&world, "killed").await;
    world.kill9();
    let workflow = world.workflow("killed");
    wait::until(SOON, "the end of the delay", async || {
        let begun = world.temporal.count(&workflow, EventType::WorkflowTaskScheduled).await;
        if begun > 0 { Ok(()) } else { Err("it is delayed".to_owned()) }
    })
    .await;
    world.restart().await;
    world.wait_acked("killed", 1).await;
    world.wait_asleep("killed").await;
    assert_eq!(world.events("killed").await.len(), 1, "one event");
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_signal_at_once_settle_once() {
    let mut world = World::start(Setting { backend: Backend::Postgres, window_seconds: 4, ..delayed() }).await;
    let setting = [("SETTLE_ENGINE_WINDOW", QuietWindow::StartDelay.as_str())];
    let other = world.join(world.installation.serve_beside(&setting));
    world.processes()[other].wait_connected().await;
    let (first, own) = (world.installation.public_url(), world.processes()[other].public_url().to_owned());
    let urls = [world.notification_url.clone(), world.notification_url.replace(&first, &own)];
    let receipts: Vec<String> = (0..8).map(|number| format!("both-{number}")).collect();
    for receipt_id in &receipts {
        let messages = [BOUGHT, STOPPED].map(|kind| world.sns.notification(&Rtn::new(kind, receipt_id)));
        let bodies = messages.each_ref().map(|message| message.body.clone());
        let (one, two) = tokio::join!(
            system_tests::http::post_as_sns(&urls[0], &bodies[0]),
            system_tests::http::post_as_sns(&urls[1], &bodies[1]),
        );
        assert_eq!([one, two].map(|answer| answer.map(|answer| answer.status)), [Ok(200), Ok(200)]);
        for message in &messages {
            // The repetition changes nothing, and counts it as accepted.
            world.post_until_accepted(message).await;
        }
    }
    for receipt_id in &receipts {
        let received = world.wait_received(receipt_id, 1).await;
        assert_eq!(received.first().map(|one| one.body["attributes"]["coalesced"].as_i64()), Some(Some(2)));
        world.wait_asleep(receipt_id).await;
        assert_eq!(world.temporal.runs(&world.workflow(receipt_id)).await.len(), 1, "one run of {receipt_id}");
    }
    world.finish().await;
}

/// Opens a window with one setting and restarts the processes with the other one: the run goes on, and a further
/// notification restarts its window.
async fn an_open_window_survives_a_change_of_the_setting(before: QuietWindow, after: QuietWindow) {
    let mut world = World::start(Setting { quiet_window: before, ..Setting::default() }).await;
    world.send(BOUGHT, "changed").await;
    world.wait_notified("changed", 1).await;
    world.start_with(&[("SETTLE_ENGINE_WINDOW", after.as_str())]).await;
    let last = world.send(STOPPED, "changed").await;
    // A starting process signals what waits once more.
    world.wait_notified("changed", 2).await;
    world.pass("changed", 100).await;
    world.check_waiting("changed").await;
    world.settle("changed", &last).await;
    let received = world.wait_received("changed", 1).await;
    assert_eq!(received.first().map(|one| one.body["attributes"]["coalesced"].as_i64()), Some(Some(2)));
    world.wait_asleep("changed").await;
    assert_eq!(world.temporal.runs(&world.workflow("changed")).await.len(), 1, "one run");
    world.send(BOUGHT, "next").await;
    world.wait_notified("next", 1).await;
    let delay = runs::start_delay(&history(&world, "next").await);
    assert_eq!(delay.is_zero(), after == QuietWindow::Timer, "the next window is held by the new setting: {delay:?}");
    world.pass("next", 121).await;
    world.wait_acked("next", 1).await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_timer_survives_a_change_to_start_delays() {
    an_open_window_survives_a_change_of_the_setting(QuietWindow::Timer, QuietWindow::StartDelay).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_start_delay_survives_a_change_to_timers() {
    an_open_window_survives_a_change_of_the_setting(QuietWindow::StartDelay, QuietWindow::Timer).await;
}
