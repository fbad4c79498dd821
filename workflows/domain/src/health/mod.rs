//! The health of a destination: when its breaker opens and closes, when it is paused, warned about and disabled, and when
//! its deliveries are due.
//!
//! The health follows from its requests, one after the other. `storage` counts them and stores the result; the
//! destination's kind decides what one response means.

#[cfg(test)]
mod tests;

use crate::ids::CollapseKey;
use crate::time::{HOUR, MINUTE, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::time::Duration;

/// Number of failures in a row, each of another purchase than the one before, that open the breaker.
pub const BREAKER_FAILURES: i64 = 10;
/// Time between two probes while the breaker is open.
pub const PROBE_EVERY: Duration = Duration::from_secs(30);
/// Minimum time between the first and the last failure of a destination that is disabled.
pub const APART: Duration = HOUR.saturating_mul(12);
/// A warning is sent when this percentage of the patience is over.
pub const WARNINGS_PERCENT: [u32; 3] = [50, 70, 90];
/// How often the success of a healthy destination is noted at most.
pub const SUCCESS_NOTED_EVERY: Duration = MINUTE;
/// Maximum pause of a destination.
pub const LONGEST_PAUSE: Duration = HOUR;
/// Maximum wait for a slot under a destination's rate.
pub const LATEST_START: Duration = Duration::from_secs(2);

/// The state of a destination, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its last request succeeded, or there was none.
    Healthy,
    /// Its last request failed.
    Failing,
    /// Its breaker is open: only probes are sent.
    Open,
    /// Nothing is sent.
    Disabled,
}

impl State {
    /// The name in storage and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Open => "open",
            Self::Disabled => "disabled",
        }
    }
}

/// A text that was expected to be the state of a destination and is not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the state of a destination")]
pub struct InvalidState(String);

impl FromStr for State {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        let all = [Self::Healthy, Self::Failing, Self::Open, Self::Disabled];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| InvalidState(text.to_owned()))
    }
}

/// The recorded health of a destination. What is serialized is what people see.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Health {
    /// Failures in a row, each of another purchase than the one before.
    pub failures: i64,
    /// What went wrong last, for people.
    pub last_error: Option<String>,
    /// The first failure since the last success.
    pub first_failure_at: Option<Timestamp>,
    /// The last failure.
    pub last_failure_at: Option<Timestamp>,
    /// The last success; of a healthy destination, up to a minute old.
    pub last_success_at: Option<Timestamp>,
    /// Since when the breaker is open.
    pub opened_at: Option<Timestamp>,
    /// When it was probed last.
    pub probed_at: Option<Timestamp>,
    /// When it recovered last.
    pub recovered_at: Option<Timestamp>,
    /// Until when its `Retry-After` pauses it.
    pub paused_until: Option<Timestamp>,
    /// The purchase that failed last, since the last success.
    #[serde(skip)]
    pub last_failed_key: Option<CollapseKey>,
    /// When a person requested an immediate retry of all pending deliveries.
    #[serde(skip)]
    pub retry_requested_at: Option<Timestamp>,
    /// When its settings or secrets were changed.
    #[serde(skip)]
    pub changed_at: Option<Timestamp>,
    /// Number of warnings since the last success.
    #[serde(skip)]
    pub warned: i64,
    /// Whether its trouble was announced to operators, and not its recovery yet.
    #[serde(skip)]
    pub is_announced: bool,
}

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its purchase.
    pub key: CollapseKey,
    /// What went wrong, for people.
    pub error: String,
    /// The pause that the destination requested.
    pub pause: Option<Duration>,
    /// How long the destination may fail before it is disabled.
    pub patience: Duration,
}

/// A `Retry-After` of the destination for one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    /// When it was received.
    pub received_at: Timestamp,
    /// Until when nothing is sent.
    pub until: Timestamp,
}

/// A notice to operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The breaker opened.
    Opened,
    /// A percentage of the patience is over.
    Warned {
        /// One of [`WARNINGS_PERCENT`].
        percent: u32,
    },
    /// The breaker closed.
    Recovered,
    /// The patience is over.
    Disabled,
}

/// The result of a request for its destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    /// The new health.
    pub health: Health,
    /// The new state.
    pub state: State,
    /// The notices to operators, in order.
    pub notices: Vec<Notice>,
}

/// Whether a request may be made at a destination's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It may be made soon.
    Free {
        /// How long until it may be made, at most [`LATEST_START`].
        wait: Duration,
        /// When the next one may be made.
        next_at: Timestamp,
    },
    /// Its slot is too late.
    Later {
        /// How long until another try makes sense, at least a millisecond.
        wait: Duration,
    },
}

