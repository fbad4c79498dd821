//! The workflow `purchase`: a run lives while there is a window, a hold, a query, a request or a lane.
//!
//! Signal handlers only update [`state::State`]; `run` executes what [`state::State::next`] returns. There is one
//! timer, and one activity for each lane. Nothing here does I/O, reads a clock or draws a random number.

mod lanes;
mod settling;
pub mod state;
pub mod status;
#[cfg(test)]
mod tests;

use crate::activities::{self, Activities, SetHold};
use crate::contract;
use crate::run::{RunTimer, changed, execute, must_end_run, timestamp, why, workflow_time};
use crate::signal::{Admin, CancelBackoff, Discard, Hold, Lenient, Notified, Redeliver};
use domain::{CollapseKey, Timestamp};
use lanes::Lanes;
use serde::{Deserialize, Serialize};
use settling::settle;
use state::{AdminRequest, Next, State};
use status::Status;
use std::future::Future;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView,
    WorkflowResult, WorkflowTermination,
};

/// The input of a run: empty, since the workflow id names the purchase. A run that continues another one gets the
/// other's state.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {
    /// The state of the previous run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub carried: Option<State>,
    /// Names of search attributes that the engine does not accept. Upserting one of them would fail forever.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
}

#[workflow]
pub struct Purchase {
    key: Option<CollapseKey>,
    state: State,
    left_out: Vec<String>,
}

#[workflow_methods]
impl Purchase {
    #[init]
    fn new(ctx: &WorkflowContextView, start: Lenient<Start>) -> Self {
        let Start { carried, left_out } = start.0.unwrap_or_default();
        Self {
            key: contract::collapse_key(ctx.workflow_id()),
            state: carried.unwrap_or_default(),
            left_out,
        }
    }

    /// Runs until there is no window, no hold, no query, no request and no lane.
    #[run(name = contract::PURCHASE)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<Status> {
        let ctx: &WorkflowContext<Self> = ctx;
        let Some(key) = ctx.state(|purchase| purchase.key) else {
            return Ok(ctx.state(Purchase::current_status));
        };
        ctx.state_mut(|purchase| purchase.begin_run());
        let mut lanes = Lanes::default();
        let mut timer = RunTimer::default();
        loop {
            let seen = ctx.state(|purchase| purchase.state.changes);
            let must_end = must_end_run(ctx);
            let now = workflow_time(ctx);
            let next = if must_end {
                Next::Lanes
            } else {
                next(ctx, now)
            };
            match &next {
                Next::Admin(request) => {
                    execute_request(ctx, key, request).await;
                    continue;
                }
                Next::Settle(mode) => {
                    if has_planted_change(ctx) {
                        ctx.timer(Duration::from_millis(10)).await;
                    }
                    settle(ctx, key, *mode).await;
                    continue;
                }
                Next::EndRun if lanes.is_empty() => {
                    settling::show(ctx, key);
                    return Ok(ctx.state(Purchase::current_status));
                }
                Next::Sleep(until) => timer.set(ctx, *until, "quiet window, hold or verification"),
                Next::Lanes | Next::EndRun => {}
            }
            if must_end {
                if lanes.is_empty() {
                    end_run(ctx)?;
                    return Ok(ctx.state(Purchase::current_status));
                }
                lanes.cancel_all();
            } else {
                lanes.start_and_wake(ctx, key);
            }
            settling::show(ctx, key);
            wait(ctx, &mut lanes, &mut timer, seen).await;
        }
    }

    /// Handles the signal that the inbox has new rows.
    #[signal(name = contract::NOTIFIED)]
    pub fn notified(&mut self, ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Notified>) {
        match signal.0 {
            Ok(notified) => self
                .state
                .notified(&notified, timestamp(ctx.workflow_time())),
            Err(why) => {
                self.state.unreadable(contract::NOTIFIED, &why);
                self.state.wake();
            }
        }
    }

    /// Loads the purchase now. A window that has not ended stays open. The payload is ignored.
    #[signal(name = contract::WAKE)]
    pub fn wake(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _payload: Lenient<Admin>) {
        self.state.wake();
    }

    /// Settles now, ignoring the window.
    #[signal(name = contract::FLUSH)]
    pub fn flush(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Admin>) {
        self.fold(contract::FLUSH, signal, State::flush_by);
    }

    /// Stops settling.
    #[signal(name = contract::HOLD)]
    pub fn hold(&mut self, ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Hold>) {
        let now = timestamp(ctx.workflow_time());
        self.fold(contract::HOLD, signal, |state, hold| state.hold(hold, now));
    }

    /// Ends a hold.
    #[signal(name = contract::RELEASE)]
    pub fn release(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Admin>) {
        self.fold(contract::RELEASE, signal, |state, admin| {
            state.enqueue(AdminRequest::Release(admin))
        });
    }

    /// Discards the waiting notifications.
    #[signal(name = contract::DISCARD)]
    pub fn discard(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Discard>) {
        self.fold(contract::DISCARD, signal, |state, discard| {
            state.enqueue(AdminRequest::Discard(discard))
        });
    }

    /// Sends the latest state again.
    #[signal(name = contract::REDELIVER)]
    pub fn redeliver(&mut self, _ctx: &mut SyncWorkflowContext<Self>, signal: Lenient<Redeliver>) {
        self.fold(contract::REDELIVER, signal, |state, redeliver| {
            state.enqueue(AdminRequest::Redeliver(redeliver))
        });
    }

    /// Stops waiting for the next attempt of a lane.
    #[signal(name = contract::CANCEL_BACKOFF)]
    pub fn cancel_backoff(
        &mut self,
        _ctx: &mut SyncWorkflowContext<Self>,
        signal: Lenient<CancelBackoff>,
    ) {
        self.fold(
            contract::CANCEL_BACKOFF,
            signal,
            |state, CancelBackoff { destination_id }| {
                state.cancel_backoff(destination_id);
            },
        );
    }

    /// Returns what the purchase's run is waiting for.
    #[query(name = contract::STATUS)]
    pub fn status(&self, _ctx: &WorkflowContextView) -> Status {
        self.current_status()
    }

    fn fold<T>(&mut self, name: &str, signal: Lenient<T>, fold: impl FnOnce(&mut State, T)) {
        match signal.0 {
            Ok(signal) => fold(&mut self.state, signal),
            Err(why) => self.state.unreadable(name, &why),
        }
    }

    fn current_status(&self) -> Status {
        Status::of(self.key, &self.state)
    }

    /// Begins the run, after the signals of its first workflow task. A run that was started without a signal loads its
    /// purchase.
    fn begin_run(&mut self) {
        let is_signalled = self.state.changes > 0 || self.state.continued > 0;
        if !is_signalled {
            self.state.check_now = true;
        }
    }
}

