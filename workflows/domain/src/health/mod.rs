//! The health of a destination: when its breaker opens and closes, when it is paused, warned about and disabled, and when
//! its deliveries are due.
//!
//! The health follows from its requests, one after the other. `storage` counts them and stores the result; the
//! destination's kind decides what one response means.

#[cfg(test)]
mod tests;

use crate::time::Timestamp;
use std::str::FromStr;

/// Number of failures in a row, each of another purchase than the one before, that open the breaker.
pub const BREAKER_FAILURES: i64 = 10;
/// Time between two probes while the breaker is open, in milliseconds.
pub const PROBE_EVERY_MS: i64 = 30_000;
/// Minimum time between the first and the last failure of a destination that is disabled, in milliseconds.
pub const APART_MS: i64 = 12 * 3_600_000;
/// A warning is sent when this percentage of the patience is over.
pub const WARNINGS_PERCENT: [i64; 3] = [50, 70, 90];
/// How often the success of a healthy destination is noted at most, in milliseconds.
pub const SUCCESS_NOTED_EVERY_MS: i64 = 60_000;
/// Maximum pause of a destination, in milliseconds.
pub const LONGEST_PAUSE_MS: i64 = 3_600_000;
/// Maximum wait for a slot under a destination's rate, in milliseconds.
pub const LATEST_START_MS: i64 = 2_000;

/// The state of a destination, as people see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// The recorded health of a destination.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures in a row, each of another purchase than the one before.
    pub failures: i64,
    /// The first failure since the last success.
    pub first_failure_at: Option<Timestamp>,
    /// The last failure.
    pub last_failure_at: Option<Timestamp>,
    /// The last success; up to a minute old for a healthy destination.
    pub last_success_at: Option<Timestamp>,
    /// Since when the breaker is open.
    pub opened_at: Option<Timestamp>,
    /// When it was probed last.
    pub probed_at: Option<Timestamp>,
    /// When the breaker closed for the last time, or a person enabled the destination.
    pub recovered_at: Option<Timestamp>,
    /// When a person requested an immediate retry of all pending deliveries.
    pub retry_requested_at: Option<Timestamp>,
    /// When its settings or secrets were changed.
    pub changed_at: Option<Timestamp>,
    /// The end of the pause that it requested. Stays until a request succeeds.
    pub paused_until: Option<Timestamp>,
    /// Number of warnings since the last success.
    pub warned: i64,
    /// Whether its trouble was announced to operators, and not its recovery yet.
    pub is_announced: bool,
}

/// A request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Whether its purchase differs from that of the failure before.
    pub is_another: bool,
    /// The pause that the destination requested, in milliseconds.
    pub pause_ms: Option<i64>,
    /// How long the destination may fail before it is disabled, in milliseconds.
    pub patience_ms: i64,
}

/// A notice to operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The breaker opened.
    Opened,
    /// A percentage of the patience is over.
    Warned {
        /// One of [`WARNINGS_PERCENT`].
        percent: i64,
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
        /// Milliseconds until it may be made, at most [`LATEST_START_MS`].
        in_ms: i64,
        /// When the next one may be made.
        next_at: Timestamp,
    },
    /// Its slot is too late.
    Later {
        /// Milliseconds until another try makes sense, at least 1.
        ms: i64,
    },
}

impl Health {
    /// The health after a failed request.
    #[must_use]
    pub fn failed(mut self, failure: Failure, now: Timestamp) -> Assessment {
        let mut notices = Vec::new();
        self.failures = self.failures.saturating_add(i64::from(failure.is_another));
        self.first_failure_at = self.first_failure_at.or(Some(now));
        self.last_failure_at = Some(now);
        if let Some(ms) = failure.pause_ms {
            let until = now.plus_millis(ms.clamp(0, LONGEST_PAUSE_MS));
            let running = self.paused_until.filter(|_| self.paused_ms(now).is_some());
            self.paused_until = running.max(Some(until));
        }
        if self.opened_at.is_none() && self.failures >= BREAKER_FAILURES {
            self.opened_at = Some(now);
            notices.push(Notice::Opened);
        }
        if self.is_over(100, failure.patience_ms, now) {
            notices.push(Notice::Disabled);
            self.is_announced = true;
            return Assessment { health: self, state: State::Disabled, notices };
        }
        let over = WARNINGS_PERCENT.into_iter().filter(|percent| self.is_over(*percent, failure.patience_ms, now));
        if let Some((nth, percent)) = (1..).zip(over).last().filter(|(nth, _)| *nth > self.warned) {
            self.warned = nth;
            notices.push(Notice::Warned { percent });
        }
        self.is_announced |= !notices.is_empty();
        let state = if self.opened_at.is_some() { State::Open } else { State::Failing };
        Assessment { health: self, state, notices }
    }