impl Health {
    /// The health after a failed request.
    #[must_use]
    pub fn failed(&self, failure: Failure, now: Timestamp) -> Assessment {
        let (mut health, mut notices) = (self.clone(), Vec::new());
        let is_another = self.last_failed_key != Some(failure.key);
        health.failures = self.failures.saturating_add(i64::from(is_another));
        health.last_failed_key = Some(failure.key);
        health.last_error = Some(failure.error);
        health.first_failure_at = self.first_failure_at.or(Some(now));
        health.last_failure_at = Some(now);
        if let Some(pause) = failure.pause {
            let running = self.paused_until.filter(|_| self.paused_for(now).is_some());
            health.paused_until = running.max(Some(now.plus(pause.min(LONGEST_PAUSE))));
        }
        if health.opened_at.is_none() && health.failures >= BREAKER_FAILURES {
            health.opened_at = Some(now);
            notices.push(Notice::Opened);
        }
        if health.is_over(100, failure.patience, now) {
            notices.push(Notice::Disabled);
            health.is_announced = true;
            return Assessment { health, state: State::Disabled, notices };
        }
        let over = WARNINGS_PERCENT.into_iter().filter(|percent| health.is_over(*percent, failure.patience, now));
        if let Some((nth, percent)) = (1..).zip(over).last().filter(|(nth, _)| *nth > self.warned) {
            health.warned = nth;
            notices.push(Notice::Warned { percent });
        }
        health.is_announced |= !notices.is_empty();
        let state = if health.opened_at.is_some() { State::Open } else { State::Failing };
        Assessment { health, state, notices }
    }

    /// Whether this percentage is over both of the patience and of [`APART`]: one failure after a long silence is no
    /// reason to warn.
    fn is_over(&self, percent: u32, patience: Duration, now: Timestamp) -> bool {
        let is_over = |since: Option<Timestamp>, limit: Duration| {
            let passed = since.map_or(Duration::ZERO, |since| now.since(since));
            passed.saturating_mul(100) >= limit.saturating_mul(percent)
        };
        is_over(self.well_at(), patience) && is_over(self.first_failure_at, APART)
    }

    /// The health after a successful request that began at `began`; `None` when nothing changes. A request that began
    /// before the last failure neither ends a pause nor closes the breaker.
    #[must_use]
    pub fn succeeded(&self, began: Timestamp, now: Timestamp) -> Option<Assessment> {
        let is_closed = self.opened_at.is_some() || self.paused_until.is_some();
        if is_closed && self.last_failure_at.is_some_and(|failed_at| began <= failed_at) {
            return None;
        }
        if self.is_well() && self.last_success_at.is_some_and(|at| now < at.plus(SUCCESS_NOTED_EVERY)) {
            return None;
        }
        let health = Self {
            last_success_at: Some(now),
            // The end of a pause alone makes nothing due: a delivery that failed by itself keeps its own wait.
            recovered_at: if self.opened_at.is_some() { Some(now) } else { self.recovered_at },
            last_error: self.last_error.clone(),
            last_failure_at: self.last_failure_at,
            probed_at: self.probed_at,
            retry_requested_at: self.retry_requested_at,
            changed_at: self.changed_at,
            ..Self::default()
        };
        let notices = if self.is_announced { vec![Notice::Recovered] } else { Vec::new() };
        Some(Assessment { health, state: State::Healthy, notices })
    }

    /// The health after the destination refused all further requests.
    #[must_use]
    pub fn refused_all(&self) -> Assessment {
        let health = Self { is_announced: true, last_failed_key: None, ..self.clone() };
        Assessment { health, state: State::Disabled, notices: vec![Notice::Disabled] }
    }

    /// The health after a person enabled the destination: it starts anew, and all owed deliveries are due. If its trouble
    /// was announced, the first success is announced too.
    #[must_use]
    pub fn enabled(&self, now: Timestamp) -> Self {
        Self {
            recovered_at: Some(now),
            last_error: self.last_error.clone(),
            last_success_at: self.last_success_at,
            last_failure_at: self.last_failure_at,
            changed_at: self.changed_at,
            is_announced: self.is_announced,
            ..Self::default()
        }
    }

