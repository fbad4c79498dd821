//! Ends runs that make no progress: their workflow task fails again and again.

use super::{Engine, TemporalError, execution, timed};
use domain::CollapseKey;
use temporalio_client::tonic::Code;
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryReverseRequest, TerminateWorkflowExecutionRequest,
};
use workflows::contract;

/// Number of attempts of one workflow task after which a late run is stuck. Each signal lets the server count anew, and
/// the sweep signals late runs. A run that is merely late, or that waits for an activity, is not ended: another one would
/// stand behind all that wait.
const STUCK_ATTEMPTS: i32 = 3;

/// The signals of admins that no other run can do without. A flush is none: what is late is settled by the next run.
const OF_ADMINS: [&str; 4] = [contract::HOLD, contract::RELEASE, contract::DISCARD, contract::REDELIVER];
/// Number of events in one page of a history.
const PAGE: i32 = 200;

/// The result for a run without progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// It is not stuck, has ended, or an operator paused it.
    No,
    /// It was terminated.
    Terminated,
    /// It has signals of admins, which could be lost with it.
    HasSignals,
}

impl Engine {
    /// Terminates the purchase's open run if its workflow task keeps failing, unless it has signals of admins: one can
    /// be folded and not executed yet. One that arrives between this check and the end is lost.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn end_stuck(&self, key: CollapseKey) -> Result<Stuck, TemporalError> {
        let client = self.now()?;
        let describe = DescribeWorkflowExecutionRequest {
            namespace: client.namespace(),
            execution: Some(execution(contract::workflow_id(key))),
        };
        let found = match client.connection().workflow_service().describe_workflow_execution(timed(describe)).await {
            Ok(found) => found.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(Stuck::No),
            Err(status) => return Err(status.into()),
        };
        let Some(info) = found.workflow_execution_info else { return Ok(Stuck::No) };
        let keeps_failing = found.pending_workflow_task.is_some_and(|task| task.attempt >= STUCK_ATTEMPTS);
        if info.status() != WorkflowExecutionStatus::Running || !keeps_failing {
            return Ok(Stuck::No);
        }
        let run = info.execution;
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
        match client.connection().workflow_service().terminate_workflow_execution(timed(request)).await {
            // It has ended meanwhile.
            Err(status) if status.code() == Code::NotFound => Ok(Stuck::No),
            Err(status) => Err(status.into()),
            Ok(_) => Ok(Stuck::Terminated),
        }
    }
}

/// Whether a run has signals of admins.
async fn has_signals_of_admins(client: &Client, run: Option<WorkflowExecution>) -> Result<bool, TemporalError> {
    let mut next_page_token = Vec::new();
    loop {
        let request = GetWorkflowExecutionHistoryReverseRequest {
            namespace: client.namespace(),
            execution: run.clone(),
            maximum_page_size: PAGE,
            next_page_token,
        };
        let page =
            client.connection().workflow_service().get_workflow_execution_history_reverse(timed(request)).await?;
        let page = page.into_inner();
        let is_of_admin = |event: HistoryEvent| match event.attributes {
            Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal)) => {
                OF_ADMINS.contains(&signal.signal_name.as_str())
            }
            _ => false,
        };
        if page.history.into_iter().flat_map(|history| history.events).any(is_of_admin) {
            return Ok(true);
        }
        if page.next_page_token.is_empty() {
            return Ok(false);
        }
        next_page_token = page.next_page_token;
    }
}
