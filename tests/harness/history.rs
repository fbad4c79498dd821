//! Queries to [`Temporal`] about settle's workflows, and commands that move their time or end them.

use super::temporal::Temporal;
use super::wait;
use super::world::SOON;
use futures::{StreamExt, stream};
use prost_types::FieldMask;
use std::collections::BTreeSet;
use std::time::Duration;
use temporalio_client::grpc::WorkflowService;
use temporalio_client::tonic::{Code, IntoRequest};
use temporalio_client::{Client, UntypedWorkflow, UntypedWorkflowHandle};
use temporalio_common::protos::temporal::api::common::v1::{
    FastForwardConfig, Payload, Payloads, TimeSkippingConfig, WorkflowExecution, WorkflowType,
};
use temporalio_common::protos::temporal::api::enums::v1::EventType;
use temporalio_common::protos::temporal::api::history::v1::HistoryEvent;
use temporalio_common::protos::temporal::api::taskqueue::v1::TaskQueue;
use temporalio_common::protos::temporal::api::workflow::v1::{
    PendingActivityInfo, WorkflowExecutionInfo, WorkflowExecutionOptions,
};
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsRequest, ListWorkflowExecutionsResponse, StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest, UpdateWorkflowExecutionOptionsRequest,
};

/// How long the list of workflows may lag behind the workflows, including when a server that has just terminated
/// hundreds of runs does not list any.
const VISIBLE: Duration = Duration::from_secs(600);
/// Time limit for one attempt to read a page of the list.
const LISTED: Duration = Duration::from_secs(60);

fn execution(workflow_id: &str) -> WorkflowExecution {
    WorkflowExecution {
        workflow_id: workflow_id.to_owned(),
        run_id: String::new(),
    }
}

impl Temporal {
    fn service(&self) -> Box<dyn WorkflowService> {
        self.client().connection().workflow_service()
    }

    /// Returns the events of the newest run of a workflow id; none when there is no run.
    pub async fn history(&self, workflow_id: &str) -> Vec<HistoryEvent> {
        let handle = self
            .client()
            .get_workflow_handle::<UntypedWorkflow>(workflow_id);
        handle
            .fetch_history(Default::default())
            .into_events()
            .await
            .unwrap_or_default()
    }

    /// Returns the newest run's history as JSON, in the form that `tests/replay` stores.
    ///
    /// # Panics
    /// When there is no run.
    pub async fn history_json(&self, workflow_id: &str) -> Vec<u8> {
        let handle = self
            .client()
            .get_workflow_handle::<UntypedWorkflow>(workflow_id);
        handle
            .fetch_history(Default::default())
            .to_json()
            .await
            .expect("a run with a history")
    }

    /// Returns the events of one run of a workflow id.
    ///
    /// # Panics
    /// When there is no such run.
    pub async fn run_history(&self, run: &WorkflowExecution) -> Vec<HistoryEvent> {
        let handle = self.run_handle(run);
        wait::until(SOON, "the history of a run", async || {
            let events = handle.fetch_history(Default::default()).into_events().await;
            events.map_err(|error| format!("{error:?}"))
        })
        .await
    }

    /// Returns the number of runs of a workflow id, and the total number of events in their histories. The histories
    /// are counted because a list of runs gives the length of an open run's history as zero.
    ///
    /// # Panics
    /// When a run has no history.
    pub async fn history_size(&self, workflow_id: &str) -> (usize, usize) {
        let (runs, mut events) = (self.runs(workflow_id).await, 0);
        for execution in runs.iter().filter_map(|run| run.execution.as_ref()) {
            let own = self.run_history(execution).await.len();
            assert!(own > 0, "a run without a history: {execution:?}");
            events += own;
        }
        (runs.len(), events)
    }

    /// Returns the history of one run as JSON.
    ///
    /// # Panics
    /// When there is no such run.
    pub async fn run_history_json(&self, run: &WorkflowExecution) -> Vec<u8> {
        let handle = self.run_handle(run);
        handle
            .fetch_history(Default::default())
            .to_json()
            .await
            .expect("the history of a run")
    }

    fn run_handle(&self, run: &WorkflowExecution) -> UntypedWorkflowHandle<Client> {
        let mut info = self
            .client()
            .get_workflow_handle::<UntypedWorkflow>(&run.workflow_id)
            .info()
            .clone();
        info.run_id = Some(run.run_id.clone());
        info.bind_untyped(self.client().clone())
    }

