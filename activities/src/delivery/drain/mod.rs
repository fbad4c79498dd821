//! Delivers the backlog of one destination: loads a page of lanes at a time and attempts a bounded number of them
//! concurrently.
//!
//! A failed lane that must wait is handed back to its purchase, whose run retries it and shows the retries in Temporal.

#[cfg(test)]
mod tests;

use crate::delivery::attempt::{AttemptResult, LEASE_RETRY, NO_LIMIT, Next, Turn, attempt, lease};
use crate::delivery::refused;
use crate::delivery::supervise::run::SuperviseRun;
use crate::dependencies::Context;
use domain::CollapseKey;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use storage::{DestinationNeed, Error, Idle, LaneState, Lease, Mode};
use tokio::time::Instant;
use workflows::signal::Signal;

/// Maximum wait for the destination: for its rate, its concurrency, a pause or the breaker. If the wait would be
/// longer, the drain ends, and a later run of the activity continues.
const MAX_LIMIT_WAIT: Duration = Duration::from_secs(5);
/// Maximum number of lanes in memory, waiting or in flight.
pub const MAX_LANES: i64 = 200;

/// How long a lane waits, once, while a request about another purchase of its user is in flight. Then the next lane
/// takes its turn. Without the wait, a user with many purchases would cause many futile attempts to take a lease.
const USER_BUSY_WAIT: Duration = Duration::from_millis(100);

#[derive(Debug, Default, PartialEq, Eq)]
pub struct DrainResult {
    /// Number of leases that ended, including those that sent no request.
    pub attempts: u64,
    /// How long until a skipped lane can be attempted: it is leased, must wait, or its destination does not accept it
    /// now.
    pub busy_for: Option<Duration>,
    /// How long until the next attempt of a lane that the destination's run itself must make, because the lane belongs
    /// to no purchase or its lease expired.
    pub due_in: Option<Duration>,
}

impl DrainResult {
    /// Adds the result of another drain.
    #[must_use]
    pub fn merge(self, other: &Self) -> Self {
        Self {
            attempts: self.attempts.saturating_add(other.attempts),
            busy_for: sooner(self.busy_for, other.busy_for),
            due_in: sooner(self.due_in, other.due_in),
        }
    }
}

/// Returns the shorter of two durations, ignoring `None`.
pub fn sooner(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    one.into_iter().chain(other).min()
}

struct Lanes {
    waiting: VecDeque<CollapseKey>,
    in_flight: BTreeSet<CollapseKey>,
}

impl Lanes {
    /// Takes the next waiting lane and marks it as in flight.
    fn next(&mut self) -> Option<CollapseKey> {
        let key = self.waiting.pop_front()?;
        self.in_flight.insert(key);
        Some(key)
    }

    /// Returns the number of lanes to load; `None` while lanes are waiting or [`MAX_LANES`] are in flight.
    fn room(&self) -> Option<i64> {
        let room =
            MAX_LANES.saturating_sub(i64::try_from(self.in_flight.len()).unwrap_or(i64::MAX));
        (self.waiting.is_empty() && room > 0).then_some(room)
    }

    fn refill(&mut self, keys: Vec<CollapseKey>) {
        self.waiting
            .extend(keys.into_iter().filter(|key| !self.in_flight.contains(key)));
    }
}

