//! The Temporal Server of the tests is a real one that can be killed, restarted, emptied, and can skip time forward.

use std::time::Duration;
use system_tests::temporal::{Memory, Temporal};
use system_tests::wait;
use temporalio_common::protos::temporal::api::enums::v1::EventType;

const SOON: Duration = Duration::from_secs(180);

/// Starts a run that no worker executes, so that it stays open.
async fn start_one(temporal: &Temporal, id: &str) {
    temporal.start_workflow("nobody", id, "no-worker").await;
    wait::until(SOON, "the run to be listed", async || {
        match temporal.runs(id).await.len() {
            1 => Ok(()),
            other => Err(format!("{other} runs")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_what_its_file_holds() {
    let mut temporal = Temporal::start(Memory::File).await;
    start_one(&temporal, "kept").await;
    temporal.kill9();
    assert!(
        temporal.describe("kept").await.is_none(),
        "a dead server answers nothing"
    );
    temporal.restart().await;
    assert_eq!(
        temporal
            .count("kept", EventType::WorkflowExecutionStarted)
            .await,
        1
    );
    temporal.kill9();
    temporal.delete_file();
    temporal.restart().await;
    assert!(
        temporal.describe("kept").await.is_none(),
        "an emptied server knows no run"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn time_of_an_open_run_can_be_moved_forward() {
    let temporal = Temporal::start(Memory::Volatile).await;
    start_one(&temporal, "moved").await;
    temporal.fast_forward("moved", 121).await;
    assert_eq!(
        temporal
            .count("moved", EventType::WorkflowExecutionOptionsUpdated)
            .await,
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_open_runs_can_be_terminated() {
    let temporal = Temporal::start(Memory::Volatile).await;
    for id in ["one", "two", "three"] {
        start_one(&temporal, id).await;
    }
    temporal.terminate_all().await;
    assert_eq!(
        temporal.list("ExecutionStatus = 'Terminated'").await.len(),
        3
    );
}
