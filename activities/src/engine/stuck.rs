//! Ends runs that make no progress because their workflow task keeps failing.

use super::{Engine, TemporalError, execution, timed};
use domain::CollapseKey;
use temporalio_client::tonic::Code;
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse,
    GetWorkflowExecutionHistoryReverseRequest, TerminateWorkflowExecutionRequest,
};
use workflows::contract;

/// Number of attempts of one workflow task at which a late run counts as stuck. Each signal makes the server restart
/// its count, and the sweep signals late runs. A run that is merely late, or waits for an activity, is not ended,
/// because its replacement would have to queue behind all waiting tasks.
const STUCK_ATTEMPTS: i32 = 3;

/// Admins' signals that must not be lost with a run. `flush` is not one of them, because the next run settles late
/// notifications anyway.
const OF_ADMINS: [&str; 4] = [
    contract::HOLD,
    contract::RELEASE,
    contract::DISCARD,
    contract::REDELIVER,
];
/// Number of events in one page of a history.
const PAGE: i32 = 200;

/// The result of checking whether a run is stuck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// Not stuck, ended, or paused by an operator.
    No,
    Terminated,
    /// Has signals of admins, which ending it could lose.
    HasSignals,
}

impl Engine {
    /// Terminates the purchase's open run if its workflow task keeps failing, unless it has signals of admins, of which
    /// one may not be executed yet. A signal that arrives between this check and the termination is lost.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn end_stuck(&self, key: CollapseKey) -> Result<Stuck, TemporalError> {
        let client = self.now()?;
        let describe = DescribeWorkflowExecutionRequest {
            namespace: client.namespace(),
            execution: Some(execution(contract::workflow_id(key))),
        };
        let found = match client
            .connection()
            .workflow_service()
            .describe_workflow_execution(timed(describe))
            .await
        {
            Ok(found) => found.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(Stuck::No),
            Err(status) => return Err(status.into()),
        };
        if !is_stuck(&found) {
            return Ok(Stuck::No);
        }
        let run = found
            .workflow_execution_info
            .and_then(|info| info.execution);
        if has_signals_of_admins(&client, run.clone()).await? {
            return Ok(Stuck::HasSignals);
        }
        let request = TerminateWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_execution: run,
            reason: "its workflow task keeps failing".to_owned(),
            identity: self.identity.clone(),
            ..Default::default()
        };
        match client
            .connection()
            .workflow_service()
            .terminate_workflow_execution(timed(request))
            .await
        {
            // The run has ended in the meantime.
            Err(status) if status.code() == Code::NotFound => Ok(Stuck::No),
            Err(status) => Err(status.into()),
            Ok(_) => Ok(Stuck::Terminated),
        }
    }
}

/// Whether a run is open and its workflow task keeps failing.
fn is_stuck(found: &DescribeWorkflowExecutionResponse) -> bool {
    let status = found
        .workflow_execution_info
        .as_ref()
        .map(WorkflowExecutionInfo::status);
    let keeps_failing = found
        .pending_workflow_task
        .as_ref()
        .is_some_and(|task| task.attempt >= STUCK_ATTEMPTS);
    status == Some(WorkflowExecutionStatus::Running) && keeps_failing
}

/// Whether a run has signals of admins.
async fn has_signals_of_admins(
    client: &Client,
    run: Option<WorkflowExecution>,
) -> Result<bool, TemporalError> {
    let mut next_page_token = Vec::new();
    loop {
        let request = GetWorkflowExecutionHistoryReverseRequest {
            namespace: client.namespace(),
            execution: run.clone(),
            maximum_page_size: PAGE,
            next_page_token,
        };
        let page = client
            .connection()
            .workflow_service()
            .get_workflow_execution_history_reverse(timed(request))
            .await?;
        let page = page.into_inner();
        let is_of_admin = |event: HistoryEvent| match event.attributes {
            Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)) => {
                OF_ADMINS.contains(&signal.signal_name.as_str())
            }
            _ => false,
        };
        if page
            .history
            .into_iter()
            .flat_map(|history| history.events)
            .any(is_of_admin)
        {
            return Ok(true);
        }
        if page.next_page_token.is_empty() {
            return Ok(false);
        }
        next_page_token = page.next_page_token;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use temporalio_common::protos::temporal::api::workflow::v1::{
        PendingActivityInfo, PendingWorkflowTaskInfo,
    };

    /// Returns a run whose workflow task is in this attempt.
    fn described(
        status: WorkflowExecutionStatus,
        attempt: Option<i32>,
    ) -> DescribeWorkflowExecutionResponse {
        DescribeWorkflowExecutionResponse {
            workflow_execution_info: Some(WorkflowExecutionInfo {
                status: status as i32,
                ..Default::default()
            }),
            pending_workflow_task: attempt.map(|attempt| PendingWorkflowTaskInfo {
                attempt,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_run_is_stuck_only_while_its_workflow_task_fails() {
        use WorkflowExecutionStatus::{Completed, Paused, Running};
        assert!(is_stuck(&described(Running, Some(STUCK_ATTEMPTS))));
        for attempt in [None, Some(1), Some(STUCK_ATTEMPTS - 1)] {
            assert!(
                !is_stuck(&described(Running, attempt)),
                "it is late, or waits for a worker"
            );
        }
        for status in [Paused, Completed] {
            assert!(
                !is_stuck(&described(status, Some(99))),
                "people paused it, or it has ended"
            );
        }
        assert!(!is_stuck(&DescribeWorkflowExecutionResponse::default()));
        let waiting = DescribeWorkflowExecutionResponse {
            pending_activities: vec![PendingActivityInfo {
                attempt: 99,
                ..Default::default()
            }],
            ..described(Running, None)
        };
        assert!(
            !is_stuck(&waiting),
            "an activity that fails is in view, and retried"
        );
    }
}
