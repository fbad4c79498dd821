//! Temporal's knowledge of runs: whether a run exists, and a purchase run's answer to the query `status`. Also the
//! number of known workers.

use super::{Action, Engine, TemporalError, execution, queue, timed};
use domain::CollapseKey;
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_client::NamespacedClient;
use temporalio_client::tonic::Code;
use temporalio_common::protos::temporal::api::enums::v1::{QueryRejectCondition, TaskQueueType};
use temporalio_common::protos::temporal::api::query::v1::WorkflowQuery;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeTaskQueueRequest, DescribeWorkflowExecutionRequest, QueryWorkflowRequest,
};
use workflows::contract;

/// How long ago a live worker may have polled last: it polls again within a minute.
const POLLED: Duration = Duration::from_secs(90);

impl Engine {
    /// Whether Temporal knows a run, open or closed.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn knows(&self, workflow_id: &str, run_id: &str) -> Result<bool, TemporalError> {
        let client = self.now()?;
        let mut run = execution(workflow_id.to_owned());
        run_id.clone_into(&mut run.run_id);
        let request = DescribeWorkflowExecutionRequest {
            namespace: client.namespace(),
            execution: Some(run),
        };
        match client
            .connection()
            .workflow_service()
            .describe_workflow_execution(timed(request))
            .await
        {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(status.into()),
        }
    }

    /// Returns the open run's answer to the query `status`; `None` if no run is open.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn status(
        &self,
        key: CollapseKey,
    ) -> Result<Option<serde_json::Value>, TemporalError> {
        let client = self.now()?;
        let request = QueryWorkflowRequest {
            namespace: client.namespace(),
            execution: Some(execution(contract::workflow_id(key))),
            query: Some(WorkflowQuery {
                query_type: contract::STATUS.to_owned(),
                ..Default::default()
            }),
            query_reject_condition: QueryRejectCondition::NotOpen as i32,
        };
        let answer = match client
            .connection()
            .workflow_service()
            .query_workflow(timed(request))
            .await
        {
            Ok(answer) => answer.into_inner(),
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status.into()),
        };
        if answer.query_result.is_some() {
            self.actions.count(contract::PURCHASE, Action::Query);
        }
        let payload = answer
            .query_result
            .and_then(|result| result.payloads.into_iter().next());
        Ok(payload.and_then(|payload| serde_json::from_slice(&payload.data).ok()))
    }

    /// Returns the number of workers of all processes that poll for workflows.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn workers(&self) -> Result<usize, TemporalError> {
        Ok(self.polls().await?.workers)
    }

    /// Returns the polls of the workers of all processes that poll for workflows.
    ///
    /// # Errors
    /// See [`TemporalError`].
    pub async fn polls(&self) -> Result<Polls, TemporalError> {
        let client = self.now()?;
        let request = DescribeTaskQueueRequest {
            namespace: client.namespace(),
            task_queue: Some(queue()),
            task_queue_type: TaskQueueType::Workflow as i32,
            ..Default::default()
        };
        let answer = client
            .connection()
            .workflow_service()
            .describe_task_queue(timed(request))
            .await?;
        let polls = answer.into_inner().pollers;
        Ok(live(polls.into_iter().map(|poll| {
            (
                poll.identity,
                poll.last_access_time.map_or(0, |at| at.seconds),
            )
        })))
    }
}

/// The workers that Temporal knows. It still lists a worker for some minutes after its death.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Polls {
    /// Number of workers that polled shortly before the latest poll.
    pub workers: usize,
    /// Time of the latest poll, in seconds of Temporal's clock; `None` without a worker.
    pub last_at: Option<i64>,
}

/// Counts the live workers, given the worker and the time in seconds of each poll. All times are by Temporal's clock.
fn live(polls: impl Iterator<Item = (String, i64)> + Clone) -> Polls {
    let Some(last) = polls.clone().map(|(_, at)| at).max() else {
        return Polls::default();
    };
    let since = last.saturating_sub_unsigned(POLLED.as_secs());
    let workers = polls
        .filter(|(_, at)| *at >= since)
        .map(|(worker, _)| worker)
        .collect::<BTreeSet<String>>()
        .len();
    Polls {
        workers,
        last_at: Some(last),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_polls_no_more_is_not_counted() {
        let polls = |polls: &[(&str, i64)]| {
            live(polls.iter().map(|(worker, at)| ((*worker).to_owned(), *at)))
        };
        assert_eq!(polls(&[]), Polls::default());
        assert_eq!(
            polls(&[("a", 1_000), ("a", 990), ("b", 940)]),
            Polls {
                workers: 2,
                last_at: Some(1_000)
            }
        );
        assert_eq!(polls(&[("a", 1_000), ("b", 900)]).workers, 1);
    }
}
