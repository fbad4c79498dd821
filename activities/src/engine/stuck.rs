//! Ends runs that make no progress.

use super::{Engine, TemporalError, execution, timed};
use domain::CollapseKey;
use temporalio_client::NamespacedClient;
use temporalio_client::tonic::Code;
use temporalio_common::protos::temporal::api::enums::v1::WorkflowExecutionStatus;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, TerminateWorkflowExecutionRequest,
};
use workflows::contract;

impl Engine {
    /// Terminates the purchase's run if one is open; returns whether one was. A run that an operator paused stays.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn end_run(&self, key: CollapseKey) -> Result<bool, TemporalError> {
        let client = self.now()?;
        let describe = DescribeWorkflowExecutionRequest {
            namespace: client.namespace(),
            execution: Some(execution(contract::workflow_id(key))),
        };
        let found = match client.connection().workflow_service().describe_workflow_execution(timed(describe)).await {
            Ok(found) => found.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(false),
            Err(status) => return Err(status.into()),
        };
        let Some(run) = found.workflow_execution_info else { return Ok(false) };
        if run.status() != WorkflowExecutionStatus::Running {
            return Ok(false);
        }
        let request = TerminateWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_execution: run.execution,
            reason: "it was woken several times and did not settle".to_owned(),
            identity: self.identity.clone(),
            ..Default::default()
        };
        match client.connection().workflow_service().terminate_workflow_execution(timed(request)).await {
            // It has ended meanwhile.
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
            Ok(_) => Ok(true),
        }
    }
}
