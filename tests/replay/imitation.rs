//! Two copies of the shortest path through the workflow `purchase`, under its name: one faithful, one with an
//! additional timer. Replaying a history with both shows that a replay detects a change.

use std::time::Duration;
use temporalio_macros::{workflow, workflow_methods};
use temporalio_workflow::{
    SyncWorkflowContext, WorkflowContext, WorkflowContextView, WorkflowResult,
};
use workflows::activities::{Activities, Deliver, Recorded, Settle, SettlingMode, SettlingStart};
use workflows::attributes::Values;
use workflows::contract;
use workflows::options::{self, Retries};
use workflows::purchase::Start;
use workflows::signal::{Lenient, Notified};

/// Defines a workflow that acts like `purchase` for one notification, with an additional timer if `$extra` is true.
macro_rules! imitation {
    ($name:ident, $extra:expr) => {
        /// The workflow `purchase`, for one notification.
        #[workflow]
        pub struct $name {
            signal: Option<Notified>,
        }

        #[workflow_methods]
        impl $name {
            #[init]
            fn new(_ctx: &WorkflowContextView, _start: Lenient<Start>) -> Self {
                Self { signal: None }
            }

            /// Waits for the window, settles and delivers.
            #[run(name = contract::PURCHASE)]
            pub async fn run(ctx: &mut WorkflowContext<Self>) -> WorkflowResult<()> {
                let ctx: &WorkflowContext<Self> = ctx;
                let key = contract::collapse_key(ctx.workflow_id()).expect("a purchase's id");
                let signal = ctx.state(|run| run.signal.clone()).unwrap_or_default();
                ctx.timer(signal.quiet).await;
                let start = SettlingStart {
                    through: signal.through,
                    is_early: false,
                    mode: SettlingMode::Due,
                };
                let settle = Settle {
                    collapse_key: key,
                    start,
                    flushes: Vec::new(),
                };
                let settled = ctx
                    .execute_local_activity(Activities::settle, settle, options::short())
                    .await?;
                if $extra {
                    ctx.timer(Duration::from_secs(1)).await;
                }
                let (loaded, recorded) = (settled.loaded, settled.recorded);
                let values = Values {
                    app_id: loaded.app_id,
                    platform_id: loaded.platform_id,
                    ..Values::default()
                };
                let Some(Recorded::Done { lanes, .. }) = recorded else {
                    return Ok(());
                };
                for lane in lanes {
                    let deliver = Deliver {
                        collapse_key: key,
                        destination_id: lane.destination_id,
                    };
                    let options = options::lane(
                        ctx.cancellation_token().child_token(),
                        Retries::None,
                        String::new(),
                    );
                    let delivering = ctx.execute_activity(Activities::deliver, deliver, options);
                    ctx.upsert_search_attributes(values.upsert(key, &[]));
                    delivering.await?;
                }
                Ok(())
            }

            /// Signals new rows in the inbox.
            #[signal(name = contract::NOTIFIED)]
            pub fn notified(
                &mut self,
                _ctx: &mut SyncWorkflowContext<Self>,
                signal: Lenient<Notified>,
            ) {
                self.signal = signal.0.ok();
            }
        }
    };
}

/// Each imitation is in its own module, because the macros define names.
mod faithful {
    use super::*;
    imitation!(Faithful, false);
}

mod changed {
    use super::*;
    imitation!(Changed, true);
}

pub use changed::Changed;
pub use faithful::Faithful;
