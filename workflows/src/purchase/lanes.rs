//! The running lanes: at most one `deliver` activity per destination.

use super::Purchase;
use super::state::LaneStart;
use crate::activities::{Activities, Deliver, Delivered};
use crate::options::{self, Retries};
use crate::run::{has_timed_out, why};
use domain::{CollapseKey, DestinationId};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use temporalio_common::error::ActivityExecutionError;
use temporalio_workflow::{WorkflowCancellationToken, WorkflowContext};

type Delivering<'a> = Pin<Box<dyn Future<Output = Result<Delivered, ActivityExecutionError>> + 'a>>;

struct InFlight<'a> {
    token: WorkflowCancellationToken,
    delivering: Delivering<'a>,
    /// Sequence number of the newest delivery when the activity was started.
    started_for: i64,
    /// Whether the activity was started for a failing lane, so that the engine retries it.
    retried: bool,
    start: LaneStart,
}

/// The running lanes, by destination.
#[derive(Default)]
pub struct Lanes<'a>(BTreeMap<DestinationId, InFlight<'a>>);

impl<'a> Lanes<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Starts the lanes that are not running, and wakes running ones that have newer deliveries.
    ///
    /// Waking a lane cancels its back-off. The lane is started again only when the engine reports the end of its
    /// activity, so there are never two attempts at once.
    pub fn start_and_wake(&mut self, ctx: &'a WorkflowContext<Purchase>, key: CollapseKey) {
        let pending = ctx.state(|purchase| purchase.state.lanes.clone());
        for (destination_id, lane) in pending {
            if let Some(running) = self.0.get(&destination_id) {
                // An attempt within the workflow task ends soon by itself.
                if (lane.wake || lane.last_seq > running.started_for)
                    && running.start == LaneStart::Regular
                {
                    running
                        .token
                        .cancel_with_reason("there is news for this lane");
                }
                continue;
            }
            let token = ctx.cancellation_token().child_token();
            let (deliver, summary) = (
                Deliver {
                    collapse_key: key,
                    destination_id,
                },
                format!("destination {destination_id}"),
            );
            let start = ctx.state_mut(|purchase| purchase.state.started(destination_id));
            let delivering: Delivering<'a> = match start {
                LaneStart::WithinTask => Box::pin(ctx.execute_local_activity(
                    Activities::deliver,
                    deliver,
                    options::prompt_lane(summary),
                )),
                LaneStart::Regular => {
                    let retries = if lane.failing {
                        Retries::UntilItEnds
                    } else {
                        Retries::None
                    };
                    let options = options::lane(token.clone(), retries, summary);
                    Box::pin(ctx.execute_activity(Activities::deliver, deliver, options))
                }
            };
            let (started_for, retried) = (lane.last_seq, lane.failing);
            self.0.insert(
                destination_id,
                InFlight {
                    token,
                    delivering,
                    started_for,
                    retried,
                    start,
                },
            );
        }
    }

    /// Cancels all lanes, since the run is closing and no activity may be abandoned.
    pub fn cancel_all(&self) {
        for running in self.0.values() {
            running.token.cancel_with_reason("the run is closing");
        }
    }

    /// Polls the lanes in a fixed order and applies the first one that ended. Returns whether there was one.
    pub fn poll(&mut self, ctx: &WorkflowContext<Purchase>, task: &mut Context<'_>) -> bool {
        let finished = self.0.iter_mut().find_map(|(id, running)| {
            match running.delivering.as_mut().poll(task) {
                Poll::Ready(result) => Some((*id, result)),
                Poll::Pending => None,
            }
        });
        let Some((destination_id, result)) = finished else {
            return false;
        };
        let Some(lane) = self.0.remove(&destination_id) else {
            return false;
        };
        let was_last = lane.retried && !lane.token.is_cancelled();
        ctx.state_mut(|purchase| match result {
            Ok(delivered) => purchase
                .state
                .delivered(destination_id, &delivered, lane.started_for),
            Err(ActivityExecutionError::Cancelled(_)) => {}
            // The worker had no slot or was lost, so nothing is known about the destination.
            Err(error) if lane.start == LaneStart::WithinTask && has_timed_out(&error) => {}
            // Either the first attempt of a healthy lane failed, or a lane failed after its cancellation. The engine
            // does not retry a cancelled activity, so the lane is started again.
            Err(_) if !was_last => purchase.state.failed(destination_id),
            Err(error) => purchase.state.lost(
                destination_id,
                format!("destination {destination_id}: {}", why(&error)),
            ),
        });
        true
    }
}
