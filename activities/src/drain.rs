//! Delivers what is owed to one destination: some lanes at a time, a bounded number of them at once.
//!
//! A lane that fails is handed back to its purchase, whose run retries it where people can see that.

use crate::Doing;
use crate::attempt::{Attempted, LATE_MS, MOST, Made, Turn, attempt};
use crate::tend::Round;
use domain::{CollapseKey, DestinationId};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use storage::{DestinationNeed, Error, LaneState, Mode};
use workflows::signal::Signal;

/// Who has to wait longer for the destination's limits leaves it to the next look what follows.
const PATIENCE_MS: i64 = 5_000;
/// So many lanes are in memory at most, waiting and under way.
pub const AT_A_TIME: i64 = 200;

/// So long a lane waits, once, for another purchase of its user before it gives its place to the next one: the lanes of
/// one user are not claimed in vain by the hundred while one request is in flight.
const USER_BUSY: Duration = Duration::from_millis(100);

/// What came of a drain.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many attempts were made.
    pub attempts: u64,
    /// In how many milliseconds a lane can be had that could not be now.
    pub busy_ms: Option<i64>,
    /// In how many milliseconds a lane is due that is no purchase's.
    pub due_ms: Option<i64>,
}

impl Drained {
    /// This and what came of another one.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            attempts: self.attempts.saturating_add(other.attempts),
            busy_ms: sooner(self.busy_ms, other.busy_ms),
            due_ms: sooner(self.due_ms, other.due_ms),
        }
    }
}

/// The sooner of two times, where there is one.
pub fn sooner(one: Option<i64>, other: Option<i64>) -> Option<i64> {
    one.into_iter().chain(other).min()
}

/// The lanes that are still to be attempted, and those that are.
struct Lanes {
    waiting: VecDeque<CollapseKey>,
    under_way: BTreeSet<CollapseKey>,
}

impl Lanes {
    /// The next one, which is under way from now on.
    fn next(&mut self) -> Option<CollapseKey> {
        let key = self.waiting.pop_front()?;
        self.under_way.insert(key);
        Some(key)
    }

    /// How many more may be held when one has ended and no other waits.
    fn room(&self) -> Option<i64> {
        let room = AT_A_TIME.saturating_sub(i64::try_from(self.under_way.len()).unwrap_or(i64::MAX));
        (self.waiting.is_empty() && room > 0).then_some(room)
    }

    fn refill(&mut self, keys: Vec<CollapseKey>) {
        self.waiting.extend(keys.into_iter().filter(|key| !self.under_way.contains(key)));
    }
}

/// Attempts each lane until it is closed, fails or has to wait, or until the round is over; then what is in flight
/// ends. A lane that takes long holds up no other: as long as there is progress, more are taken from storage.
pub async fn drain(
    doing: &Doing,
    round: &Round,
    destination: DestinationId,
    (keys, concurrency): (Vec<CollapseKey>, i64),
) -> Result<Drained, Error> {
    let at_once = usize::try_from(concurrency.clamp(1, AT_A_TIME)).unwrap_or(1);
    let mut lanes = Lanes { waiting: keys.into(), under_way: BTreeSet::new() };
    let mut in_flight = FuturesUnordered::new();
    let (mut drained, mut failed) = (Drained::default(), None);
    loop {
        while in_flight.len() < at_once && !round.is_over() {
            let Some(key) = lanes.next() else { break };
            in_flight.push(lane(doing, round, (key, destination)).map(move |ended| (key, ended)));
        }
        let Some((key, ended)) = in_flight.next().await else { break };
        lanes.under_way.remove(&key);
        let more = match ended {
            Ok(ended) => {
                let has_progress = ended.attempts > 0 && !round.is_over();
                drained = drained.and(&ended);
                if has_progress { refill(doing, destination, &mut lanes).await } else { Ok(()) }
            }
            Err(error) => Err(error),
        };
        if let Err(error) = more {
            round.halt();
            failed = Some(error);
        }
    }
    failed.map_or(Ok(drained), Err)
}

