//! Ownership of a Temporal namespace. Workflow ids and task queues do not name the installation, so two installations
//! in one namespace would take each other's work. Therefore, the sweep's run stores its installation's id in its memo,
//! and a process of another installation stops when it sees that id. Temporal allows at most one open run of an id, so
//! installations that start at the same time agree on the owner. If Temporal has lost its data, processes of the
//! previous owner take the namespace at once, and others wait a moment so that they do not come first.

use super::connection::Server;
use super::{Action, Engine, TemporalError, execution, json, queue, summary, timed};
use std::time::Duration;
use temporalio_client::tonic::Code;
use temporalio_client::{Client, NamespacedClient};
use temporalio_common::protos::temporal::api::common::v1::{Memo, Payload, WorkflowType};
use temporalio_common::protos::temporal::api::enums::v1::{
    WorkflowExecutionStatus, WorkflowIdConflictPolicy,
};
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::{
    DescribeWorkflowExecutionRequest, StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
};
use tokio::time::Instant;
use workflows::contract;

/// Name of the memo field that contains the id of the installation.
const INSTALLATION: &str = "installation";
/// How long the run of another installation must have been closed before its namespace is taken over: twice the time
/// within which a process of that installation restarts the sweep.
const TAKE_OVER_AFTER: Duration = super::ENSURE_INTERVAL.saturating_mul(2);
/// How long the sweep must have been missing before a process takes the namespace of an external server that it did not
/// have before: twice the time after which a process that had the namespace retries to reach the server.
const TAKE_AFTER: Duration = super::RETRY_INTERVAL.saturating_mul(2);
/// Maximum number of consecutive steps. If more are needed, another process is starting and closing the sweep at the
/// same time.
const MAX_STEPS: u32 = 5;

/// Why an installation must not use a namespace: it belongs to another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Temporal's namespace `{namespace}` at {address} belongs to {holder}, but this database is the installation {own}: \
     both would take each other's work. Choose another namespace with TEMPORAL_NAMESPACE. If the other installation \
     is gone for good, terminate its sweep and start again: \
     `temporal workflow terminate --address {address} --namespace {namespace} --workflow-id {sweep}`",
    sweep = contract::SWEEP
)]
pub struct NamespaceTaken {
    address: String,
    namespace: String,
    holder: Holder,
    own: String,
}

/// Owner of the latest run of the sweep's workflow id.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Holder {
    Installation(String),
    /// A sweep that was started by hand.
    Unnamed,
    /// A sweep that was started by hand on a task queue other than settle's.
    OtherQueue,
    /// A workflow other than the sweep.
    OtherProgram,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Installation(id) => write!(f, "the installation {id}"),
            Self::Unnamed => f.write_str("a sweep of no installation"),
            Self::OtherQueue => f.write_str("a sweep on another task queue"),
            Self::OtherProgram => {
                write!(f, "another program with a workflow `{}`", contract::SWEEP)
            }
        }
    }
}

/// The newest run of the sweep's workflow id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    id: String,
    holder: Holder,
    is_open: bool,
}

/// The next step of a process that needs the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
enum NamespaceStep {
    /// The namespace is this installation's, and the sweep runs.
    Keep,
    /// Start the sweep, which takes the namespace.
    Start,
    Terminate(String),
    /// Wait, because the other installation may take the namespace again.
    Wait,
    /// Leave the namespace to this other owner.
    Leave(Holder),
}

/// Whether this installation owns the namespace.
pub(super) enum Ownership {
    /// Owned by this installation; the sweep runs.
    Ours,
    /// Owned by another installation until a moment ago.
    Pending,
    Taken(NamespaceTaken),
}

/// A process's observations of the sweep's run.
#[derive(Debug, Default)]
pub(super) struct Observed {
    /// The closed run that was seen last, or an empty id if there was none, and when that was first seen.
    gone: Option<(String, Instant)>,
    had_namespace: bool,
}

/// Input of a step, besides the run.
#[derive(Debug, Clone, Copy)]
struct StepContext<'a> {
    own: &'a str,
    /// How long the run has been known to be closed or missing.
    gone_for: Duration,
    /// Whether this process had the namespace before or started the server.
    had_namespace: bool,
}