    /// Whether a request that was claimed at `began` does not count any more: the destination has recovered since, or has
    /// other settings.
    #[must_use]
    pub fn is_stale_request(&self, began: Timestamp) -> bool {
        self.recovered_at.max(self.changed_at).is_some_and(|since| began < since)
    }

    /// Since when all deliveries that were attempted before are due.
    #[must_use]
    pub fn due_since(&self) -> Option<Timestamp> {
        self.recovered_at.max(self.retry_requested_at)
    }

    /// Whether no failure, pause or announced trouble is recorded.
    const fn is_well(&self) -> bool {
        let has_failed = self.failures > 0 || self.first_failure_at.is_some() || self.is_announced;
        !has_failed && self.opened_at.is_none() && self.paused_until.is_none()
    }

    /// When it was last known to work: by a request, or because a person enabled it; the first failure for a destination
    /// that never answered.
    #[must_use]
    pub fn well_at(&self) -> Option<Timestamp> {
        self.last_success_at.max(self.recovered_at).or(self.first_failure_at)
    }

    /// How long its pause lasts; `None` when it is not paused.
    #[must_use]
    pub fn paused_for(&self, now: Timestamp) -> Option<Duration> {
        // A pause longer than the maximum comes from a clock that was set back.
        let left = wait_until(self.paused_until.filter(|until| *until > now)?, now);
        (left <= LONGEST_PAUSE).then_some(left)
    }

    /// How long until the next probe; `None` while the breaker is closed.
    #[must_use]
    pub fn probe_in(&self, now: Timestamp) -> Option<Duration> {
        let opened_at = self.opened_at?;
        // A clock that was set back must not keep it from being probed.
        let last = self.probed_at.map_or(opened_at, |probed_at| probed_at.max(opened_at)).min(now);
        let next = last.plus(PROBE_EVERY);
        Some(if next > now { wait_until(next, now) } else { Duration::ZERO })
    }

    /// For how long only probes may be sent; `None` when all requests may.
    #[must_use]
    pub fn closed_for(&self, now: Timestamp) -> Option<Duration> {
        let probe_in = self.probe_in(now).map(|wait| wait.max(SHORTEST_WAIT));
        self.paused_for(now).max(probe_in)
    }

    /// For how long a delivery that is due at `due_at` is owed by the destination as a whole, because nothing may be sent
    /// now; `None` when it has a wait of its own, as one that is due after the end of a pause.
    #[must_use]
    pub fn owed_for(&self, due_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let has_own_wait = self.opened_at.is_none() && self.paused_until.is_none_or(|until| due_at > until);
        if has_own_wait { None } else { self.closed_for(now) }
    }

    /// Whether a lane waits for a `Retry-After`. It ends at its time, and by a recovery of the destination.
    #[must_use]
    pub fn holds(&self, retry_after: RetryAfter, now: Timestamp) -> bool {
        retry_after.until > now && self.due_since().is_none_or(|since| retry_after.received_at >= since)
    }

    /// When a delivery with the next attempt at `next_due_at` is due: a delivery that was attempted before the destination
    /// recovered, or before a person requested a retry, is due since then.
    #[must_use]
    pub fn due_at(&self, next_due_at: Timestamp, tried_at: Option<Timestamp>) -> Timestamp {
        match (tried_at, self.due_since()) {
            (Some(tried_at), Some(since)) if tried_at < since => next_due_at.min(since),
            _ => next_due_at,
        }
    }
}

/// The slot of a request, when the next one is free at `next_at` and the rate is `per_second`.
#[must_use]
pub fn slot(next_at: Timestamp, per_second: i64, now: Timestamp) -> Slot {
    let step = Duration::from_secs(1) / u32::try_from(per_second.clamp(1, 1_000_000)).unwrap_or(1);
    // A slot further ahead comes from a clock that was set back.
    let turn = next_at.min(now.plus(LATEST_START).plus(step)).max(now);
    let wait = if turn > now { wait_until(turn, now) } else { Duration::ZERO };
    if wait > LATEST_START {
        return Slot::Later { wait: wait.saturating_sub(LATEST_START).max(SHORTEST_WAIT) };
    }
    Slot::Free { wait, next_at: turn.plus(step) }
}

/// The time until `then`, rounded up to a millisecond, at least one.
#[must_use]
pub fn wait_until(then: Timestamp, now: Timestamp) -> Duration {
    let micros = then.since(now).as_micros();
    Duration::from_millis(u64::try_from(micros.div_ceil(1000)).unwrap_or(u64::MAX)).max(SHORTEST_WAIT)
}

/// Nothing waits for a shorter time.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);
