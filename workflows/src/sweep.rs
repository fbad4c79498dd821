//! The workflow `sweep`: every 30 seconds, it signals the overdue purchases and destinations. Its workflow id is fixed,
//! so Temporal guarantees that only one run is open.

use crate::activities::Activities;
use crate::contract;
use crate::options;
use crate::signal::Lenient;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, WorkflowContext, WorkflowContextView, WorkflowResult,
};

const PAUSE: Duration = Duration::from_secs(30);
/// Time between two sweeps while more is due than one sweep may signal. Each sweep limits the rate of its own signals.
const SHORT_PAUSE: Duration = Duration::from_secs(1);
/// Number of sweeps in one run before it continues as a new one.
const SWEEPS_PER_RUN: u32 = 300;

/// The input of a run: empty.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {}

/// The one sweep of an installation.
#[workflow]
pub struct Sweep {}

#[workflow_methods]
impl Sweep {
    #[init]
    fn new(_ctx: &WorkflowContextView, _start: Lenient<Start>) -> Self {
        Self {}
    }

    /// Sweeps forever.
    #[run(name = contract::SWEEP)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let ctx: &WorkflowContext<Self> = ctx;
        for round in 0..SWEEPS_PER_RUN {
            if ctx.cancellation_token().is_cancelled() {
                return Ok(());
            }
            let swept = ctx
                .execute_activity(Activities::sweep, round, options::sweep())
                .await;
            let found = swept.unwrap_or_default();
            ctx.set_current_details(format!("woken in the last sweep: {}", found.woken));
            let pause = if found.more { SHORT_PAUSE } else { PAUSE };
            ctx.timer(pause).await;
        }
        ctx.continue_as_new(Start::default().into(), ContinueAsNewOptions::default())?;
        Ok(())
    }
}
