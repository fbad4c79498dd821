//! Runs that make no progress: their workflow task fails again and again.

use super::{Engine, TemporalError, execution, timed};
use domain::CollapseKey;
use temporalio_client::NamespacedClient;
use temporalio_client::tonic::Code;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, TerminateWorkflowExecutionRequest,
};
use workflows::contract;

/// Number of attempts of one workflow task after which a late run is stuck. Each signal lets the server count anew, and
/// the sweep signals late runs.
const STUCK_ATTEMPTS: i32 = 3;

impl Engine {
    /// Terminates the purchase's run if its workflow task keeps failing; returns whether it did.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn end_stuck(&self, key: CollapseKey) -> Result<bool, TemporalError> {
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
        if found.pending_workflow_task.is_none_or(|task| task.attempt < STUCK_ATTEMPTS) {
            return Ok(false);
        }
        let request = TerminateWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_execution: found.workflow_execution_info.and_then(|info| info.execution),
            reason: "its workflow task keeps failing".to_owned(),
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