/// Returns the next action. This is also the last check of the state before a run completes.
fn next(ctx: &WorkflowContext<Purchase>, now: Timestamp) -> Next {
    let next = ctx.state_mut(|purchase| purchase.state.next(now));
    fail::fail_point!("run.skip_drain", |_| {
        // Ignores the signals that were applied since the last settling.
        let has_announced = ctx.state(|purchase| {
            purchase.state.current.revision > 0 && purchase.state.lanes.is_empty()
        });
        if has_announced {
            Next::EndRun
        } else {
            next.clone()
        }
    });
    next
}

/// Whether a test planted a change of a later version in the run: a timer before each settling.
fn has_planted_change(ctx: &WorkflowContext<Purchase>) -> bool {
    fail::fail_point!("run.planted_change", |_| ctx.patched("planted-change"));
    let _ = ctx;
    false
}

/// Continues as a new run with the same state. After a cancellation, no run follows; the sweep starts one if something
/// is pending.
fn end_run(ctx: &WorkflowContext<Purchase>) -> Result<(), WorkflowTermination> {
    if ctx.cancellation_token().is_cancelled() {
        return Ok(());
    }
    let (mut carried, left_out) =
        ctx.state(|purchase| (purchase.state.clone(), purchase.left_out.clone()));
    carried.continued = carried.continued.saturating_add(1);
    let start = Start {
        carried: Some(carried),
        left_out,
    };
    ctx.continue_as_new(start.into(), ContinueAsNewOptions::default())?;
    Ok(())
}

/// Executes an admin's request. If the end of the run interrupts its activity, the next run executes it.
async fn execute_request(
    ctx: &WorkflowContext<Purchase>,
    key: CollapseKey,
    request: &AdminRequest,
) {
    let executed = match request.clone() {
        AdminRequest::Hold { duration, admin } => {
            let hold = SetHold {
                collapse_key: key,
                duration: Some(duration),
                admin,
            };
            execute(ctx, || Activities::hold, hold, |_| false)
                .await
                .map(|answer| answer.map(|_| ()))
        }
        AdminRequest::Release(admin) => {
            let release = SetHold {
                collapse_key: key,
                duration: None,
                admin,
            };
            let answer = execute(ctx, || Activities::hold, release, |_| false).await;
            ctx.state_mut(|purchase| {
                purchase.state.hold = None;
                purchase.state.check_now = true;
            });
            answer.map(|answer| answer.map(|_| ()))
        }
        AdminRequest::Discard(Discard { through, admin }) => {
            let discard = activities::Discard {
                collapse_key: key,
                through,
                admin,
            };
            execute(ctx, || Activities::discard, discard, |_| false)
                .await
                .map(|answer| answer.map(|_| ()))
        }
        AdminRequest::Redeliver(Redeliver {
            destination_id,
            admin,
        }) => {
            let once = Some(ctx.state_mut(|purchase| purchase.state.name_redelivery(ctx.run_id())));
            let redeliver = activities::Redeliver {
                collapse_key: key,
                destination_id,
                once,
                admin,
            };
            let answer = execute(ctx, || Activities::redeliver, redeliver, |_| false).await;
            answer.map(|lanes| {
                lanes.map(|lanes| ctx.state_mut(|purchase| purchase.state.woken(&lanes)))
            })
        }
    };
    ctx.state_mut(|purchase| match executed {
        Ok(None) => {}
        Ok(Some(())) => purchase.state.executed(None),
        Err(error) => purchase.state.executed(Some(why(&error))),
    });
}

/// Waits for the end of a lane, the timer, a signal or a cancellation, whichever is first.
async fn wait<'a>(
    ctx: &'a WorkflowContext<Purchase>,
    lanes: &mut Lanes<'a>,
    timer: &mut RunTimer<'a>,
    seen: u64,
) {
    let mut changed = pin!(changed(ctx, move |purchase| purchase.state.changes != seen));
    std::future::poll_fn(|task| {
        if lanes.poll(ctx, task) || timer.poll(task) {
            return Poll::Ready(());
        }
        changed.as_mut().poll(task)
    })
    .await;
}
