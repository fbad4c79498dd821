//! `deliver`: attempts the deliveries of a lane, one request after another. A failed attempt ends the activity's run
//! with a failure that contains the time of the next attempt. Temporal then runs the activity again, except after a
//! lane's first run, whose failure is reported to the purchase's run.
//!
//! If the destination cannot accept the lane's due deliveries (open breaker, pause, exhausted rate or concurrency), the
//! activity ends without a failure, and the destination's own run delivers them. The activity also ends when the lane
//! is closed: nothing is pending, or the destination is disabled or deleted.

use crate::delivery::attempt::{
    AttemptResult, Completed, LEASE_RETRY, NO_LIMIT, Next, Turn, attempt, lease,
};
use crate::dependencies::Context;
use crate::failure::Failed;
use domain::DestinationId;
use std::sync::Arc;
use std::time::Duration;
use storage::{Idle, LaneState, Lease, Mode, fault};
use temporalio_sdk::activities::ActivityInfo;
use tokio::time::Instant;
use workflows::activities::{Deliver, Delivered};
use workflows::options::PROMPT_ATTEMPT;

/// Time after which no further attempt begins, so that the activity's timeout interrupts none; a new run continues.
const BUDGET: Duration = Duration::from_secs(8);

/// How long a lane waits while a request about another purchase of its user is in flight. Then the destination's run
/// delivers the lane; otherwise, a user with many purchases would cause many futile attempts to take a lease.
const USER_BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Returns the prefix of the lease tokens of one execution of an activity: `run/activity/attempt/random`. The random
/// part is needed because a workflow task that timed out runs its local activities again with the same run, activity
/// and attempt.
pub fn token(info: &ActivityInfo, random: fn() -> f64) -> String {
    // The id of a webhook must not contain a full stop.
    let random = format!("{:.15}", random()).replace('.', "-");
    format!("{}/{}/{random}", name(info), info.attempt)
}

/// Returns the name that all attempts of an activity share: `run/activity`.
pub fn name(info: &ActivityInfo) -> String {
    let run = info.workflow_run_id.as_deref().unwrap_or_default();
    format!("{run}/{}", info.activity_id)
}

/// Returns the name of a flush: `run/flush/number`. An activity can have several flushes, and its repetition may have
/// further ones.
pub fn flush_name(info: &ActivityInfo, number: u64) -> String {
    format!(
        "{}/flush/{number}",
        info.workflow_run_id.as_deref().unwrap_or_default()
    )
}

/// Attempts the due deliveries of a lane within a workflow task, for at most [`PROMPT_ATTEMPT`]. A longer attempt
/// continues, and the regular activity, which the run starts next, waits for it.
///
/// # Errors
/// The errors of [`deliver`].
pub async fn within_task(
    context: Arc<Context>,
    token: String,
    lane: Deliver,
) -> Result<Delivered, Failed> {
    if fault::is_planted("deliver.stand_still") {
        tokio::time::sleep(PROMPT_ATTEMPT.saturating_mul(4)).await;
    }
    let (local_attempts, input) = (context.local_attempts.clone(), lane.clone());
    let mut attempting = tokio::spawn(async move { deliver(&context, &token, &input).await });
    match tokio::time::timeout(PROMPT_ATTEMPT, &mut attempting).await {
        Ok(result) => result.unwrap_or_else(|error| Err(later(LEASE_RETRY, error.to_string()))),
        Err(_) => {
            local_attempts.leave(&lane, attempting);
            Ok(Delivered {
                last_seq: 0,
                more: true,
            })
        }
    }
}

/// Attempts the due deliveries until the lane is closed or left to the destination's run, or [`BUDGET`] is exhausted.
///
/// # Errors
/// An attempt failed, or the next one is due later: Temporal runs the activity again at that time.
pub async fn deliver(context: &Context, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    // The result of a finished attempt is in storage. It may be outdated, since another worker may have continued.
    if let Some(left) = context
        .local_attempts
        .take(lane)
        .filter(|left| !left.is_finished())
        && let Ok(result) = left.await
    {
        return result;
    }
    let Some(_slot) = context.slots.take(lane.destination_id) else {
        return defer(context, lane).await;
    };
    if fault::is_planted("deliver.start_twice") {
        // Simulates a worker that still runs although Temporal believes it dead.
        let other = format!("{token}/other");
        return tokio::join!(
            attempts(context, token, lane),
            attempts(context, &other, lane)
        )
        .0;
    }
    attempts(context, token, lane).await
}

