//! In the Temporal UI, purchases can be found by their search attributes, and show what they wait for.

use serde_json::Value;
use std::time::Duration;
use system_tests::process::{Backend, Installation};
use system_tests::sns::Sns;
use system_tests::temporal::{Memory, Temporal};
use system_tests::wait;
use system_tests::world::{SOON, Setting, World};
use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus;

/// How long the list of workflows may lag behind the workflows.
const VISIBLE: Duration = Duration::from_secs(300);

/// Waits until a query finds exactly one run: that of this receipt's purchase, with the wanted status.
async fn wait_found(world: &World, receipt_id: &str, query: &str, wanted: WorkflowExecutionStatus) {
    let workflow = world.workflow(receipt_id);
    wait::until(VISIBLE, query, async || {
        let found = world.temporal.list(query).await;
        let seen: Vec<_> = found
            .iter()
            .map(|run| {
                (
                    run.execution
                        .as_ref()
                        .map_or("", |run| run.workflow_id.as_str()),
                    run.status(),
                )
            })
            .collect();
        if seen == [(workflow.as_str(), wanted)] {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
    .await;
}

/// Returns the output of `temporal workflow metadata` for the open run.
async fn details(world: &World, receipt_id: &str) -> String {
    let line = format!(
        "temporal workflow metadata --workflow-id {}",
        world.workflow(receipt_id)
    );
    String::from_utf8_lossy(&world.temporal.run_line(&line).await.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_purchase_is_found_by_key_and_shows_its_window_end() {
    let mut world = World::start(Setting::default()).await;
    world.send("SUBSCRIPTION_PURCHASED", "searched").await;
    world.send("SUBSCRIPTION_PURCHASED", "another").await;
    world.wait_notified("searched", 1).await;
    let query = format!("SettleCollapseKey = '{}'", world.key("searched"));
    wait_found(&world, "searched", &query, WorkflowExecutionStatus::Running).await;
    let status = world
        .wait_status("searched", "a window", |status| {
            status["window_ends_at"].is_string()
        })
        .await;
    let end = status["window_ends_at"].as_str().unwrap_or_default();
    let shown = details(&world, "searched").await;
    assert!(
        shown.contains(&format!("quiet window ends {end}")),
        "{end} is not in {shown}"
    );
    for receipt_id in ["searched", "another"] {
        world.pass(receipt_id, 121).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settled_purchase_is_found_by_each_attribute() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    world.send("SUBSCRIPTION_PURCHASED", "found").await;
    world.wait_acked("found", 1).await;
    world.wait_asleep("found").await;
    let purchase = world.purchase("found").await;
    let state = purchase["state"].as_str().unwrap_or_default();
    for query in [
        format!("SettleCollapseKey = '{}'", world.key("found")),
        format!("SettleApp = '{}'", world.app_id),
        format!("SettlePlatform = '{}'", world.platform_id),
        format!("SettleState = '{state}'"),
        "SettleRevision = 1".to_owned(),
        "SettleHeld = false".to_owned(),
        "SettleDestinationsFailing = 0".to_owned(),
    ] {
        wait_found(&world, "found", &query, WorkflowExecutionStatus::Completed).await;
    }
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_purchase_with_a_failing_destination_is_found_as_such() {
    let mut world = World::start(Setting {
        window_seconds: 1,
        ..Setting::default()
    })
    .await;
    world
        .receiver
        .answer(system_tests::receiver::Reply::Status(500));
    world.send("SUBSCRIPTION_PURCHASED", "sick").await;
    let query = "SettleDestinationsFailing > 0 AND SettleRevision = 1 AND SettleHeld = false";
    wait_found(&world, "sick", query, WorkflowExecutionStatus::Running).await;
    world
        .act("sick", "hold", &serde_json::json!({ "reason": "a test" }))
        .await;
    wait_found(
        &world,
        "sick",
        "SettleHeld = true",
        WorkflowExecutionStatus::Running,
    )
    .await;
    let shown = details(&world, "sick").await;
    for part in ["held until", "failing, retried"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    world
        .receiver
        .answer(system_tests::receiver::Reply::Status(200));
    world.resend("sick").await;
    world.wait_acked("sick", 1).await;
    world
        .act("sick", "release", &Value::Object(serde_json::Map::new()))
        .await;
    wait_found(
        &world,
        "sick",
        "SettleHeld = false",
        WorkflowExecutionStatus::Completed,
    )
    .await;
    wait_found(
        &world,
        "sick",
        "SettleDestinationsFailing = 0",
        WorkflowExecutionStatus::Completed,
    )
    .await;
    world.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attributes_that_temporal_does_not_take_are_left_out() {
    let temporal = Temporal::start(Memory::Volatile).await;
    // On SQLite, a namespace has room for ten attributes of this type.
    let others: String = (0..10)
        .map(|number| format!(" --name Other{number} --type Keyword"))
        .collect();
    drop(
        temporal
            .run_line(&format!(
                "temporal operator search-attribute create{others}"
            ))
            .await,
    );
    let installation = Installation::new(Backend::Sqlite, &temporal.address(), &Sns::new());
    let mut process = installation.start(&["run", "--window", "1s"], &[]);
    process.wait_connected().await;
    let sample = installation.call(&["sample", "--json"]);
    let sent: Value = serde_json::from_slice(&sample.stdout)
        .unwrap_or_else(|error| panic!("{error}: {sample:?}"));
    let key = sent["collapse_key"].as_str().expect("a collapse key");
    wait::until(SOON, "a delivered event", async || {
        let answer = installation
            .api()
            .try_get(&format!(
                "/v1/deliveries?status=delivered&collapse_key={key}"
            ))
            .await?;
        let count = answer.body["items"].as_array().map_or(0, Vec::len);
        if count > 0 {
            Ok(())
        } else {
            Err(format!("{answer:?}\n{}", process.log()))
        }
    })
    .await;
    wait::until(
        VISIBLE,
        "a run that is found by an accepted attribute",
        async || {
            let found = temporal
                .list("SettleRevision = 1 AND WorkflowType = 'purchase'")
                .await;
            if found.len() == 1 {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        },
    )
    .await;
    let warnings = process
        .log()
        .matches("does not take these search attributes")
        .count();
    assert_eq!(warnings, 1, "{}", process.log());
}
