//! The workflow `claims`: a run verifies what the devices of one platform report of receipts, for as long as claims are due
//! soon. No claim has a workflow or a signal of its own: one long activity takes those that are due from storage.

use crate::activities::{Activities, VerifiedClaims, VerifyClaims};
use crate::contract;
use crate::options;
use crate::signal::Lenient;
use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{ContinueAsNewOptions, WorkflowContext, WorkflowContextView, WorkflowResult};

/// Number of activities in one run before it continues as a new one.
const ACTIVITIES_PER_RUN: u32 = 100;

/// The input of a run: empty, since the workflow id names the platform.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {}

/// The claims of one platform.
#[workflow]
pub struct Claims {}

#[workflow_methods]
impl Claims {
    #[init]
    fn new(_ctx: &WorkflowContextView, _start: Lenient<Start>) -> Self {
        Self {}
    }

    /// Verifies until no claim is due soon.
    #[run(name = contract::CLAIMS)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let ctx: &WorkflowContext<Self> = ctx;
        let Some(platform_id) = contract::claims_platform_id(ctx.workflow_id()) else { return Ok(()) };
        let mut last = String::new();
        for _ in 0..ACTIVITIES_PER_RUN {
            if ctx.cancellation_token().is_cancelled() {
                return Ok(());
            }
            let input = VerifyClaims { platform_id, network: last };
            let verified = ctx.execute_activity(Activities::verify_claims, input, options::verify_claims()).await;
            // A cancellation, or an error that no retry mends. The sweep starts a run that is needed again.
            let Ok(VerifiedClaims { examined, is_idle, network }) = verified else { return Ok(()) };
            if is_idle {
                return Ok(());
            }
            last = network;
            ctx.set_current_details(format!("examined in the last round: {examined}"));
        }
        ctx.continue_as_new(Start::default().into(), ContinueAsNewOptions::default())?;
        Ok(())
    }
}