async fn attempts(context: &Context, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    let began = Instant::now();
    let destination = lane.destination_id;
    // Each lease has its own token, so that a late result of an earlier lease cannot end a later one.
    let mut tokens = (0_u64..).map(|number| format!("{token}/{number}"));
    let mut token = || tokens.next().unwrap_or_default();
    let mut turn = Turn::new(lease(lane.collapse_key, destination, token(), Mode::Lane));
    loop {
        let again = Lease {
            token: token(),
            ..turn.lease.clone()
        };
        let next = Next {
            token: token(),
            is_wanted: &|| began.elapsed() < BUDGET,
        };
        match attempt(context, turn, Some(next)).await? {
            AttemptResult::Completed(Completed {
                next: Some(next), ..
            }) => {
                turn = next;
                continue;
            }
            AttemptResult::Completed(completed) => {
                if let Some(delivered) =
                    finish_run(context, destination, &completed, began.elapsed())?
                {
                    return Ok(delivered);
                }
                turn = Turn::new(Lease {
                    at_most: completed.at_most.unwrap_or(NO_LIMIT),
                    ..again
                });
            }
            AttemptResult::Idle(Idle::Closed { last_seq }) => {
                return Ok(Delivered {
                    last_seq,
                    more: false,
                });
            }
            AttemptResult::Idle(Idle::UserBusy { wait, .. })
                if began.elapsed() < USER_BUSY_TIMEOUT =>
            {
                tokio::time::sleep(wait).await;
                turn = Turn::new(again);
            }
            AttemptResult::Idle(
                Idle::Pending { last_seq, .. } | Idle::UserBusy { last_seq, .. },
            ) => {
                return Ok(leave_to_destination(context, destination, last_seq));
            }
            AttemptResult::Idle(Idle::Leased { wait }) => {
                return Err(later(wait, "another attempt is still in flight"));
            }
            AttemptResult::Idle(Idle::Wait { wait, last_error }) => {
                return Err(not_due(wait, last_error));
            }
            AttemptResult::LeaseExpired => {
                return Err(later(
                    LEASE_RETRY,
                    "the lease of this attempt ran out before it was sent",
                ));
            }
        }
    }
}

/// Returns the failure that makes Temporal run the activity again after `wait`.
fn later(wait: Duration, why: impl Into<String>) -> Failed {
    Failed::Later {
        wait,
        why: why.into(),
    }
}

fn not_due(wait: Duration, last_error: Option<String>) -> Failed {
    later(wait, last_error.unwrap_or_else(|| "not due yet".to_owned()))
}

/// Returns the result of the run after a completed attempt; `None` if the run makes another attempt.
fn finish_run(
    context: &Context,
    destination: DestinationId,
    completed: &Completed,
    elapsed: Duration,
) -> Result<Option<Delivered>, Failed> {
    match (completed.lane, &completed.retry_reason) {
        (LaneState::Closed { last_seq }, _) => Ok(Some(Delivered {
            last_seq,
            more: false,
        })),
        (LaneState::Pending { last_seq }, _) => {
            Ok(Some(leave_to_destination(context, destination, last_seq)))
        }
        (LaneState::Wait { wait }, Some(why)) => Err(later(wait, why.as_str())),
        (LaneState::Wait { wait }, None) => Err(later(
            wait,
            "the lane's other track waits for its next attempt",
        )),
        // A retry with fewer events per request remains in this run, because only this run knows the limit.
        (LaneState::More, Some(why)) if completed.at_most.is_none() => {
            Err(later(Duration::from_millis(1), why.as_str()))
        }
        (LaneState::More, _) if elapsed > BUDGET => Ok(Some(Delivered {
            last_seq: 0,
            more: true,
        })),
        (LaneState::More, _) => Ok(None),
    }
}

/// Ends the run without an attempt, since the destination already occupies its share of this worker's slots. If the
/// lane is due, the destination's own run delivers it. Otherwise, Temporal runs the activity again when it is due; the
/// wait occupies no slot.
async fn defer(context: &Context, lane: &Deliver) -> Result<Delivered, Failed> {
    let last_seq = context
        .store
        .last_seq(lane.collapse_key, lane.destination_id)
        .await?;
    if let Some((wait, last_error)) = context
        .store
        .lane_wait(lane.collapse_key, lane.destination_id)
        .await?
    {
        return Err(not_due(wait, last_error));
    }
    context.engine.supervise(lane.destination_id);
    Ok(Delivered {
        last_seq,
        more: false,
    })
}

/// Leaves the lane to the destination's own run, and signals that run.
fn leave_to_destination(context: &Context, destination: DestinationId, last_seq: i64) -> Delivered {
    context.engine.supervise(destination);
    Delivered {
        last_seq,
        more: false,
    }
}
