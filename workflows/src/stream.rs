//! The workflow `stream`: a run delivers to one destination what devices report, for as long as there is something. No
//! event of a device has a workflow or a signal of its own: one long activity takes batches from storage, and its attempts
//! and its last failure are what people see in the Temporal UI.

use crate::activities::{Activities, Stream, Streamed};
use crate::contract;
use crate::options;
use crate::signal::Lenient;
use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{ContinueAsNewOptions, WorkflowContext, WorkflowContextView, WorkflowResult};

/// Number of activities in one run before it continues as a new one.
const ACTIVITIES_PER_RUN: u32 = 100;

/// The input of a run: empty, since the workflow id names the destination.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Start {}

/// The stream of one destination.
#[workflow]
pub struct DeviceStream {}

#[workflow_methods]
impl DeviceStream {
    #[init]
    fn new(_ctx: &WorkflowContextView, _start: Lenient<Start>) -> Self {
        Self {}
    }

    /// Delivers until nothing has been owed for a while.
    #[run(name = contract::STREAM)]
    pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
        let ctx: &WorkflowContext<Self> = ctx;
        let Some(destination_id) = contract::stream_destination_id(ctx.workflow_id()) else { return Ok(()) };
        for _ in 0..ACTIVITIES_PER_RUN {
            if ctx.cancellation_token().is_cancelled() {
                return Ok(());
            }
            let streamed = ctx.execute_activity(Activities::stream, Stream { destination_id }, options::stream()).await;
            // A cancellation, or an error that no retry mends. The sweep starts a run that is needed again.
            let Ok(Streamed { delivered, is_idle }) = streamed else { return Ok(()) };
            if is_idle {
                return Ok(());
            }
            ctx.set_current_details(format!("delivered in the last round: {delivered}"));
        }
        ctx.continue_as_new(Start::default().into(), ContinueAsNewOptions::default())?;
        Ok(())
    }
}
