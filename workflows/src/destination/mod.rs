//! The workflow `destination`: a run lives while a destination has pending deliveries that purchases' runs do not
//! attempt, because its breaker is open, it requested a pause, or its limits are exhausted.
//!
//! Signal handlers only update [`state::State`]; `run` executes what [`state::State::next`] returns. There is one timer
//! and one activity, `supervise`. The pending lanes are in storage, so nothing in the run grows with the number of
//! purchases.

pub mod state;
pub mod status;
#[cfg(test)]
mod tests;

use crate::activities::{
    Activities, RedeliverAll, RedeliveryProgress, SetEnabled, Supervise, Supervised, Test,
};
use crate::contract;
use crate::options;
use crate::run::{
    Interruptible, RunTimer, changed, execute, execute_regular, must_end_run, why, workflow_time,
};
use crate::signal::{Admin, Enable, Lenient, RedeliverEvents, Replay};
use domain::DestinationId;
use serde::{Deserialize, Serialize};
use state::{AdminRequest, Next, Redelivery, State};
use status::Status;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use temporalio_common::error::ActivityExecutionError;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowCancellationToken, WorkflowContext,
    WorkflowContextView, WorkflowResult, WorkflowTermination,
};

/// The input of a run: empty, since the workflow id names the destination. A run that continues another one gets the
/// other's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// The state of the previous run.
    pub carried: Option<State>,
}

#[workflow]
pub struct Destination {
    id: Option<DestinationId>,
    state: State,
}

#[workflow_methods]
impl Destination {
    #[init]
    fn new(ctx: &WorkflowContextView, start: Lenient<Start>) -> Self {
        let state = start
            .0
            .ok()
            .and_then(|start| start.carried)
            .unwrap_or_default();
        Self {
            id: contract::destination_id(ctx.workflow_id()),
            state,
        }
    }

