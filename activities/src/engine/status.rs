//! What Temporal knows of a run: whether there is one, and the answer of a purchase's to the query `status`.

use super::{Engine, TemporalError, execution, timed};
use domain::CollapseKey;
use temporalio_client::NamespacedClient;
use temporalio_client::tonic::Code;
use temporalio_common::protos::temporal::api::enums::v1::QueryRejectCondition;
use temporalio_common::protos::temporal::api::query::v1::WorkflowQuery;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, QueryWorkflowRequest,
};
use workflows::contract;

impl Engine {
    /// Whether Temporal knows a run, open or closed.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn knows(&self, workflow_id: &str, run_id: &str) -> Result<bool, TemporalError> {
        let client = self.now()?;
        let mut run = execution(workflow_id.to_owned());
        run_id.clone_into(&mut run.run_id);
        let request = DescribeWorkflowExecutionRequest { namespace: client.namespace(), execution: Some(run) };
        match client.connection().workflow_service().describe_workflow_execution(timed(request)).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// The open run's answer to the query `status`; `None` when no run is open.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn status(&self, key: CollapseKey) -> Result<Option<serde_json::Value>, TemporalError> {
        let client = self.now()?;
        let request = QueryWorkflowRequest {
            namespace: client.namespace(),
            execution: Some(execution(contract::workflow_id(key))),
            query: Some(WorkflowQuery { query_type: contract::STATUS.to_owned(), ..Default::default() }),
            query_reject_condition: QueryRejectCondition::NotOpen as i32,
        };
        let answer = match client.connection().workflow_service().query_workflow(timed(request)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status.into()),
        };
        let payload = answer.query_result.and_then(|result| result.payloads.into_iter().next());
        Ok(payload.and_then(|payload| serde_json::from_slice(&payload.data).ok()))
    }
}