    /// Returns the number of events of a type in the newest run's history.
    pub async fn count(&self, workflow_id: &str, event: EventType) -> usize {
        self.history(workflow_id)
            .await
            .iter()
            .filter(|seen| seen.event_type() == event)
            .count()
    }

    /// Returns whether the newest run has a timer that has neither fired nor been cancelled.
    pub async fn has_timer(&self, workflow_id: &str) -> bool {
        let count = |events: &[HistoryEvent], wanted: EventType| {
            events
                .iter()
                .filter(|event| event.event_type() == wanted)
                .count()
        };
        let events = self.history(workflow_id).await;
        let closed =
            count(&events, EventType::TimerFired) + count(&events, EventType::TimerCanceled);
        let is_open = events
            .last()
            .is_some_and(|event| event.event_type() != EventType::WorkflowExecutionCompleted);
        is_open && count(&events, EventType::TimerStarted) > closed
    }

    /// Returns the server's description of the newest run: status, pending activities, search attributes.
    pub async fn describe(&self, workflow_id: &str) -> Option<DescribeWorkflowExecutionResponse> {
        let request = DescribeWorkflowExecutionRequest {
            namespace: self.namespace().to_owned(),
            execution: Some(execution(workflow_id)),
        };
        self.service()
            .describe_workflow_execution(request.into_request())
            .await
            .ok()
            .map(|answer| answer.into_inner())
    }

    /// Returns the activities that are not finished, with attempt count and last failure.
    pub async fn pending_activities(&self, workflow_id: &str) -> Vec<PendingActivityInfo> {
        self.describe(workflow_id)
            .await
            .map(|answer| answer.pending_activities)
            .unwrap_or_default()
    }

    /// Returns the runs that match a visibility query, such as `WorkflowType = "purchase" AND ExecutionStatus =
    /// "Running"`.
    ///
    /// # Panics
    /// When the query is refused.
    pub async fn list(&self, query: &str) -> Vec<WorkflowExecutionInfo> {
        let mut found = Vec::new();
        let mut next_page_token = Vec::new();
        loop {
            let request = ListWorkflowExecutionsRequest {
                namespace: self.namespace().to_owned(),
                query: query.to_owned(),
                page_size: 1000,
                next_page_token,
            };
            let page = self.page(&request).await;
            found.extend(page.executions);
            next_page_token = page.next_page_token;
            if next_page_token.is_empty() {
                return found;
            }
        }
    }

    async fn page(
        &self,
        request: &ListWorkflowExecutionsRequest,
    ) -> ListWorkflowExecutionsResponse {
        let page = wait::until(VISIBLE, "a list of runs", async || {
            let mut request = request.clone().into_request();
            request.set_timeout(LISTED);
            match self.service().list_workflow_executions(request).await {
                Ok(page) => Ok(Ok(page.into_inner())),
                // The client's own time limit gives `Cancelled`, the server's gives one of the others.
                Err(late)
                    if matches!(
                        late.code(),
                        Code::Cancelled | Code::DeadlineExceeded | Code::Unavailable
                    ) =>
                {
                    Err(late.to_string())
                }
                Err(refused) => Ok(Err(refused)),
            }
        });
        page.await.expect("a query that is not refused")
    }

    /// Returns all runs of a workflow id, newest first.
    pub async fn runs(&self, workflow_id: &str) -> Vec<WorkflowExecutionInfo> {
        self.list(&format!("WorkflowId = '{workflow_id}'")).await
    }

    /// Moves the time of an open run forward: its timers that end within `seconds` fire now.
    ///
    /// # Panics
    /// When the workflow has no open run.
    pub async fn fast_forward(&self, workflow_id: &str, seconds: i64) {
        let moved = self.try_fast_forward(workflow_id, seconds).await;
        moved.unwrap_or_else(|why| panic!("{workflow_id} cannot be moved forward: {why}"));
    }

    /// Moves the time of a run forward if it has a timer. Does nothing if the run ends in the meantime.
    pub async fn skip_timer(&self, workflow_id: &str, seconds: i64) {
        if self.has_timer(workflow_id).await {
            drop(self.try_fast_forward(workflow_id, seconds).await);
        }
    }

