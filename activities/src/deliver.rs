//! `deliver`: attempts the deliveries of a lane. One failed attempt ends a run of the activity, and Temporal
//! runs it again when the next one is due; after a success the lane's next delivery follows.
//!
//! A lane that the destination cannot take now ends here: the destination's own run delivers what it owes.

use crate::attempt::{AttemptResult, Completed, LATE, NO_LIMIT, attempt, claim};
use crate::dependencies::Context;
use crate::failure::Failed;
use std::time::Duration;
use storage::{Claim, Idle, LaneState, Mode, fault};
use temporalio_sdk::activities::ActivityInfo;
use tokio::time::Instant;
use workflows::activities::{Deliver, Delivered};

/// After this time the rest is left to a new run, so that no attempt is cut off by the activity's time-out.
const ENOUGH: Duration = Duration::from_secs(8);

/// How long a lane waits for another purchase of its user. After that the destination's run delivers it, so that the many
/// purchases of one user do not all keep claiming.
const USER_PATIENCE: Duration = Duration::from_millis(500);

/// The token of this attempt of an activity, for leases.
pub fn token(info: &ActivityInfo) -> String {
    format!("{}/{}", name(info), info.attempt)
}

/// The name that all attempts of an activity share.
pub fn name(info: &ActivityInfo) -> String {
    let run = info.workflow_run_id.as_deref().unwrap_or_default();
    format!("{run}/{}", info.activity_id)
}

/// Attempts what is due until the lane is closed or left to the destination's run, or an attempt fails or has to wait.
pub async fn deliver(context: &Context, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    let Some(_slot) = context.shares.take(lane.destination_id) else { return defer(context, lane).await };
    if fault::is_planted("deliver.start_twice") {
        // As if a worker that Temporal believes dead still runs.
        let other = format!("{token}/other");
        return tokio::join!(attempts(context, token, lane), attempts(context, &other, lane)).0;
    }
    attempts(context, token, lane).await
}

async fn attempts(context: &Context, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    let began = Instant::now();
    let (key, destination) = (lane.collapse_key, lane.destination_id);
    let mut claim = claim(key, destination, token.to_owned(), Mode::Lane);
    loop {
        match attempt(context, &claim).await? {
            AttemptResult::Completed(completed) => {
                if let Some(delivered) = finish_run(context, &claim, &completed, began.elapsed())? {
                    return Ok(delivered);
                }
                claim.at_most = completed.at_most.unwrap_or(NO_LIMIT);
            }
            AttemptResult::Idle(Idle::Closed { last_seq }) => return Ok(Delivered { last_seq, more: false }),
            AttemptResult::Idle(Idle::UserBusy { wait, .. }) if began.elapsed() < USER_PATIENCE => {
                tokio::time::sleep(wait).await;
            }
            AttemptResult::Idle(Idle::Owed { last_seq, .. } | Idle::UserBusy { last_seq, .. }) => {
                return Ok(leave_to_destination(context, &claim, last_seq));
            }
            AttemptResult::Idle(Idle::Leased { wait }) => {
                return Err(later(wait, "another attempt is still in flight"));
            }
            AttemptResult::Idle(Idle::Wait { wait, last_error }) => return Err(not_due(wait, last_error)),
            AttemptResult::Late => return Err(later(LATE, "the lease of this attempt ran out before it was sent")),
        }
    }
}

/// Run again after this time.
fn later(wait: Duration, why: impl Into<String>) -> Failed {
    Failed::Later { wait, why: why.into() }
}

fn not_due(wait: Duration, last_error: Option<String>) -> Failed {
    later(wait, last_error.unwrap_or_else(|| "not due yet".to_owned()))
}

/// The result of the run after an attempt; `None` when it goes on.
fn finish_run(
    context: &Context,
    claim: &Claim,
    completed: &Completed,
    elapsed: Duration,
) -> Result<Option<Delivered>, Failed> {
    match (completed.finished, &completed.retry_reason) {
        (LaneState::Closed { last_seq }, _) => Ok(Some(Delivered { last_seq, more: false })),
        (LaneState::Owed { last_seq }, _) => Ok(Some(leave_to_destination(context, claim, last_seq))),
        (LaneState::Wait { wait }, Some(why)) => Err(later(wait, why.as_str())),
        (LaneState::Wait { wait }, None) => Err(later(wait, "the lane's other track waits for its next attempt")),
        // A retry in a smaller request goes on in this run, where the size is known.
        (LaneState::More, Some(why)) if completed.at_most.is_none() => {
            Err(later(Duration::from_millis(1), why.as_str()))
        }
        (LaneState::More, _) if elapsed > ENOUGH => Ok(Some(Delivered { last_seq: 0, more: true })),
        (LaneState::More, _) => Ok(None),
    }
}

/// The destination has taken its share of this worker's slots: its own run delivers what is due in the lane. What is due
/// later waits in Temporal, which takes no slot.
async fn defer(context: &Context, lane: &Deliver) -> Result<Delivered, Failed> {
    let last_seq = context.store.last_seq(lane.collapse_key, lane.destination_id).await?;
    if let Some((wait, last_error)) = context.store.lane_wait(lane.collapse_key, lane.destination_id).await? {
        return Err(not_due(wait, last_error));
    }
    context.engine.supervise(lane.destination_id);
    Ok(Delivered { last_seq, more: false })
}

/// Leaves the lane to the destination's own run.
fn leave_to_destination(context: &Context, claim: &Claim, last_seq: i64) -> Delivered {
    context.engine.supervise(claim.destination);
    Delivered { last_seq, more: false }
}
