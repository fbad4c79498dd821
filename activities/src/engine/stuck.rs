//! Ends runs that make no progress.

use super::{Engine, TemporalError, execution, timed};
use domain::CollapseKey;
use temporalio_client::tonic::Code;
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus;
use temporalio_common::protos::temporal::api::history::v1::history_event::Attributes;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryReverseRequest, TerminateWorkflowExecutionRequest,
};
use workflows::contract;

/// The signals of admins that no other run can do without. A flush is none: what is late is settled by the next run.
const OF_ADMINS: [&str; 4] = [contract::HOLD, contract::RELEASE, contract::DISCARD, contract::REDELIVER];
/// Number of events in one page of a history.
const PAGE: i32 = 200;

/// The result for a run without progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stuck {
    /// None is open, or an operator paused it.
    NotRunning,
    /// It was terminated.
    Terminated,
    /// It has signals of admins that it did not process, which would be lost with it.
    HasSignals,
}

impl Engine {
    /// Terminates the purchase's open run, unless it has signals of admins that it did not process. One that arrives
    /// between this check and the end is lost. A run that an operator paused stays.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn end_run(&self, key: CollapseKey) -> Result<Stuck, TemporalError> {
        let client = self.now()?;
        let describe = DescribeWorkflowExecutionRequest {
            namespace: client.namespace(),
            execution: Some(execution(contract::workflow_id(key))),
        };
        let found = match client.connection().workflow_service().describe_workflow_execution(timed(describe)).await {
            Ok(found) => found.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(Stuck::NotRunning),
            Err(status) => return Err(status.into()),
        };
        let Some(info) = found.workflow_execution_info else { return Ok(Stuck::NotRunning) };
        if info.status() != WorkflowExecutionStatus::Running {
            return Ok(Stuck::NotRunning);
        }
        let run = info.execution;
        if has_signals_of_admins(&client, run.clone()).await? {
            return Ok(Stuck::HasSignals);
        }
        let request = TerminateWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_execution: run,
            reason: "it was woken several times and did not settle".to_owned(),
            identity: self.identity.clone(),
            ..Default::default()
        };
        match client.connection().workflow_service().terminate_workflow_execution(timed(request)).await {
            // It has ended meanwhile.
            Err(status) if status.code() == Code::NotFound => Ok(Stuck::NotRunning),
            Err(status) => Err(status.into()),
            Ok(_) => Ok(Stuck::Terminated),
        }
    }
}

/// Whether a run has signals of admins after its last completed workflow task. Reads the history from its end.
async fn has_signals_of_admins(client: &Client, run: Option<WorkflowExecution>) -> Result<bool, TemporalError> {
    let mut next_page_token = Vec::new();
    // The last event that the run has processed; known once its last completed workflow task was read.
    let mut processed = 0;
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
        for event in page.history.into_iter().flat_map(|history| history.events) {
            if event.event_id <= processed {
                return Ok(false);
            }
            match event.attributes {
                Some(Attributes::WorkflowExecutionSignaledEventAttributes(signal))
                    if OF_ADMINS.contains(&signal.signal_name.as_str()) =>
                {
                    return Ok(true);
                }
                Some(Attributes::WorkflowTaskCompletedEventAttributes(task)) if processed == 0 => {
                    processed = task.started_event_id;
                }
                _ => {}
            }
        }
        if page.next_page_token.is_empty() {
            return Ok(false);
        }
        next_page_token = page.next_page_token;
    }
}
