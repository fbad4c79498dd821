//! The workflow `stream`: a run delivers device events to one destination as long as there are any. Device events have
//! no workflows or signals of their own: one long activity takes batches from storage, and the Temporal UI shows its
//! attempts and its last failure. One signal `pending` announces any number of events.

use crate::activities::{Activities, Stream, Streamed};
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

/// The input of a run: empty, since the workflow id names the destination.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {}

#[workflow]
pub struct DeviceStream {
    /// Number of signals to this run.
    signals: u32,
}

#[workflow_methods]
impl DeviceStream {
    #[init]
    fn new(_ctx: &WorkflowContextView, _start: Lenient<Start>) -> Self {
        Self { signals: 0 }
    }

    /// Delivers until nothing has been pending for a while.
    #[run(name = contract::STREAM)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let ctx: &WorkflowContext<Self> = ctx;
        let Some(destination_id) = contract::stream_destination_id(ctx.workflow_id()) else {
            return Ok(());
        };
        for _ in 0..ACTIVITIES_PER_RUN {
            let seen = ctx.state(|stream| stream.signals);
            let options = Interruptible::only_by_end_of_run(options::stream);
            match execute_regular(
                ctx,
                || Activities::stream,
                Stream { destination_id },
                options,
            )
            .await
            {
                // A signal that arrived during the activity may announce events that it missed.
                Ok(Some(Streamed { is_idle: true, .. }))
                    if ctx.state(|stream| stream.signals) == seen =>
                {
                    return Ok(());
                }
                Ok(Some(Streamed { delivered, .. })) => {
                    ctx.set_current_details(format!("delivered in the last round: {delivered}"));
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

    /// Handles the signal that storage may have new events. The payload is ignored.
    #[signal(name = contract::PENDING)]
    pub fn pending(&mut self, _ctx: &mut SyncWorkflowContext<Self>, _payload: Lenient<Admin>) {
        self.signals = self.signals.saturating_add(1);
    }
}
