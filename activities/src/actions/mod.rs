//! A meter of Temporal's actions, which Temporal Cloud bills (<https://docs.temporal.io/cloud/actions>). It counts them
//! in the metric `settle_temporal_actions_total`, and per minute for the dashboard. The SDK's own metrics count
//! requests and tasks, but not the commands of workflows, such as timers.
//!
//! Each process counts the actions that it causes: the calls of `engine`, the commands of its runs (`run`), and the
//! repeated attempts (`attempt`) and heartbeats of its activities. Actions by Temporal's own tools are not counted, nor
//! are heartbeats of workflow tasks, whose local activities take seconds. If a workflow task is lost, its commands are
//! counted again in the next one.

mod attempt;
mod run;

use attempt::AttemptMeter;
use run::RunMeter;
use storage::{Counted, Series, Store};
use temporalio_sdk::WorkerOptions;
use temporalio_sdk::workflow_interceptors::WorkflowInterceptorConstructor;
use workflows::contract;

/// An action that Temporal Cloud bills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The start of a run by a client.
    Start,
    /// A signal, whether or not it starts a run.
    Signal,
    Query,
    Timer,
    /// An upsert of search attributes.
    Upsert,
    /// An activity that a run schedules.
    Activity,
    /// A repeated attempt of an activity.
    Retry,
    /// All local activities of a workflow task.
    LocalActivities,
    /// A heartbeat of an activity that the SDK sends at once.
    Heartbeat,
    /// The start of the next run by the previous one.
    ContinueAsNew,
}

impl Action {
    /// Returns the value of the metric's label.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Signal => "signal",
            Self::Query => "query",
            Self::Timer => "timer",
            Self::Upsert => "upsert",
            Self::Activity => "activity",
            Self::Retry => "retry",
            Self::LocalActivities => "local_activities",
            Self::Heartbeat => "heartbeat",
            Self::ContinueAsNew => "continue_as_new",
        }
    }
}

/// The meter of a process. Clones share it.
#[derive(Clone, Default)]
pub struct Actions {
    /// Database that stores the counts per minute, if any.
    store: Option<Store>,
}

impl Actions {
    pub const fn new(store: Store) -> Self {
        Self { store: Some(store) }
    }

    /// Counts an action of a workflow of this type.
    pub fn count(&self, workflow: &str, action: Action) {
        let workflow = workflow_label(workflow);
        metrics::counter!("settle_temporal_actions_total", "workflow" => workflow, "action" => action.as_str())
            .increment(1);
        let Some(store) = &self.store else { return };
        store.count(Series::Actions, Counted::default());
        if workflow == contract::PURCHASE {
            store.count(Series::PurchaseActions, Counted::default());
        }
    }

    /// Counts the actions that the runs and activities of a worker cause.
    pub fn count_in(&self, options: &mut WorkerOptions) {
        let actions = self.clone();
        options.workflow_interceptor(WorkflowInterceptorConstructor::new(move |_| {
            RunMeter::new(actions.clone())
        }));
        options.activity_inbound_interceptor(AttemptMeter::new(self.clone()));
    }
}

/// Returns the workflow's type if it is one of settle's, else `other`, so that the metric has no further values.
fn workflow_label(workflow: &str) -> &'static str {
    let known = [
        contract::PURCHASE,
        contract::DESTINATION,
        contract::STREAM,
        contract::CLAIMS,
        contract::SWEEP,
    ];
    known
        .into_iter()
        .find(|known| *known == workflow)
        .unwrap_or("other")
}