/// Attempts each lane until it is closed, fails or must wait. When the drain is over, it starts no further request and
/// waits for those in flight. A slow lane delays no other: more lanes are loaded as attempts complete.
pub async fn drain(
    context: &Context,
    run: &SuperviseRun,
    keys: Vec<CollapseKey>,
    concurrency: i64,
) -> Result<DrainResult, Error> {
    let at_once = usize::try_from(concurrency.clamp(1, MAX_LANES)).unwrap_or(1);
    let (mut result, mut failed) = (DrainResult::default(), None);
    let keys = without_refused(context, run, keys, &mut result);
    let mut lanes = Lanes {
        waiting: keys.into(),
        in_flight: BTreeSet::new(),
    };
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < at_once && !run.is_drain_over() {
            let Some(key) = lanes.next() else { break };
            running.push(drain_lane(context, run, key).map(move |lane_result| (key, lane_result)));
        }
        let Some((key, lane_result)) = running.next().await else {
            break;
        };
        lanes.in_flight.remove(&key);
        let more = match lane_result {
            Ok(lane_result) => {
                let has_progress = lane_result.attempts > 0 && !run.is_drain_over();
                result = result.merge(&lane_result);
                if has_progress {
                    refill(context, run, &mut lanes, &mut result).await
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = more {
            run.halt();
            failed = Some(error);
        }
    }
    failed.map_or(Ok(result), Err)
}

/// Loads more lanes if none is waiting.
async fn refill(
    context: &Context,
    run: &SuperviseRun,
    lanes: &mut Lanes,
    result: &mut DrainResult,
) -> Result<(), Error> {
    let Some(room) = lanes.room() else {
        return Ok(());
    };
    let limit = room.saturating_add(context.refused.count(run.destination, Instant::now()));
    if let DestinationNeed::Drain { keys, .. } = context
        .store
        .destination_need(run.destination, limit)
        .await?
    {
        lanes.refill(without_refused(context, run, keys, result));
    }
    Ok(())
}

/// Returns the lanes that this process does not skip. For those that it skips, `result` gets the time until it no
/// longer does.
fn without_refused(
    context: &Context,
    run: &SuperviseRun,
    keys: Vec<CollapseKey>,
    result: &mut DrainResult,
) -> Vec<CollapseKey> {
    let now = Instant::now();
    let is_ready = |key: &CollapseKey| {
        let wait = context.refused.wait(run.destination, *key, now);
        result.due_in = sooner(result.due_in, wait);
        wait.is_none()
    };
    keys.into_iter().filter(is_ready).collect()
}

/// Attempts one lane until it is closed, fails or must wait.
async fn drain_lane(
    context: &Context,
    run: &SuperviseRun,
    key: CollapseKey,
) -> Result<DrainResult, Error> {
    let mut result = DrainResult::default();
    let (mut at_most, mut has_waited, mut leased) = (NO_LIMIT, false, None);
    while leased.is_some() || !run.is_drain_over() {
        let own = || {
            Turn::new(Lease {
                at_most,
                ..lease(key, run.destination, run.token(), Mode::Drain)
            })
        };
        let turn = leased.take().unwrap_or_else(own);
        let next = Next {
            token: run.token(),
            is_wanted: &|| !run.is_drain_over(),
        };
        let token = turn.lease.token.clone();
        let attempted = match attempt(context, turn, Some(next)).await {
            // The lane delays no other, and is not attempted again before its time.
            Err(error) if error.is_permanent() => {
                let wait = refused::set_back(context, run.destination, key, &token, &error).await;
                result.due_in = Some(wait);
                return Ok(result);
            }
            attempted => attempted?,
        };
        match attempted {
            AttemptResult::Completed(completed) => {
                result.attempts += 1;
                at_most = completed.at_most.unwrap_or(NO_LIMIT);
                leased = completed.next;
                match completed.lane {
                    LaneState::More
                        if completed.retry_reason.is_none() || completed.at_most.is_some() =>
                    {
                        continue;
                    }
                    LaneState::More | LaneState::Closed { .. } => {}
                    LaneState::Pending { .. } => run.hold_back(),
                    LaneState::Wait { wait } if completed.is_for_operators => {
                        result.due_in = Some(wait)
                    }
                    LaneState::Wait { .. } => hand_back(context, key).await,
                }
                return Ok(result);
            }
            AttemptResult::Idle(Idle::Pending { wait, .. }) if wait <= MAX_LIMIT_WAIT => {
                tokio::time::sleep(wait).await;
            }
            AttemptResult::Idle(Idle::Pending { wait, .. }) => {
                // The destination accepts no request for a while, because of its breaker, a pause, its rate or its
                // concurrency.
                run.hold_back();
                result.busy_for = Some(wait);
                return Ok(result);
            }
            AttemptResult::Idle(Idle::UserBusy { wait, .. }) if !has_waited => {
                has_waited = true;
                tokio::time::sleep(USER_BUSY_WAIT.min(wait)).await;
            }
            AttemptResult::Idle(
                Idle::Leased { wait } | Idle::UserBusy { wait, .. } | Idle::Wait { wait, .. },
            ) => {
                result.busy_for = Some(wait);
                return Ok(result);
            }
            AttemptResult::LeaseExpired => {
                result.due_in = Some(LEASE_RETRY);
                return Ok(result);
            }
            AttemptResult::Idle(Idle::Closed { .. }) => return Ok(result),
        }
    }
    Ok(result)
}

/// Hands a failed lane back to its purchase: signals the purchase's run, which then waits for the lane's next attempt.
/// If the signal fails, the sweep finds the lane.
async fn hand_back(context: &Context, key: CollapseKey) {
    fail::fail_point!("drain.before_hand_back", |_| std::process::abort());
    if let Err(error) = context.engine.signal(key, Signal::Wake).await {
        tracing::warn!(collapse_key = %key, error = %error, "a lane was not handed back; the sweep will find it");
    }
}