async fn refill(doing: &Doing, destination: DestinationId, lanes: &mut Lanes) -> Result<(), Error> {
    let Some(room) = lanes.room() else { return Ok(()) };
    if let DestinationNeed::Drain { keys, .. } = doing.store.destination_need(destination, room).await? {
        lanes.refill(keys);
    }
    Ok(())
}

async fn lane(
    doing: &Doing,
    round: &Round,
    (key, destination): (CollapseKey, DestinationId),
) -> Result<Drained, Error> {
    let mut drained = Drained::default();
    let (mut at_most, mut has_waited) = (MOST, false);
    while !round.is_over() {
        let turn = Turn { key, destination, token: round.token(), mode: Mode::Drain, at_most };
        match attempt(doing, &turn).await? {
            Attempted::Made(made) => {
                drained.attempts += 1;
                at_most = made.at_most.unwrap_or(MOST);
                if !goes_on(doing, round, key, (&made, &mut drained)).await {
                    return Ok(drained);
                }
            }
            Attempted::Owed { ms, .. } if ms <= PATIENCE_MS => {
                tokio::time::sleep(Duration::from_millis(u64::try_from(ms).unwrap_or(0))).await;
            }
            Attempted::Owed { ms, .. } => {
                // Its breaker opened or it asked for a pause: then that holds for all lanes.
                round.hold_back();
                drained.busy_ms = Some(ms);
                return Ok(drained);
            }
            Attempted::UserBusy { ms, .. } if !has_waited => {
                has_waited = true;
                tokio::time::sleep(USER_BUSY.min(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))).await;
            }
            Attempted::Leased { ms } | Attempted::UserBusy { ms, .. } | Attempted::Wait { ms, .. } => {
                drained.busy_ms = Some(ms);
                return Ok(drained);
            }
            Attempted::Late => {
                drained.due_ms = Some(LATE_MS);
                return Ok(drained);
            }
            Attempted::Closed { .. } => return Ok(drained),
        }
    }
    Ok(drained)
}

/// Whether the lane is attempted again at once.
async fn goes_on(doing: &Doing, round: &Round, key: CollapseKey, (made, drained): (&Made, &mut Drained)) -> bool {
    match made.finished {
        LaneState::More => made.again.is_none() || made.at_most.is_some(),
        LaneState::Closed { .. } => false,
        LaneState::Owed { .. } => {
            round.hold_back();
            false
        }
        LaneState::Wait { ms } if made.is_for_operators => {
            drained.due_ms = Some(ms);
            false
        }
        LaneState::Wait { .. } => {
            hand_back(doing, key).await;
            false
        }
    }
}

/// The purchase's run waits for the lane's next attempt. Where it cannot be told, the sweep finds the lane.
async fn hand_back(doing: &Doing, key: CollapseKey) {
    fail::fail_point!("drain.before_hand_back", |_| std::process::abort());
    if let Err(error) = doing.engine.signal(key, Signal::Wake).await {
        tracing::warn!(collapse_key = %key, error = %error, "a lane was not handed back; the sweep comes back to it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lane_is_taken_twice_and_no_more_than_may_be_held() {
        let key = |number: u8| CollapseKey::new(uuid::Uuid::from_bytes([number; 16]));
        let mut lanes = Lanes { waiting: [key(1), key(2)].into(), under_way: BTreeSet::new() };
        assert_eq!((lanes.next(), lanes.room()), (Some(key(1)), None), "one waits");
        assert_eq!((lanes.next(), lanes.room()), (Some(key(2)), Some(AT_A_TIME - 2)));
        lanes.refill(vec![key(2), key(3)]);
        assert_eq!((lanes.next(), lanes.next()), (Some(key(3)), None));
        lanes.under_way.extend((0..200).map(key));
        assert_eq!(lanes.room(), None);
    }

    #[test]
    fn drains_add_up_to_what_is_soonest() {
        let one = Drained { attempts: 2, busy_ms: Some(5), due_ms: None };
        let other = Drained { attempts: 1, busy_ms: Some(3), due_ms: Some(9) };
        assert_eq!(one.and(&other), Drained { attempts: 3, busy_ms: Some(3), due_ms: Some(9) });
        assert_eq!(sooner(None, None), None);
    }
}
