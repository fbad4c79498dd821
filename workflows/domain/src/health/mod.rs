//! How a destination fares: when its breaker opens and closes, when it is left alone, warned about and disabled, and
//! when what it is owed is due.
//!
//! All of a destination is judged by its requests one after the other. Who counts them and keeps the result is
//! `storage`; what one reply means is the destination's kind.

#[cfg(test)]
mod tests;

use crate::time::Timestamp;
use std::str::FromStr;

/// So many failures in a row, each of another purchase than the one before, open the breaker.
pub const BREAKER_FAILURES: i64 = 10;
/// While the breaker is open one request is made in this time, in milliseconds.
pub const PROBE_EVERY_MS: i64 = 30_000;
/// A destination is disabled only if its first and its last failure are so far apart, in milliseconds.
pub const APART_MS: i64 = 12 * 3_600_000;
/// A warning is given when so many percent of the patience are over.
pub const WARNINGS_PERCENT: [i64; 3] = [50, 70, 90];
/// The success of a destination that is well is noted once in this time, in milliseconds.
pub const SUCCESS_NOTED_EVERY_MS: i64 = 60_000;
/// No destination is left alone for longer than this at a time, in milliseconds.
pub const LONGEST_PAUSE_MS: i64 = 3_600_000;
/// A request whose turn comes later than this, in milliseconds, is not waited for by the one who wants to make it.
pub const LATEST_START_MS: i64 = 2_000;

/// What people see of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its last request went well, or there was none.
    Healthy,
    /// Its last request did not.
    Failing,
    /// Its breaker is open: only probes are sent.
    Open,
    /// Nothing is sent.
    Disabled,
}

impl State {
    /// The word used in storage and the API.
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

    fn from_str(word: &str) -> Result<Self, InvalidState> {
        let all = [Self::Healthy, Self::Failing, Self::Open, Self::Disabled];
        all.into_iter().find(|state| state.as_str() == word).ok_or_else(|| InvalidState(word.to_owned()))
    }
}

/// What is remembered of a destination's requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    /// Failures in a row, each of another purchase than the one before.
    pub failures: i64,
    /// The first failure since the last success.
    pub first_failure_at: Option<Timestamp>,
    /// The last failure.
    pub last_failure_at: Option<Timestamp>,
    /// The last success; of a destination that is well, up to a minute old.
    pub last_success_at: Option<Timestamp>,
    /// Since when the breaker is open.
    pub opened_at: Option<Timestamp>,
    /// When it was probed last.
    pub probed_at: Option<Timestamp>,
    /// When the breaker closed for the last time, or a person enabled the destination.
    pub recovered_at: Option<Timestamp>,
    /// When a person made everything due that had been tried.
    pub retry_requested_at: Option<Timestamp>,
    /// When its settings or secrets were changed.
    pub changed_at: Option<Timestamp>,
    /// Until when it asked to be left alone. Kept until a request goes well.
    pub paused_until: Option<Timestamp>,
    /// How many warnings were given since the last success.
    pub warned: i64,
    /// Whether operators were told of its trouble, and not yet that it is over.
    pub is_told: bool,
}

/// A request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Whether it was of another purchase than the failure before.
    pub is_another: bool,
    /// For how long the destination wants to be left alone, in milliseconds.
    pub pause_ms: Option<i64>,
    /// After how long without success it is disabled, in milliseconds.
    pub patience_ms: i64,
}

/// Something that operators are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// The breaker opened.
    Opened,
    /// So many percent of the patience are over.
    Warned {
        /// One of [`WARNINGS_PERCENT`].
        percent: i64,
    },
    /// The breaker closed.
    Recovered,
    /// The patience is over.
    Disabled,
}

/// What follows from a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What is remembered from now on.
    pub health: Health,
    /// What people see.
    pub state: State,
    /// What operators are told, in this order.
    pub said: Vec<Said>,
}

/// Whether a request may be made at a destination's rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It may, a moment from now.
    Free {
        /// In so many milliseconds, at most [`LATEST_START_MS`].
        in_ms: i64,
        /// When the one after it may be made.
        next_at: Timestamp,
    },
    /// Its turn is too far away.
    Later {
        /// How soon asking again makes sense, in milliseconds, at least 1.
        ms: i64,
    },
}