    /// Like [`Self::fast_forward`], but returns errors.
    ///
    /// # Errors
    /// When the workflow has no open run.
    pub(super) async fn try_fast_forward(
        &self,
        workflow_id: &str,
        seconds: i64,
    ) -> Result<(), String> {
        let forward = FastForwardConfig {
            id: api::clock::random_uuid().to_string(),
            duration: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        let skipping = TimeSkippingConfig {
            enabled: true,
            fast_forward_config: Some(forward),
            ..Default::default()
        };
        let request = UpdateWorkflowExecutionOptionsRequest {
            namespace: self.namespace().to_owned(),
            workflow_execution: Some(execution(workflow_id)),
            workflow_execution_options: Some(WorkflowExecutionOptions {
                time_skipping_config: Some(skipping),
                ..Default::default()
            }),
            update_mask: Some(FieldMask {
                paths: vec!["time_skipping_config".into()],
            }),
            ..Default::default()
        };
        let answer = self
            .service()
            .update_workflow_execution_options(request.into_request())
            .await;
        answer.map(drop).map_err(|status| status.to_string())
    }

    /// Starts a workflow by its name, as a script would, with an empty object as input.
    ///
    /// # Panics
    /// When the server refuses it.
    pub async fn start_workflow(&self, name: &str, workflow_id: &str, task_queue: &str) {
        let payload = Payload {
            metadata: [("encoding".to_owned(), b"json/plain".to_vec())]
                .into_iter()
                .collect(),
            data: b"{}".to_vec(),
            ..Default::default()
        };
        let request = StartWorkflowExecutionRequest {
            namespace: self.namespace().to_owned(),
            workflow_id: workflow_id.to_owned(),
            workflow_type: Some(WorkflowType {
                name: name.to_owned(),
            }),
            task_queue: Some(TaskQueue {
                name: task_queue.to_owned(),
                ..Default::default()
            }),
            input: Some(Payloads {
                payloads: vec![payload],
            }),
            request_id: api::clock::random_uuid().to_string(),
            ..Default::default()
        };
        self.service()
            .start_workflow_execution(request.into_request())
            .await
            .expect("the workflow starts");
    }

    /// Terminates the open run of a workflow id.
    ///
    /// # Panics
    /// When the workflow has no open run.
    pub async fn terminate(&self, workflow_id: &str) {
        let request = TerminateWorkflowExecutionRequest {
            namespace: self.namespace().to_owned(),
            workflow_execution: Some(execution(workflow_id)),
            reason: "a test".to_owned(),
            ..Default::default()
        };
        self.service()
            .terminate_workflow_execution(request.into_request())
            .await
            .expect("an open run to terminate");
    }

    /// Terminates every run that is open now, the sweep included, and waits until the list shows none of them as open.
    /// Runs that settle starts meanwhile in their place continue.
    pub async fn terminate_all(&self) {
        const OPEN: &str = "ExecutionStatus = 'Running'";
        let id = |run: &WorkflowExecutionInfo| {
            run.execution
                .as_ref()
                .map(|execution| execution.run_id.clone())
        };
        let all: BTreeSet<_> = self.list(OPEN).await.iter().filter_map(id).collect();
        wait::until(VISIBLE, "these runs to be terminated", async || {
            let mut open = self.list(OPEN).await;
            open.retain(|run| id(run).is_some_and(|id| all.contains(&id)));
            let terminate = |run: WorkflowExecutionInfo| async move {
                let request = TerminateWorkflowExecutionRequest {
                    namespace: self.namespace().to_owned(),
                    workflow_execution: run.execution,
                    reason: "a test".to_owned(),
                    ..Default::default()
                };
                self.service()
                    .terminate_workflow_execution(request.into_request())
                    .await
                    .err()
            };
            let refused = stream::iter(open.clone())
                .map(terminate)
                .buffer_unordered(16);
            // A run may have ended in the meantime.
            let refused = refused
                .filter_map(async |error| error.filter(|error| error.code() != Code::NotFound));
            let refused: Vec<_> = refused.collect().await;
            if open.is_empty() {
                Ok(())
            } else {
                Err(format!("{} open, refused: {refused:?}", open.len()))
            }
        })
        .await;
    }
}
