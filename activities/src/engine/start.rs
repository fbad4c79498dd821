//! Starts runs that no signal reaches: those that find what they do in storage.

use super::{Engine, TemporalError, queue, summary, timed};
use domain::{DestinationId, PlatformId};
use temporalio_client::NamespacedClient;
use temporalio_common::protos::temporal::api::common::v1::WorkflowType;
use temporalio_common::protos::temporal::api::enums::v1::WorkflowIdConflictPolicy;
use temporalio_common::protos::temporal::api::workflowservice::v1::StartWorkflowExecutionRequest;
use workflows::contract;

impl Engine {
    /// Schedules the start of a destination's stream of device events, in the background, at most once in ten seconds per
    /// destination, and repeated while Temporal is unavailable.
    pub fn stream(&self, id: DestinationId) {
        self.streams.mark_owed(id);
    }

    /// Starts the run of a destination's stream of device events, if none is open.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub(super) async fn start_stream(&self, id: DestinationId) -> Result<(), TemporalError> {
        let text = "the events of devices for one destination";
        self.start_unless_open(contract::STREAM, contract::stream_workflow_id(id), text).await
    }

    /// Schedules the start of the verification of a platform's claims, as [`Self::stream`] does for events.
    pub fn verify_claims(&self, id: PlatformId) {
        self.claims.mark_owed(id);
    }

    /// Starts the run that verifies a platform's claims, if none is open.
    pub(super) async fn start_claims(&self, id: PlatformId) -> Result<(), TemporalError> {
        let text = "what the devices of one platform report of receipts";
        self.start_unless_open(contract::CLAIMS, contract::claims_workflow_id(id), text).await
    }

    async fn start_unless_open(
        &self,
        workflow_type: &str,
        workflow_id: String,
        text: &str,
    ) -> Result<(), TemporalError> {
        let client = self.now()?;
        let request = StartWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_id,
            workflow_type: Some(WorkflowType { name: workflow_type.to_owned() }),
            task_queue: Some(queue()),
            identity: self.identity.clone(),
            workflow_id_conflict_policy: WorkflowIdConflictPolicy::UseExisting as i32,
            user_metadata: Some(summary(text)),
            ..Default::default()
        };
        client.connection().workflow_service().start_workflow_execution(timed(request)).await?;
        Ok(())
    }
}
