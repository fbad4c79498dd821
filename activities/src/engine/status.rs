//! The status of a purchase's run: its answer to the query `status`.

use super::{Engine, TemporalError, execution, timed};
use domain::CollapseKey;
use temporalio_client::tonic::Code;
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::common::v1::WorkflowExecution;
use temporalio_common::protos::temporal::api::enums::v1::{EventType, QueryRejectCondition, WorkflowExecutionStatus};
use temporalio_common::protos::temporal::api::query::v1::WorkflowQuery;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, GetWorkflowExecutionHistoryRequest, QueryWorkflowRequest,
};
use workflows::contract;
use workflows::purchase::status::RunStatus;

/// Number of events in which the first workflow task of a run is searched. In a start delay there are only the start
/// and a few signals.
const FIRST_EVENTS: i32 = 100;

impl Engine {
    /// The status of the purchase's open run. A query of a run in its start delay would wait for the end of the delay,
    /// so such a run is not queried.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn status(&self, key: CollapseKey) -> Result<RunStatus, TemporalError> {
        let client = self.now()?;
        let workflow_id = contract::workflow_id(key);
        let describe = DescribeWorkflowExecutionRequest {
            namespace: client.namespace(),
            execution: Some(execution(workflow_id.clone())),
        };
        let found = match client.connection().workflow_service().describe_workflow_execution(timed(describe)).await {
            Ok(found) => found.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(RunStatus::NoRun),
            Err(status) => return Err(status.into()),
        };
        let Some(info) = found.workflow_execution_info else { return Ok(RunStatus::NoRun) };
        if !matches!(info.status(), WorkflowExecutionStatus::Running | WorkflowExecutionStatus::Paused) {
            return Ok(RunStatus::NoRun);
        }
        let has_delay = info.execution_time != info.start_time && found.pending_workflow_task.is_none();
        if has_delay && has_not_begun(&client, info.execution).await? {
            return Ok(RunStatus::Delayed);
        }
        self.query(&client, execution(workflow_id)).await
    }

    /// The answer of an open run to the query `status`.
    async fn query(&self, client: &Client, run: WorkflowExecution) -> Result<RunStatus, TemporalError> {
        let request = QueryWorkflowRequest {
            namespace: client.namespace(),
            execution: Some(run),
            query: Some(WorkflowQuery { query_type: contract::STATUS.to_owned(), ..Default::default() }),
            query_reject_condition: QueryRejectCondition::NotOpen as i32,
        };
        let mut answer = match client.connection().workflow_service().query_workflow(timed(request)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(RunStatus::NoRun),
            Err(status) => return Err(status.into()),
        };
        self.codec.decode(&mut answer).await.map_err(|error| TemporalError::Unavailable(error.to_string()))?;
        let payload = answer.query_result.and_then(|result| result.payloads.into_iter().next());
        let status = payload.and_then(|payload| serde_json::from_slice(&payload.data).ok());
        Ok(status.map_or(RunStatus::NoRun, RunStatus::Answer))
    }
}

/// Whether the run had no workflow task yet.
async fn has_not_begun(client: &Client, run: Option<WorkflowExecution>) -> Result<bool, TemporalError> {
    let request = GetWorkflowExecutionHistoryRequest {
        namespace: client.namespace(),
        execution: run,
        maximum_page_size: FIRST_EVENTS,
        ..Default::default()
    };
    let page = match client.connection().workflow_service().get_workflow_execution_history(timed(request)).await {
        Ok(page) => page.into_inner(),
        // It was deleted meanwhile.
        Err(status) if status.code() == Code::NotFound => return Ok(false),
        Err(status) => return Err(status.into()),
    };
    let is_all = page.next_page_token.is_empty();
    let mut events = page.history.into_iter().flat_map(|history| history.events);
    Ok(is_all && !events.any(|event| event.event_type() == EventType::WorkflowTaskScheduled))
}
