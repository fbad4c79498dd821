//! `deliver`: attempts the deliveries of a lane, one request after another. A failed attempt ends the activity's run
//! with a failure that carries the time of the next attempt. Temporal runs the activity again then, except after a
//! lane's first run, whose failure goes to the purchase's run.
//!
//! When the destination cannot take what is due in the lane (open breaker, pause, exhausted rate or concurrency), the
//! activity ends without a failure, and the destination's own run delivers what is pending in the lane. It also ends
//! when the lane is closed: nothing is pending, or the destination is disabled or deleted.

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

/// Time after which no further attempt begins: a new run goes on, and the activity's time-out interrupts no attempt.
const BUDGET: Duration = Duration::from_secs(8);

/// How long a lane waits while a request about another purchase of its user is in flight. Then the destination's run
/// delivers it; otherwise a user with many purchases would cause many futile tries to lease.
const USER_BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// The beginning of the lease tokens of one execution of an activity: `run/activity/attempt/random`. A workflow task that
/// timed out runs its local activities again, with the same run, activity and attempt.
pub fn token(info: &ActivityInfo, random: fn() -> f64) -> String {
    // A webhook's id has no full stop.
    let random = format!("{:.15}", random()).replace('.', "-");
    format!("{}/{}/{random}", name(info), info.attempt)
}

/// The name that all attempts of an activity share: `run/activity`.
pub fn name(info: &ActivityInfo) -> String {
    let run = info.workflow_run_id.as_deref().unwrap_or_default();
    format!("{run}/{}", info.activity_id)
}

/// The name of a request to settle now: `run/flush/number`. An activity has several, and a repetition of it may have
/// more of them.
pub fn flush_name(info: &ActivityInfo, number: u64) -> String {
    format!(
        "{}/flush/{number}",
        info.workflow_run_id.as_deref().unwrap_or_default()
    )
}

/// Attempts the due deliveries of a lane within a workflow task, for [`PROMPT_ATTEMPT`] at most. What takes longer goes
/// on, and the regular activity, which the run starts next, waits for it.
///
/// # Errors
/// As those of [`deliver`].
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

/// Attempts the due deliveries until the lane is closed, is left to the destination's run, or [`BUDGET`] is over.
///
/// # Errors
/// An attempt failed, or the next one is due later: Temporal runs the activity again at that time.
pub async fn deliver(context: &Context, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    // The result of an attempt that has ended is in storage, and may be old: another worker may have gone on with it.
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
        // As if a worker that Temporal believes dead still runs.
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
    // A late result of an earlier lease must not end the lease of a later one.
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

/// The failure that makes Temporal run the activity again after this time.
fn later(wait: Duration, why: impl Into<String>) -> Failed {
    Failed::Later {
        wait,
        why: why.into(),
    }
}

fn not_due(wait: Duration, last_error: Option<String>) -> Failed {
    later(wait, last_error.unwrap_or_else(|| "not due yet".to_owned()))
}

/// The result of the run after a completed attempt; `None` when the run makes another attempt.
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
        // A retry with fewer events per request stays in this run: only this run knows the limit.
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

/// Ends the run without an attempt, since the destination occupies its share of this worker's slots. If the lane is
/// due, the destination's own run delivers it. If not, Temporal runs the activity again at that time; the wait occupies
/// no slot.
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

/// Leaves the lane to the destination's own run, which it signals.
fn leave_to_destination(context: &Context, destination: DestinationId, last_seq: i64) -> Delivered {
    context.engine.supervise(destination);
    Delivered {
        last_seq,
        more: false,
    }
}