    /// Whether this percentage is over both of the patience and of [`APART_MS`]: one failure after a long silence is no
    /// reason to warn.
    fn is_over(&self, percent: i64, patience_ms: i64, now: Timestamp) -> bool {
        let since = |at: Option<Timestamp>| at.map_or(0, |at| now.millis_since(at));
        let is_over = |ms: i64, of_ms: i64| ms.saturating_mul(100) >= of_ms.saturating_mul(percent);
        is_over(since(self.well_at()), patience_ms) && is_over(since(self.first_failure_at), APART_MS)
    }

    /// The health after a successful request that began at `began`; `None` when nothing changes. A request that began
    /// before the last failure neither ends a pause nor closes the breaker.
    #[must_use]
    pub fn succeeded(mut self, began: Timestamp, now: Timestamp) -> Option<Assessment> {
        let is_closed = self.opened_at.is_some() || self.paused_until.is_some();
        if is_closed && self.last_failure_at.is_some_and(|failed_at| began <= failed_at) {
            return None;
        }
        let was_noted = |at: Timestamp| now.millis_since(at) < SUCCESS_NOTED_EVERY_MS;
        if self.is_well() && self.last_success_at.is_some_and(was_noted) {
            return None;
        }
        let notices = if self.is_announced { vec![Notice::Recovered] } else { Vec::new() };
        // The end of a pause alone makes nothing due: a delivery that failed by itself keeps its own wait.
        if self.opened_at.is_some() {
            self.recovered_at = Some(now);
        }
        (self.failures, self.warned, self.is_announced) = (0, 0, false);
        (self.first_failure_at, self.opened_at, self.paused_until) = (None, None, None);
        self.last_success_at = Some(now);
        Some(Assessment { health: self, state: State::Healthy, notices })
    }

    /// The health after a person enabled the destination: it starts anew, and all owed deliveries are due. If its trouble
    /// was announced, the first success is announced too.
    #[must_use]
    pub fn enabled(self, now: Timestamp) -> Self {
        let Self { last_success_at, last_failure_at, changed_at, is_announced, .. } = self;
        Self { last_success_at, last_failure_at, changed_at, is_announced, recovered_at: Some(now), ..Self::default() }
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

    /// Milliseconds until the end of its pause; `None` when it is not paused.
    #[must_use]
    pub fn paused_ms(&self, now: Timestamp) -> Option<i64> {
        // A pause longer than the maximum comes from a clock that was set back.
        let ms = millis_until(self.paused_until.filter(|until| *until > now)?, now);
        (ms <= LONGEST_PAUSE_MS).then_some(ms)
    }

    /// Milliseconds until the next probe; `None` while the breaker is closed.
    #[must_use]
    pub fn probe_in_ms(&self, now: Timestamp) -> Option<i64> {
        let opened_at = self.opened_at?;
        // A clock that was set back must not keep it from being probed.
        let last = self.probed_at.map_or(opened_at, |probed_at| probed_at.max(opened_at)).min(now);
        let next = last.plus_millis(PROBE_EVERY_MS);
        Some(if next > now { millis_until(next, now) } else { 0 })
    }

    /// Milliseconds for which only probes may be sent; `None` when all requests may.
    #[must_use]
    pub fn closed_ms(&self, now: Timestamp) -> Option<i64> {
        let probe_ms = self.probe_in_ms(now).map(|ms| ms.max(1));
        self.paused_ms(now).max(probe_ms)
    }

    /// Milliseconds for which a delivery that is due at `due_at` is owed by the destination as a whole, because nothing may
    /// be sent now; `None` when it has a wait of its own, as one that is due after the end of a pause.
    #[must_use]
    pub fn owes_ms(&self, due_at: Timestamp, now: Timestamp) -> Option<i64> {
        let has_own_wait = self.opened_at.is_none() && self.paused_until.is_none_or(|until| due_at > until);
        if has_own_wait { None } else { self.closed_ms(now) }
    }

    /// Until when a lane waits for a Retry-After that was received at `at` and lasts to `until`; `None` when it is over. A
    /// recovery of the destination ends it too.
    #[must_use]
    pub fn retry_after_until(&self, (at, until): (Timestamp, Timestamp), now: Timestamp) -> Option<Timestamp> {
        let is_over = until <= now || self.due_since().is_some_and(|since| at < since);
        (!is_over).then_some(until)
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
    let step_micros = 1_000_000_i64.checked_div(per_second.max(1)).unwrap_or(1_000_000).max(1);
    // A slot further ahead comes from a clock that was set back.
    let furthest = now.micros().saturating_add(LATEST_START_MS * 1000).saturating_add(step_micros);
    let turn = next_at.min(Timestamp::from_micros(furthest)).max(now);
    let in_ms = if turn > now { millis_until(turn, now) } else { 0 };
    if in_ms > LATEST_START_MS {
        return Slot::Later { ms: in_ms.saturating_sub(LATEST_START_MS).max(1) };
    }
    Slot::Free { in_ms, next_at: Timestamp::from_micros(turn.micros().saturating_add(step_micros)) }
}

/// Milliseconds until `then`, rounded up, at least 1.
#[must_use]
pub fn millis_until(then: Timestamp, now: Timestamp) -> i64 {
    then.micros().saturating_sub(now.micros()).saturating_add(999).div_euclid(1000).max(1)
}