impl Observed {
    /// Records the observation. Returns how long this run has been known to be closed or to be missing.
    fn gone_for(&mut self, run: Option<&Run>, now: Instant) -> Duration {
        let gone = match run {
            Some(run) => (!run.is_open).then(|| run.id.clone()),
            None => Some(String::new()),
        };
        let before = self.gone.take().filter(|(id, _)| Some(id) == gone.as_ref());
        self.gone = before.or_else(|| gone.map(|id| (id, now)));
        self.gone.as_ref().map_or(Duration::ZERO, |(_, since)| {
            now.saturating_duration_since(*since)
        })
    }
}

/// Returns the next step of a process.
fn step(run: Option<&Run>, standing: StepContext<'_>) -> NamespaceStep {
    let StepContext {
        own,
        gone_for,
        had_namespace,
    } = standing;
    let Some(Run {
        id,
        holder,
        is_open,
    }) = run
    else {
        return if had_namespace || gone_for >= TAKE_AFTER {
            NamespaceStep::Start
        } else {
            NamespaceStep::Wait
        };
    };
    let is_own = matches!(holder, Holder::Installation(id) if id == own);
    match (holder, is_open) {
        (Holder::Installation(_), true) if is_own => NamespaceStep::Keep,
        // An operator replaced this installation's sweep by hand with one on a queue that no worker serves.
        (Holder::OtherQueue, true) if had_namespace => NamespaceStep::Terminate(id.clone()),
        (Holder::Installation(_) | Holder::OtherQueue | Holder::OtherProgram, true) => {
            NamespaceStep::Leave(holder.clone())
        }
        (Holder::Unnamed, true) => NamespaceStep::Terminate(id.clone()),
        (Holder::Installation(_), false) if !is_own && gone_for < TAKE_OVER_AFTER => {
            NamespaceStep::Wait
        }
        (_, false) => NamespaceStep::Start,
    }
}

impl Run {
    fn of(info: WorkflowExecutionInfo) -> Self {
        let is_sweep = info
            .r#type
            .as_ref()
            .is_some_and(|workflow_type| workflow_type.name == contract::SWEEP);
        let is_served = info.task_queue == contract::TASK_QUEUE;
        let installation = info
            .memo
            .as_ref()
            .and_then(|memo| memo.fields.get(INSTALLATION));
        let holder = match installation.and_then(text) {
            // This also applies to a queue without pollers: the process that notices it starts another run.
            Some(id) => Holder::Installation(id),
            None if is_sweep && is_served => Holder::Unnamed,
            None if is_sweep => Holder::OtherQueue,
            None => Holder::OtherProgram,
        };
        let is_open = matches!(
            info.status(),
            WorkflowExecutionStatus::Running
                | WorkflowExecutionStatus::Paused
                | WorkflowExecutionStatus::Unspecified
        );
        Self {
            id: info.execution.map(|run| run.run_id).unwrap_or_default(),
            holder,
            is_open,
        }
    }
}

fn text(payload: &Payload) -> Option<String> {
    serde_json::from_slice(&payload.data).ok()
}

impl Engine {
    /// Ensures that the sweep runs and that its run belongs to this installation.
    pub(super) async fn take_namespace(
        &self,
        client: &Client,
        observed: &mut Observed,
    ) -> Result<Ownership, TemporalError> {
        let own = self.installation.to_string();
        for _ in 0..MAX_STEPS {
            let run = self.newest_sweep(client).await?;
            let standing = StepContext {
                own: &own,
                gone_for: observed.gone_for(run.as_ref(), Instant::now()),
                had_namespace: observed.had_namespace || matches!(self.server, Server::Own(_)),
            };
            match step(run.as_ref(), standing) {
                NamespaceStep::Keep => {
                    observed.had_namespace = true;
                    return Ok(Ownership::Ours);
                }
                NamespaceStep::Start => {
                    self.start_sweep(client, WorkflowIdConflictPolicy::UseExisting)
                        .await?
                }
                NamespaceStep::Terminate(run_id) => self.terminate_sweep(client, run_id).await?,
                NamespaceStep::Wait => return Ok(Ownership::Pending),
                NamespaceStep::Leave(holder) => {
                    let (address, namespace) = (self.address(), self.namespace().to_owned());
                    return Ok(Ownership::Taken(NamespaceTaken {
                        address,
                        namespace,
                        holder,
                        own,
                    }));
                }
            }
        }
        Err(TemporalError::Unavailable(
            "the sweep is started and ended by somebody else".to_owned(),
        ))
    }

