//! `deliver`: attempts what a lane owes. One failed attempt ends a run of the activity, and Temporal
//! runs it again when the next one is due; successes go on to the next delivery of the lane.
//!
//! A lane that the destination cannot take now ends here: the destination's own run delivers what it owes.

use crate::Doing;
use crate::attempt::{Attempted, LATE_MS, MOST, Made, Turn, attempt};
use crate::failure::Failed;
use std::time::Duration;
use storage::{LaneState, Mode, fault};
use temporalio_sdk::activities::ActivityInfo;
use tokio::time::Instant;
use workflows::asks::{Deliver, Delivered};

/// After this long, what is left goes to a fresh run, so that no attempt is cut off by its time-out.
const ENOUGH: Duration = Duration::from_secs(8);

/// So long a lane waits for another purchase of its user. After that the destination's own run delivers it, in its turn:
/// the purchases of a user who has many do not all keep asking.
const USER_PATIENCE: Duration = Duration::from_millis(500);

/// What tells this attempt from every other one, for the lease.
pub fn token(info: &ActivityInfo) -> String {
    format!("{}/{}", name(info), info.attempt)
}

/// The same name for all attempts of an activity.
pub fn name(info: &ActivityInfo) -> String {
    let run = info.workflow_run_id.as_deref().unwrap_or_default();
    format!("{run}/{}", info.activity_id)
}

/// Attempts what is due, until the lane is closed or owed, something fails or has to wait.
pub async fn deliver(doing: &Doing, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    let Some(_held) = doing.shares.take(lane.destination_id) else { return held_back(doing, lane).await };
    if fault::is_planted("deliver.start_twice") {
        // As if a worker that was given up for lost were still at it.
        let other = format!("{token}/other");
        return tokio::join!(attempts(doing, token, lane), attempts(doing, &other, lane)).0;
    }
    attempts(doing, token, lane).await
}

async fn attempts(doing: &Doing, token: &str, lane: &Deliver) -> Result<Delivered, Failed> {
    let began = Instant::now();
    let (key, destination) = (lane.collapse_key, lane.destination_id);
    let mut turn = Turn { key, destination, token: token.to_owned(), mode: Mode::Lane, at_most: MOST };
    loop {
        match attempt(doing, &turn).await? {
            Attempted::Made(made) => {
                if let Some(delivered) = ended(doing, &turn, &made, began.elapsed())? {
                    return Ok(delivered);
                }
                turn.at_most = made.at_most.unwrap_or(MOST);
            }
            Attempted::Closed { last_seq } => return Ok(Delivered { last_seq, more: false }),
            Attempted::UserBusy { ms, .. } if began.elapsed() < USER_PATIENCE => wait(ms).await,
            Attempted::Owed { last_seq, .. } | Attempted::UserBusy { last_seq, .. } => {
                return Ok(owed(doing, &turn, last_seq));
            }
            Attempted::Leased { ms } => return Err(Failed::wait(ms, "another attempt is still in flight".to_owned())),
            Attempted::Wait { ms, last_error } => {
                return Err(not_due(ms, last_error));
            }
            Attempted::Late => {
                let why = "the lease of this attempt ran out before it was sent".to_owned();
                return Err(Failed::wait(LATE_MS, why));
            }
        }
    }
}

async fn wait(ms: i64) {
    tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).await;
}

fn not_due(ms: i64, last_error: Option<String>) -> Failed {
    Failed::wait(ms, last_error.unwrap_or_else(|| "not due yet".to_owned()))
}

/// How the run ends after an attempt; `None` when it goes on.
fn ended(doing: &Doing, turn: &Turn, made: &Made, elapsed: Duration) -> Result<Option<Delivered>, Failed> {
    match (made.finished, &made.again) {
        (LaneState::Closed { last_seq }, _) => Ok(Some(Delivered { last_seq, more: false })),
        (LaneState::Owed { last_seq }, _) => Ok(Some(owed(doing, turn, last_seq))),
        (LaneState::Wait { ms }, Some(why)) => Err(Failed::wait(ms, why.clone())),
        (LaneState::Wait { ms }, None) => {
            Err(Failed::wait(ms, "the lane's other track waits for its next attempt".to_owned()))
        }
        // What is to be sent again in a smaller request goes on here, where that is known.
        (LaneState::More, Some(why)) if made.at_most.is_none() => Err(Failed::wait(1, why.clone())),
        (LaneState::More, _) if elapsed > ENOUGH => Ok(Some(Delivered { last_seq: 0, more: true })),
        (LaneState::More, _) => Ok(None),
    }
}

/// The destination holds its share of this worker's slots: its own run delivers what is due in the lane. What is due later
/// is waited for, which takes no slot.
async fn held_back(doing: &Doing, lane: &Deliver) -> Result<Delivered, Failed> {
    let last_seq = doing.store.last_seq(lane.collapse_key, lane.destination_id).await?;
    if let Some((ms, last_error)) = doing.store.lane_wait(lane.collapse_key, lane.destination_id).await? {
        return Err(not_due(ms, last_error));
    }
    doing.engine.tend(lane.destination_id);
    Ok(Delivered { last_seq, more: false })
}

/// The lane ends: what it owes is delivered by the destination's own run.
fn owed(doing: &Doing, turn: &Turn, last_seq: i64) -> Delivered {
    doing.engine.tend(turn.destination);
    Delivered { last_seq, more: false }
}
