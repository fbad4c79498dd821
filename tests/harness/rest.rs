//! Checks whether Temporal is idle until a timer fires: then no request can arrive, however slow the machine is.

use super::temporal::Temporal;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeWorkflowExecutionResponse;
use workflows::contract;

impl Temporal {
    /// Returns `Ok` if each open run waits for a timer, a signal or an activity's next attempt. Runs of streams are
    /// left out: their activity stays open for a minute after a device's last event.
    ///
    /// # Errors
    /// The first run that is not waiting.
    pub async fn rest(&self) -> Result<(), String> {
        let open = format!(
            "ExecutionStatus = 'Running' AND WorkflowType != '{}'",
            contract::STREAM
        );
        for run in self
            .list(&open)
            .await
            .into_iter()
            .filter_map(|run| run.execution)
        {
            if self
                .describe(&run.workflow_id)
                .await
                .is_some_and(|found| has_work(&found))
            {
                return Err(format!("{} has something to do", run.workflow_id));
            }
        }
        Ok(())
    }
}

/// Returns whether a run has a workflow task or an activity that does not wait for its next attempt, or whether its
/// time is being moved forward.
fn has_work(run: &DescribeWorkflowExecutionResponse) -> bool {
    let skipping = run
        .workflow_extended_info
        .as_ref()
        .and_then(|info| info.time_skipping_info.as_ref());
    let is_moved = skipping
        .and_then(|info| info.effective_config.as_ref())
        .is_some_and(|config| config.enabled);
    let is_open = run
        .workflow_execution_info
        .as_ref()
        .is_some_and(|info| info.close_time.is_none());
    let has_activity = run
        .pending_activities
        .iter()
        .any(|one| one.next_attempt_schedule_time.is_none());
    is_open && (is_moved || has_activity || run.pending_workflow_task.is_some())
}
