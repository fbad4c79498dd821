//! The workflow `claims`: verifies the claims of the devices on one platform. A run lasts as long as claims are due
//! soon. Claims have no workflows or signals of their own: one long activity takes due claims from storage, and one
//! signal `pending` announces any number of them.

use crate::activities::{Activities, VerifiedClaims, VerifyClaims};
use crate::contract;
use crate::options;
use crate::run::{Interruptible, execute_regular};
use crate::signal::{Admin, Lenient};
use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    ContinueAsNewOptions, SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult,
};

/// Number of activities in one run before it continues as a new one.
const ACTIVITIES_PER_RUN: u32 = 100;

/// The input of a run: empty, since the workflow id names the platform.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {}

#[workflow]
pub struct Claims {
    /// Number of signals to this run.
    signals: u32,
}

#[workflow_methods]
impl Claims {
    #[init]
    fn new(_ctx: &WorkflowContextView, _start: Lenient<Start>) -> Self {
        Self { signals: 0 }
    }

    /// Verifies until no claim is due soon.
    #[run(name = contract::CLAIMS)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let ctx: &WorkflowContext<Self> = ctx;
        let Some(platform_id) = contract::claims_platform_id(ctx.workflow_id()) else {
            return Ok(());
        };
        let mut last = String::new();
        for _ in 0..ACTIVITIES_PER_RUN {
            let seen = ctx.state(|claims| claims.signals);
            let input = VerifyClaims {
                platform_id,
                network: std::mem::take(&mut last),
            };
            let options = Interruptible::only_by_end_of_run(options::verify_claims);
            match execute_regular(ctx, || Activities::verify_claims, input, options).await {
                // A signal that arrived during the activity may announce claims that it missed.
                Ok(Some(VerifiedClaims { is_idle: true, .. }))
                    if ctx.state(|claims| claims.signals) == seen =>
                {
                    return Ok(());
                }
                Ok(Some(VerifiedClaims {
                    examined, network, ..
                })) => {
                    last = network;
                    ctx.set_current_details(format!("examined in the last round: {examined}"));
                }
                Ok(None) => break,
                // The error is not retryable; the sweep starts a new run if needed.
                Err(_) => return Ok(()),
            }
        }
        if ctx.cancellation_token().is_cancelled() {
            return Ok(());
        }
        ctx.continue_as_new(Start::default().into(), ContinueAsNewOptions::default())?;
        Ok(())
    }

    /// Handles the signal that storage may have new claims. The payload is ignored.
    #[signal(name = contract::PENDING)]
    pub fn pending(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _payload: Lenient<Admin>) {
        self.signals = self.signals.saturating_add(1);
    }
}