    /// Runs until nothing that could be sent is pending and no request is open.
    #[run(name = contract::DESTINATION)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Status> {
        let ctx: &WorkflowContext<Self> = ctx;
        let Some(id) = ctx.state(|destination| destination.id) else {
            return Ok(ctx.state(Destination::current_status));
        };
        ctx.state_mut(|destination| destination.begin_run());
        let mut supervision: Option<RunningSupervision<'_>> = None;
        let mut timer = RunTimer::default();
        loop {
            let seen = ctx.state(|destination| destination.state.changes);
            let must_end = must_end_run(ctx);
            let now = workflow_time(ctx);
            let next = if must_end {
                Next::Wait
            } else {
                ctx.state(|destination| destination.state.next(now))
            };
            match &next {
                Next::Admin(request) => {
                    execute_request(ctx, id, request).await;
                    continue;
                }
                Next::Redeliver(redelivery) => {
                    redeliver(ctx, id, redelivery).await;
                    continue;
                }
                Next::Supervise { is_probe } => {
                    let input = Supervise {
                        destination_id: id,
                        is_probe: *is_probe,
                    };
                    supervision = Some(RunningSupervision::begin(ctx, input));
                }
                Next::Sleep(until) => timer.set(ctx, *until, "until the next check"),
                Next::EndRun => {
                    show(ctx);
                    return Ok(ctx.state(Destination::current_status));
                }
                Next::Wait => {}
            }
            if must_end {
                let Some(running) = &supervision else {
                    end_run(ctx)?;
                    return Ok(ctx.state(Destination::current_status));
                };
                running.token.cancel_with_reason("the run is closing");
            }
            show(ctx);
            wait(ctx, &mut supervision, &mut timer, seen).await;
        }
    }

    /// Handles the signal that some deliveries are attempted by no purchase's run. The payload is ignored.
    #[signal(name = contract::PENDING)]
    pub fn pending(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _payload: Lenient<Admin>) {
        self.state.pending();
    }

    /// Sends failed deliveries, all events of a time range, or one event again.
    #[signal(name = contract::REDELIVER)]
    pub fn redeliver(
        &mut self,
        _ctx: &mut SyncWorkflowContext<Self>,
        signal: Lenient<RedeliverEvents>,
    ) {
        self.fold(contract::REDELIVER, signal, State::redeliver);
    }

    /// Sends the latest state of purchases; by default only of those whose latest state the destination has not
    /// acknowledged.
    #[signal(name = contract::REPLAY)]
    pub fn replay(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Replay>) {
        self.fold(contract::REPLAY, signal, State::replay);
    }

    /// Tests the connection; the query `status` shows the result.
    #[signal(name = contract::TEST)]
    pub fn test(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Admin>) {
        self.fold(contract::TEST, signal, |state, signal| {
            state.enqueue(AdminRequest::Test(signal))
        });
    }

    /// Enables the destination.
    #[signal(name = contract::ENABLE)]
    pub fn enable(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Enable>) {
        self.fold(contract::ENABLE, signal, |state, signal| {
            state.enqueue(AdminRequest::Enable(signal))
        });
    }

    /// Disables the destination.
    #[signal(name = contract::DISABLE)]
    pub fn disable(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Admin>) {
        self.fold(contract::DISABLE, signal, |state, signal| {
            state.enqueue(AdminRequest::Disable(signal))
        });
    }

    /// Probes an open breaker now.
    #[signal(name = contract::PROBE)]
    pub fn probe(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Admin>) {
        self.fold(contract::PROBE, signal, |state, _| state.probe());
    }

    /// Returns what the destination's run is waiting for.
    #[query(name = contract::STATUS)]
    pub fn status(&self, _ctx: &WorkflowContextView) -> Status {
        self.current_status()
    }

    fn fold<T>(&mut self, name: &str, signal: Lenient<T>, fold: fn(&mut State, T)) {
        match signal.0 {
            Ok(signal) => fold(&mut self.state, signal),
            Err(why) => self.state.unreadable(name, &why),
        }
    }

    fn current_status(&self) -> Status {
        Status::of(self.id, &self.state)
    }

    /// Lets a run that was started without a signal supervise its destination once.
    fn begin_run(&mut self) {
        if self.state.changes == 0 && self.state.continued == 0 {
            self.state.news = true;
        }
    }
}

type SupervisionFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Supervised, ActivityExecutionError>> + 'a>>;

/// The running activity `supervise`.
struct RunningSupervision<'a> {
    token: WorkflowCancellationToken,
    future: SupervisionFuture<'a>,
}

impl<'a> RunningSupervision<'a> {
    fn begin(ctx: &'a WorkflowContext<Destination>, input: Supervise) -> Self {
        ctx.state_mut(|destination| destination.state.begin());
        let token = ctx.cancellation_token().child_token();
        let summary = if input.is_probe {
            "probe it now"
        } else {
            "deliver what is pending"
        };
        let options = options::supervise(token.clone(), summary.to_owned());
        let future = Box::pin(ctx.execute_activity(Activities::supervise, input, options));
        Self { token, future }
    }

    /// Applies the end of the activity to the state. Returns whether it has ended.
    fn poll(&mut self, ctx: &WorkflowContext<Destination>, task: &mut Context<'_>) -> bool {
        let Poll::Ready(result) = self.future.as_mut().poll(task) else {
            return false;
        };
        let now = workflow_time(ctx);
        ctx.state_mut(|destination| match result {
            Ok(supervised) => destination.state.supervised(supervised, now),
            Err(ActivityExecutionError::Cancelled(_)) => destination.state.interrupted(),
            Err(_) if self.token.is_cancelled() => destination.state.interrupted(),
            Err(error) => destination
                .state
                .lost(format!("supervise: {}", why(&error))),
        });
        true
    }
}