impl Health {
    /// After a request that failed.
    #[must_use]
    pub fn failed(mut self, failure: Failure, now: Timestamp) -> Judged {
        let mut said = Vec::new();
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
            said.push(Said::Opened);
        }
        if self.is_over(100, failure.patience_ms, now) {
            said.push(Said::Disabled);
            self.is_told = true;
            return Judged { health: self, state: State::Disabled, said };
        }
        let over = WARNINGS_PERCENT.into_iter().filter(|percent| self.is_over(*percent, failure.patience_ms, now));
        if let Some((nth, percent)) = (1..).zip(over).last().filter(|(nth, _)| *nth > self.warned) {
            self.warned = nth;
            said.push(Said::Warned { percent });
        }
        self.is_told |= !said.is_empty();
        let state = if self.opened_at.is_some() { State::Open } else { State::Failing };
        Judged { health: self, state, said }
    }

    /// Whether so many percent are over both of the patience and of the time that failures must lie apart: one failure
    /// after a long silence is no reason to warn.
    fn is_over(&self, percent: i64, patience_ms: i64, now: Timestamp) -> bool {
        let since = |at: Option<Timestamp>| at.map_or(0, |at| now.millis_since(at));
        let is_over = |ms: i64, of_ms: i64| ms.saturating_mul(100) >= of_ms.saturating_mul(percent);
        is_over(since(self.well_at()), patience_ms) && is_over(since(self.first_failure_at), APART_MS)
    }

    /// After a request that went well and began at a time; `None` when there is nothing to note. One that began before
    /// the last failure proves nothing against it: it neither ends a pause nor closes the breaker.
    #[must_use]
    pub fn succeeded(mut self, began: Timestamp, now: Timestamp) -> Option<Judged> {
        let is_closed = self.opened_at.is_some() || self.paused_until.is_some();
        if is_closed && self.last_failure_at.is_some_and(|failed_at| began <= failed_at) {
            return None;
        }
        let was_noted = |at: Timestamp| now.millis_since(at) < SUCCESS_NOTED_EVERY_MS;
        if self.is_well() && self.last_success_at.is_some_and(was_noted) {
            return None;
        }
        let said = if self.is_told { vec![Said::Recovered] } else { Vec::new() };
        // A pause alone hastens nothing: what failed by itself keeps its own wait.
        if self.opened_at.is_some() {
            self.recovered_at = Some(now);
        }
        (self.failures, self.warned, self.is_told) = (0, 0, false);
        (self.first_failure_at, self.opened_at, self.paused_until) = (None, None, None);
        self.last_success_at = Some(now);
        Some(Judged { health: self, state: State::Healthy, said })
    }

    /// After a person enabled the destination: everything begins anew, and all that it is owed is due. Operators who were
    /// told of its trouble hear of the first success.
    #[must_use]
    pub fn enabled(self, now: Timestamp) -> Self {
        let Self { last_success_at, last_failure_at, changed_at, is_told, .. } = self;
        Self { last_success_at, last_failure_at, changed_at, is_told, recovered_at: Some(now), ..Self::default() }
    }

    /// Whether a request that was claimed at a time says nothing of the destination any more: it recovered since, or has
    /// other settings.
    #[must_use]
    pub fn is_of_before(&self, began: Timestamp) -> bool {
        self.recovered_at.max(self.changed_at).is_some_and(|since| began < since)
    }

    /// Since when everything is due that was tried before.
    #[must_use]
    pub fn due_since(&self) -> Option<Timestamp> {
        self.recovered_at.max(self.retry_requested_at)
    }

    /// Whether nothing stands against it.
    const fn is_well(&self) -> bool {
        let has_failed = self.failures > 0 || self.first_failure_at.is_some() || self.is_told;
        !has_failed && self.opened_at.is_none() && self.paused_until.is_none()
    }

    /// When it was last known to be well: by a request, or by a person's word. The first failure is the first that is
    /// known of a destination that never answered.
    #[must_use]
    pub fn well_at(&self) -> Option<Timestamp> {
        self.last_success_at.max(self.recovered_at).or(self.first_failure_at)
    }

    /// For how many milliseconds it asked to be left alone; `None` when it does not.
    #[must_use]
    pub fn paused_ms(&self, now: Timestamp) -> Option<i64> {
        // What would last longer than any pause is of a clock that was set back.
        let ms = millis_until(self.paused_until.filter(|until| *until > now)?, now);
        (ms <= LONGEST_PAUSE_MS).then_some(ms)
    }

    /// In how many milliseconds it is probed next; `None` while the breaker is closed.
    #[must_use]
    pub fn probe_in_ms(&self, now: Timestamp) -> Option<i64> {
        let opened_at = self.opened_at?;
        // A clock that was set back must not keep it from being probed.
        let last = self.probed_at.map_or(opened_at, |probed_at| probed_at.max(opened_at)).min(now);
        let next = last.plus_millis(PROBE_EVERY_MS);
        Some(if next > now { millis_until(next, now) } else { 0 })
    }

    /// Why nobody but a probe may send: in how many milliseconds it makes sense to ask again. `None` when they may.
    #[must_use]
    pub fn closed_ms(&self, now: Timestamp) -> Option<i64> {
        let probe_ms = self.probe_in_ms(now).map(|ms| ms.max(1));
        self.paused_ms(now).max(probe_ms)
    }

    /// Whether the destination as a whole owes what is due at a time, because nothing may be sent now: in how many
    /// milliseconds it makes sense to ask again. During a pause it owes what is due at its end: what waits longer has a
    /// wait of its own.
    #[must_use]
    pub fn owes_ms(&self, due_at: Timestamp, now: Timestamp) -> Option<i64> {
        let has_own_wait = self.opened_at.is_none() && self.paused_until.is_none_or(|until| due_at > until);
        if has_own_wait { None } else { self.closed_ms(now) }
    }

    /// Until when a lane is left alone, where that was asked at a time until another one; `None` when it need not be. What
    /// was asked before the destination recovered is over.
    #[must_use]
    pub fn retry_after_until(&self, (at, until): (Timestamp, Timestamp), now: Timestamp) -> Option<Timestamp> {
        let is_over = until <= now || self.due_since().is_some_and(|since| at < since);
        (!is_over).then_some(until)
    }

    /// When a delivery is due that was to be tried again at `next_due_at`: all that was tried before the destination
    /// recovered, or a person made it due, is due since then.
    #[must_use]
    pub fn due_at(&self, next_due_at: Timestamp, tried_at: Option<Timestamp>) -> Timestamp {
        match (tried_at, self.due_since()) {
            (Some(tried_at), Some(since)) if tried_at < since => next_due_at.min(since),
            _ => next_due_at,
        }
    }
}

/// The turn of a request, when the next one is free at `next_at` and there are so many in a second.
#[must_use]
pub fn slot(next_at: Timestamp, per_second: i64, now: Timestamp) -> Slot {
    let step_micros = 1_000_000_i64.checked_div(per_second.max(1)).unwrap_or(1_000_000).max(1);
    // No turn is given further ahead, unless the clock was set back since.
    let furthest = now.micros().saturating_add(LATEST_START_MS * 1000).saturating_add(step_micros);
    let turn = next_at.min(Timestamp::from_micros(furthest)).max(now);
    let in_ms = if turn > now { millis_until(turn, now) } else { 0 };
    if in_ms > LATEST_START_MS {
        return Slot::Later { ms: in_ms.saturating_sub(LATEST_START_MS).max(1) };
    }
    Slot::Free { in_ms, next_at: Timestamp::from_micros(turn.micros().saturating_add(step_micros)) }
}

/// Milliseconds until then, at least 1: rounded up, so that nobody comes back too early.
#[must_use]
pub fn millis_until(then: Timestamp, now: Timestamp) -> i64 {
    then.micros().saturating_sub(now.micros()).saturating_add(999).div_euclid(1000).max(1)
}
