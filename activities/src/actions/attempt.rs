//! Counts repeated attempts of regular activities. The first attempt is counted where its run schedules it.

use super::{Action, Actions};
use temporalio_sdk::interceptors::{
    ActivityInboundInterceptor, ExecuteActivityInput, ExecuteActivityOutput, Next,
};

pub struct AttemptMeter {
    actions: Actions,
}

impl AttemptMeter {
    pub const fn new(actions: Actions) -> Self {
        Self { actions }
    }
}

impl ActivityInboundInterceptor for AttemptMeter {
    fn execute_activity<'a>(
        &'a self,
        input: ExecuteActivityInput,
        next: Next<'a, ExecuteActivityInput, ExecuteActivityOutput<'a>>,
    ) -> ExecuteActivityOutput<'a> {
        let info = input.activity_info();
        if info.attempt > 1 && !info.is_local {
            self.actions.count(
                info.workflow_type.as_deref().unwrap_or_default(),
                Action::Retry,
            );
        }
        next.run(input)
    }
}
