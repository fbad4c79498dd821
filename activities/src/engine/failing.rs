//! Activities of a run that fail and are retried, which only Temporal knows.

use super::{Engine, TemporalError, execution, timed};
use crate::failure::LATER;
use domain::Timestamp;
use temporalio_client::NamespacedClient;
use temporalio_client::tonic::Code;
use temporalio_common::protos::temporal::api::failure::v1::Failure;
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_common::protos::temporal::api::workflow::v1::PendingActivityInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::DescribeWorkflowExecutionRequest;
use workflows::failing::FailingActivity;

impl Engine {
    /// Returns the activities of an open run that failed and will be retried; none if no run is open.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn failing(
        &self,
        workflow_id: String,
    ) -> Result<Vec<FailingActivity>, TemporalError> {
        let client = self.now()?;
        let describe = DescribeWorkflowExecutionRequest {
            namespace: client.namespace(),
            execution: Some(execution(workflow_id)),
        };
        match client
            .connection()
            .workflow_service()
            .describe_workflow_execution(timed(describe))
            .await
        {
            Ok(found) => Ok(found
                .into_inner()
                .pending_activities
                .into_iter()
                .filter_map(failing)
                .collect()),
            Err(status) if status.code() == Code::NotFound => Ok(Vec::new()),
            Err(status) => Err(status.into()),
        }
    }
}

fn failing(pending: PendingActivityInfo) -> Option<FailingActivity> {
    let failure = innermost(pending.last_failure.as_ref()?);
    let is_later = matches!(&failure.failure_info, Some(FailureInfo::ApplicationFailureInfo(info)) if info.r#type == LATER);
    let next_at = pending.next_attempt_schedule_time.map(|at| {
        let millis = at
            .seconds
            .saturating_mul(1_000)
            .saturating_add(i64::from(at.nanos) / 1_000_000);
        Timestamp::from_millis(millis)
    });
    (!is_later).then(|| FailingActivity {
        activity: pending.activity_type.map(|of| of.name).unwrap_or_default(),
        // Temporal's number includes the attempt that is running or comes next.
        attempts: u32::try_from(pending.attempt)
            .unwrap_or(0)
            .saturating_sub(1),
        why: failure.message.clone(),
        next_at,
    })
}

fn innermost(failure: &Failure) -> &Failure {
    failure.cause.as_deref().map_or(failure, innermost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use temporalio_common::protos::temporal::api::common::v1::ActivityType;
    use temporalio_common::protos::temporal::api::failure::v1::ApplicationFailureInfo;

    fn pending(failure_type: Option<&str>) -> PendingActivityInfo {
        let info = |of: &str| {
            let info = ApplicationFailureInfo {
                r#type: of.to_owned(),
                ..Default::default()
            };
            Failure {
                message: "why".to_owned(),
                failure_info: Some(FailureInfo::ApplicationFailureInfo(info)),
                ..Default::default()
            }
        };
        PendingActivityInfo {
            activity_type: Some(ActivityType {
                name: "record".to_owned(),
            }),
            attempt: 8,
            last_failure: failure_type.map(info),
            ..Default::default()
        }
    }

    #[test]
    fn an_attempt_that_is_due_later_is_no_failing_activity() {
        let found = failing(pending(Some("storage")))
            .map(|found| (found.activity, found.attempts, found.why));
        assert_eq!(found, Some(("record".to_owned(), 7, "why".to_owned())));
        assert_eq!(
            [failing(pending(Some(LATER))), failing(pending(None))],
            [None, None]
        );
    }
}
