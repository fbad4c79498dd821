//! The floor's workflow: the commands of a purchase's run with one settling and one delivery.

use domain::CollapseKey;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use temporalio_common::ActivityError;
use temporalio_common::RetryPolicy;
use temporalio_macros::{activities, workflow, workflow_methods};
use temporalio_sdk::activities::ActivityContext;
use temporalio_workflow::{
    LocalActivityOptions, SyncWorkflowContext, TimerOptions, WorkflowContext, WorkflowContextView,
    WorkflowResult,
};
use tokio::sync::mpsc::UnboundedSender;
use workflows::attributes;

pub const NAME: &str = "floor";
pub const QUEUE: &str = "floor";
/// Number of local activities before the delivery: `load` and `record`.
const STEPS: usize = 2;

pub struct Steps {
    /// Receives the purchase's key when the last activity runs.
    pub delivered: UnboundedSender<String>,
}

#[activities]
impl Steps {
    /// Does nothing.
    #[activity(name = "step")]
    pub async fn step(
        self: Arc<Self>,
        _ctx: ActivityContext,
        _key: String,
    ) -> Result<(), ActivityError> {
        Ok(())
    }

    /// Reports the purchase as delivered.
    #[activity(name = "deliver")]
    pub async fn deliver(
        self: Arc<Self>,
        _ctx: ActivityContext,
        key: String,
    ) -> Result<(), ActivityError> {
        // Fails only if no driver is waiting for it.
        let _ = self.delivered.send(key);
        Ok(())
    }
}

#[workflow]
pub struct Purchase {
    key: Option<CollapseKey>,
    window_end: Option<SystemTime>,
}

#[workflow_methods]
impl Purchase {
    #[init]
    fn new(ctx: &WorkflowContextView) -> Self {
        let key = ctx
            .workflow_id()
            .strip_prefix(NAME)
            .and_then(|id| id.strip_prefix('/')?.parse().ok());
        Self {
            key,
            window_end: None,
        }
    }

    /// Waits for the end of the window, then runs the activities.
    #[run(name = NAME)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let ctx: &WorkflowContext<Self> = ctx;
        let Some(key) = ctx.state(|purchase| purchase.key) else {
            return Ok(());
        };
        loop {
            let window_end = ctx.state(|purchase| purchase.window_end);
            let left = window_end
                .zip(ctx.workflow_time())
                .and_then(|(end, now)| end.duration_since(now).ok());
            let Some(left) = left.filter(|left| !left.is_zero()) else {
                break;
            };
            ctx.timer(
                TimerOptions::builder(left)
                    .summary("quiet window".to_owned())
                    .build(),
            )
            .await;
        }
        for _ in 0..STEPS {
            // The activity cannot fail, and the floor does not depend on its result.
            let _ = ctx
                .execute_local_activity(Steps::step, key.to_string(), once())
                .await;
        }
        let _ = ctx
            .execute_local_activity(Steps::deliver, key.to_string(), once())
            .await;
        ctx.upsert_search_attributes(attributes::Values::default().upsert(key, &[]));
        Ok(())
    }

    /// Restarts the window.
    #[signal(name = "notified")]
    pub fn notified(&mut self, ctx: &mut SyncWorkflowContext<Self>, quiet_ms: u64) {
        self.window_end = ctx
            .workflow_time()
            .map(|now| now + Duration::from_millis(quiet_ms));
    }
}

fn once() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(Duration::from_secs(3))
        .schedule_to_close_timeout(Duration::from_secs(3))
        .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
        .build()
}
