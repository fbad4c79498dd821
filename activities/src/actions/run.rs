//! Counts the commands of a run. A replay repeats commands that are counted already, so it counts none. Upserts of
//! search attributes are visible only by their effect after each poll of the run, so several in one poll count once.

use super::{Action, Actions};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use temporalio_sdk::TimerResult;
use temporalio_sdk::workflow_interceptors::{
    CancellableWorkflowOutboundFuture, ContinueAsNewInput, ContinueAsNewResult,
    ExecuteWorkflowInput, ExecuteWorkflowResult, ScheduleActivityInput, ScheduleActivityResult,
    ScheduleLocalActivityInput, StartTimerInput, SyncWorkflowInterceptorContext,
    WorkflowInterceptor, WorkflowInterceptorContext, WorkflowInterceptorFuture, WorkflowNext,
};

/// The meter of one run while it is in the worker's memory.
pub struct RunMeter {
    actions: Actions,
    /// The length of the history at the last counted local activity. It is the same for all local activities of one
    /// workflow task, which together are one action.
    local_at: Cell<u32>,
}

impl RunMeter {
    pub const fn new(actions: Actions) -> Self {
        Self {
            actions,
            local_at: Cell::new(0),
        }
    }

    fn count(&self, ctx: &WorkflowInterceptorContext, action: Action) {
        if !ctx.is_replaying() {
            self.actions.count(ctx.workflow_type(), action);
        }
    }
}

impl WorkflowInterceptor for RunMeter {
    /// Detects upserts. No call of the interceptor shows one, but the run's attributes differ afterwards.
    fn execute<'a>(
        &'a self,
        ctx: WorkflowInterceptorContext,
        input: ExecuteWorkflowInput,
        next: WorkflowNext<
            'a,
            ExecuteWorkflowInput,
            WorkflowInterceptorFuture<'a, ExecuteWorkflowResult>,
        >,
    ) -> WorkflowInterceptorFuture<'a, ExecuteWorkflowResult> {
        WorkflowInterceptorFuture::new(async move {
            let mut known = ctx.search_attributes();
            let mut running = pin!(next.run(input));
            poll_fn(|task| {
                let polled = running.as_mut().poll(task);
                let attributes = ctx.search_attributes();
                if attributes != known {
                    known = attributes;
                    self.count(&ctx, Action::Upsert);
                }
                polled
            })
            .await
        })
    }

    fn start_timer(
        &self,
        ctx: WorkflowInterceptorContext,
        input: StartTimerInput,
        next: WorkflowNext<
            'static,
            StartTimerInput,
            CancellableWorkflowOutboundFuture<TimerResult>,
        >,
    ) -> CancellableWorkflowOutboundFuture<TimerResult> {
        self.count(&ctx, Action::Timer);
        next.run(input)
    }

    fn schedule_activity(
        &self,
        ctx: WorkflowInterceptorContext,
        input: ScheduleActivityInput,
        next: WorkflowNext<
            'static,
            ScheduleActivityInput,
            CancellableWorkflowOutboundFuture<ScheduleActivityResult>,
        >,
    ) -> CancellableWorkflowOutboundFuture<ScheduleActivityResult> {
        self.count(&ctx, Action::Activity);
        next.run(input)
    }

    fn schedule_local_activity(
        &self,
        ctx: WorkflowInterceptorContext,
        input: ScheduleLocalActivityInput,
        next: WorkflowNext<
            'static,
            ScheduleLocalActivityInput,
            CancellableWorkflowOutboundFuture<ScheduleActivityResult>,
        >,
    ) -> CancellableWorkflowOutboundFuture<ScheduleActivityResult> {
        if self.local_at.replace(ctx.history_length()) != ctx.history_length() {
            self.count(&ctx, Action::LocalActivities);
        }
        next.run(input)
    }

    fn continue_as_new(
        &self,
        ctx: SyncWorkflowInterceptorContext,
        input: ContinueAsNewInput,
        next: WorkflowNext<'static, ContinueAsNewInput, ContinueAsNewResult>,
    ) -> ContinueAsNewResult {
        if !ctx.is_replaying() {
            self.actions
                .count(ctx.workflow_type(), Action::ContinueAsNew);
        }
        next.run(input)
    }
}