    async fn newest_sweep(&self, client: &Client) -> Result<Option<Run>, TemporalError> {
        let request = DescribeWorkflowExecutionRequest {
            namespace: client.namespace(),
            execution: Some(execution(contract::SWEEP.to_owned())),
        };
        match client
            .connection()
            .workflow_service()
            .describe_workflow_execution(timed(request))
            .await
        {
            Ok(found) => Ok(found.into_inner().workflow_execution_info.map(Run::of)),
            // If the namespace is unknown, the start that follows fails with the same code.
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(status.into()),
        }
    }

    /// Starts this installation's sweep.
    pub(super) async fn start_sweep(
        &self,
        client: &Client,
        existing: WorkflowIdConflictPolicy,
    ) -> Result<(), TemporalError> {
        let own = self.installation.to_string();
        let request = StartWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_id: contract::SWEEP.to_owned(),
            workflow_type: Some(WorkflowType {
                name: contract::SWEEP.to_owned(),
            }),
            task_queue: Some(queue()),
            identity: self.identity.clone(),
            // Without a request id, because for a repeated id the server would return the run that it started first,
            // even if that run has completed.
            workflow_id_conflict_policy: existing as i32,
            memo: Some(Memo {
                fields: [(INSTALLATION.to_owned(), json(&own.into()))].into(),
            }),
            user_metadata: Some(summary("finds what is overdue and wakes it")),
            ..Default::default()
        };
        let begun = client
            .connection()
            .workflow_service()
            .start_workflow_execution(timed(request))
            .await?;
        if begun.into_inner().started {
            self.actions.count(contract::SWEEP, Action::Start);
        }
        Ok(())
    }

    /// Terminates a run that names no installation. The run may have ended in the meantime.
    async fn terminate_sweep(&self, client: &Client, run_id: String) -> Result<(), TemporalError> {
        let mut run = execution(contract::SWEEP.to_owned());
        run.run_id = run_id;
        let request = TerminateWorkflowExecutionRequest {
            namespace: client.namespace(),
            workflow_execution: Some(run),
            reason: "it names no installation".to_owned(),
            identity: self.identity.clone(),
            ..Default::default()
        };
        match client
            .connection()
            .workflow_service()
            .terminate_workflow_execution(timed(request))
            .await
        {
            Err(status) if status.code() != Code::NotFound => Err(status.into()),
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "1b9d6bcd";
    const NEVER: Duration = Duration::ZERO;

    fn run(holder: Holder, is_open: bool) -> Run {
        Run {
            id: "run".to_owned(),
            holder,
            is_open,
        }
    }

    fn installation(id: &str) -> Holder {
        Holder::Installation(id.to_owned())
    }

    fn newcomer(gone_for: Duration) -> StepContext<'static> {
        StepContext {
            own: OWN,
            gone_for,
            had_namespace: false,
        }
    }

    fn holder() -> StepContext<'static> {
        StepContext {
            had_namespace: true,
            ..newcomer(NEVER)
        }
    }

    #[test]
    fn a_free_namespace_is_taken_by_starting_the_sweep() {
        assert_eq!(step(None, newcomer(TAKE_AFTER)), NamespaceStep::Start);
        assert_eq!(
            step(Some(&run(installation(OWN), false)), newcomer(NEVER)),
            NamespaceStep::Start
        );
        assert_eq!(
            step(Some(&run(installation(OWN), true)), newcomer(NEVER)),
            NamespaceStep::Keep
        );
    }

    #[test]
    fn an_emptied_server_is_taken_first_by_who_had_it() {
        assert_eq!(step(None, holder()), NamespaceStep::Start);
        assert_eq!(
            step(None, newcomer(TAKE_AFTER - Duration::from_millis(1))),
            NamespaceStep::Wait
        );
    }

    #[test]
    fn an_open_run_of_another_installation_is_left_alone() {
        let other = installation("other");
        assert_eq!(
            step(Some(&run(other.clone(), true)), newcomer(TAKE_OVER_AFTER)),
            NamespaceStep::Leave(other)
        );
        for standing in [newcomer(NEVER), holder()] {
            assert_eq!(
                step(Some(&run(Holder::OtherProgram, true)), standing),
                NamespaceStep::Leave(Holder::OtherProgram)
            );
        }
    }

    #[test]
    fn a_lost_namespace_may_be_taken_back_before_another_takes_it() {
        let closed = run(installation("other"), false);
        assert_eq!(
            step(
                Some(&closed),
                newcomer(TAKE_OVER_AFTER - Duration::from_millis(1))
            ),
            NamespaceStep::Wait
        );
        assert_eq!(
            step(Some(&closed), newcomer(TAKE_OVER_AFTER)),
            NamespaceStep::Start
        );
    }

    #[test]
    fn a_sweep_of_no_installation_is_replaced() {
        assert_eq!(
            step(Some(&run(Holder::Unnamed, true)), newcomer(NEVER)),
            NamespaceStep::Terminate("run".to_owned())
        );
        assert_eq!(
            step(Some(&run(Holder::Unnamed, false)), newcomer(NEVER)),
            NamespaceStep::Start
        );
        assert_eq!(
            step(Some(&run(Holder::OtherProgram, false)), newcomer(NEVER)),
            NamespaceStep::Start
        );
    }

    #[test]
    fn a_sweep_elsewhere_is_replaced_only_by_who_had_the_namespace() {
        let elsewhere = run(Holder::OtherQueue, true);
        assert_eq!(
            step(Some(&elsewhere), holder()),
            NamespaceStep::Terminate("run".to_owned())
        );
        assert_eq!(
            step(Some(&elsewhere), newcomer(NEVER)),
            NamespaceStep::Leave(Holder::OtherQueue)
        );
    }

    #[test]
    fn the_close_of_a_run_counts_from_its_first_sight() {
        let (mut observed, now) = (Observed::default(), Instant::now());
        let (closed, later) = (run(installation("other"), false), now + TAKE_OVER_AFTER);
        assert_eq!(observed.gone_for(Some(&closed), now), NEVER);
        assert_eq!(observed.gone_for(Some(&closed), later), TAKE_OVER_AFTER);
        let next = Run {
            id: "next".to_owned(),
            ..closed
        };
        assert_eq!(
            observed.gone_for(Some(&next), later),
            NEVER,
            "another run was closed later"
        );
        assert_eq!(
            observed.gone_for(Some(&run(installation("other"), true)), later),
            NEVER
        );
        assert_eq!(
            observed.gone_for(Some(&next), later),
            NEVER,
            "it was taken again meanwhile"
        );
        assert_eq!(
            observed.gone_for(None, later),
            NEVER,
            "it is missing since now"
        );
        assert_eq!(observed.gone_for(None, later + TAKE_AFTER), TAKE_AFTER);
    }

    #[test]
    fn the_memo_of_a_sweep_names_its_installation() {
        let memo = Memo {
            fields: [(INSTALLATION.to_owned(), json(&OWN.into()))].into(),
        };
        let mut info = WorkflowExecutionInfo {
            r#type: Some(WorkflowType {
                name: contract::SWEEP.to_owned(),
            }),
            task_queue: contract::TASK_QUEUE.to_owned(),
            status: WorkflowExecutionStatus::Running as i32,
            memo: Some(memo),
            ..Default::default()
        };
        assert_eq!(
            Run::of(info.clone()),
            Run {
                id: String::new(),
                holder: installation(OWN),
                is_open: true
            }
        );
        info.memo = None;
        info.status = WorkflowExecutionStatus::Terminated as i32;
        assert_eq!(
            Run::of(info.clone()),
            Run {
                id: String::new(),
                holder: Holder::Unnamed,
                is_open: false
            }
        );
        info.task_queue = "another".to_owned();
        assert_eq!(Run::of(info.clone()).holder, Holder::OtherQueue);
        info.r#type = None;
        assert_eq!(Run::of(info).holder, Holder::OtherProgram);
    }

    #[test]
    fn the_refusal_names_both_installations_and_both_ways_out() {
        let (address, namespace) = ("temporal:7233".to_owned(), "default".to_owned());
        let taken = NamespaceTaken {
            address,
            namespace,
            holder: installation("other"),
            own: OWN.to_owned(),
        };
        let sentence = taken.to_string();
        for part in [
            "`default` at temporal:7233 belongs to the installation other",
            "this database is the installation 1b9d6bcd",
            "TEMPORAL_NAMESPACE",
            "`temporal workflow terminate --address temporal:7233 --namespace default --workflow-id sweep`",
        ] {
            assert!(sentence.contains(part), "{part} is missing: {sentence}");
        }
    }
}