/// Continues as a new run with the same state. After a cancellation, no run follows; the sweep starts one if something
/// is pending.
fn end_run(ctx: &WorkflowContext<Destination>) -> Result<(), WorkflowTermination> {
    if ctx.cancellation_token().is_cancelled() {
        return Ok(());
    }
    let mut carried = ctx.state(|destination| destination.state.clone());
    carried.continued = carried.continued.saturating_add(1);
    let start = Start {
        carried: Some(carried),
    };
    ctx.continue_as_new(start.into(), ContinueAsNewOptions::default())?;
    Ok(())
}

async fn execute_request(
    ctx: &WorkflowContext<Destination>,
    destination_id: DestinationId,
    request: &AdminRequest,
) {
    let executed = match request.clone() {
        AdminRequest::Redeliver(redelivery) => {
            redeliver(ctx, destination_id, &redelivery).await;
            Ok(Some(()))
        }
        AdminRequest::Test(admin) => {
            match ctx
                .execute_activity(
                    Activities::test,
                    Test {
                        destination_id,
                        admin,
                    },
                    options::test(),
                )
                .await
            {
                Ok(result) => {
                    ctx.state_mut(|destination| destination.state.tested(&result));
                    Ok(Some(()))
                }
                Err(error) => Err(error),
            }
        }
        AdminRequest::Enable(Enable { newest_only, admin }) => {
            let on = SetEnabled {
                destination_id,
                is_enabled: true,
                newest_only,
                admin,
            };
            switch(ctx, on).await
        }
        AdminRequest::Disable(admin) => {
            let off = SetEnabled {
                destination_id,
                is_enabled: false,
                newest_only: false,
                admin,
            };
            switch(ctx, off).await
        }
    };
    match executed {
        // The next run executes the request.
        Ok(None) => {}
        Ok(Some(())) => ctx.state_mut(|destination| destination.state.executed(None)),
        Err(error) => ctx.state_mut(|destination| destination.state.executed(Some(why(&error)))),
    }
}

/// Enables or disables the destination. Skipping its pending deliveries may take several runs of the activity. Returns
/// `None` if the run must end first.
async fn switch(
    ctx: &WorkflowContext<Destination>,
    set: SetEnabled,
) -> Result<Option<()>, ActivityExecutionError> {
    let mut progress = execute(ctx, || Activities::set_enabled, set.clone(), |_| false).await?;
    while let Some(Some(_)) = progress {
        let options = Interruptible::only_by_end_of_run(options::lasting);
        progress = execute_regular(ctx, || Activities::set_enabled, set.clone(), options).await?;
    }
    Ok(progress.map(|_| ()))
}

/// Continues a redelivery by one run of the activity.
async fn redeliver(
    ctx: &WorkflowContext<Destination>,
    destination_id: DestinationId,
    redelivery: &Redelivery,
) {
    let Redelivery {
        selector,
        admin,
        cursor,
    } = redelivery.clone();
    let input = RedeliverAll {
        destination_id,
        selector,
        admin,
        cursor,
    };
    let result = match ctx
        .execute_activity(Activities::redeliver_all, input, options::redeliver_all())
        .await
    {
        Ok(RedeliveryProgress { next_cursor, .. }) => Ok(next_cursor),
        Err(error) => Err(why(&error)),
    };
    ctx.state_mut(|destination| destination.state.redelivered(redelivery, result));
}

fn show(ctx: &WorkflowContext<Destination>) {
    ctx.set_current_details(ctx.state(|destination| destination.current_status().details()));
}

/// Waits for the end of `supervise`, the timer, a signal or a cancellation, whichever is first.
async fn wait<'a>(
    ctx: &'a WorkflowContext<Destination>,
    supervision: &mut Option<RunningSupervision<'a>>,
    timer: &mut RunTimer<'a>,
    seen: u64,
) {
    let mut changed = pin!(changed(ctx, move |destination| destination.state.changes != seen));
    std::future::poll_fn(|task| {
        if supervision
            .as_mut()
            .is_some_and(|running| running.poll(ctx, task))
        {
            *supervision = None;
            return Poll::Ready(());
        }
        if timer.poll(task) {
            return Poll::Ready(());
        }
        changed.as_mut().poll(task)
    })
    .await;
}
