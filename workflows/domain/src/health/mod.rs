//! The health of a destination: when its breaker opens and closes, when it is paused, when operators are warned, when
//! it is disabled, and when its deliveries are due.
//!
//! After a period without a success that depends on the kind (`disable_after`), a failed request disables the
//! destination, provided that the first failure since the last success is at least [`MIN_FAILURE_SPAN`] old. A response
//! that permanently refuses everything, such as an unknown key, disables it immediately.
//!
//! Each result of a request updates the health. `storage` stores it; the destination's kind interprets the response.
//! Decisions use [`Health::as_of`] the current time, which drops times that became meaningless when the clock was set
//! back.

mod subject;
#[cfg(test)]
mod tests;

pub use subject::{InvalidSubject, Subject};

use crate::time::{HOUR, MINUTE, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::str::FromStr;
use std::time::Duration;

/// Number of consecutive failures that open the breaker. A failure about the same purchase or device as the previous
/// one is not counted.
pub const BREAKER_FAILURES: i64 = 10;
/// Time between two probes while the breaker is open.
pub const PROBE_EVERY: Duration = Duration::from_secs(30);
/// Minimum time from the first failure since the last success to the failure that disables the destination.
pub const MIN_FAILURE_SPAN: Duration = HOUR.saturating_mul(12);
/// Percentages of `disable_after` at which operators are warned.
pub const WARNINGS_PERCENT: [u32; 3] = [50, 70, 90];
/// How long a destination may fail before an alarm is raised.
pub const ALARM_AFTER: Duration = MINUTE.saturating_mul(5);
/// Minimum time between two recorded successes of a healthy destination, so that not every request writes its row.
pub const SUCCESS_NOTED_EVERY: Duration = MINUTE;
/// Maximum pause of a destination that its `Retry-After` can request.
pub const LONGEST_PAUSE: Duration = HOUR;
/// Maximum wait for a slot under a destination's rate limit.
pub const LATEST_START: Duration = Duration::from_secs(2);

/// The state of a destination, as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The last request succeeded, or there was none.
    Healthy,
    /// A request has failed since the last success.
    Failing,
    /// The circuit breaker is open: only probes are sent.
    Open,
    Disabled,
}

impl State {
    pub const ALL: &[Self] = &[Self::Healthy, Self::Failing, Self::Open, Self::Disabled];

    /// Returns the name in storage and the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Failing => "failing",
            Self::Open => "open",
            Self::Disabled => "disabled",
        }
    }
}

/// A text that is not the name of a destination's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the state of a destination")]
pub struct InvalidState(String);

impl FromStr for State {
    type Err = InvalidState;

    fn from_str(text: &str) -> Result<Self, InvalidState> {
        let named = Self::ALL.iter().find(|state| state.as_str() == text);
        named.copied().ok_or_else(|| InvalidState(text.to_owned()))
    }
}

/// The recorded health of a destination. The API shows the serialized fields.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Number of consecutive failures; consecutive failures of the same purchase or device count once.
    pub failures: i64,
    /// Last error, for people.
    pub last_error: Option<String>,
    /// When the first request failed since the last success.
    pub first_failure_at: Option<Timestamp>,
    /// When a request last failed.
    pub last_failure_at: Option<Timestamp>,
    /// When a request last succeeded. While the destination is healthy, accurate to a minute.
    pub last_success_at: Option<Timestamp>,
    /// When the circuit breaker opened; null while it is closed.
    pub opened_at: Option<Timestamp>,
    /// When the last probe was sent.
    pub probed_at: Option<Timestamp>,
    /// When the circuit breaker last closed, or a person enabled the destination.
    pub recovered_at: Option<Timestamp>,
    /// When the pause set by the destination's `Retry-After` ends; null without a pause.
    pub paused_until: Option<Timestamp>,
    /// Subject of the last failed request since the last success.
    #[serde(skip)]
    pub last_failed_subject: Option<Subject>,
    /// When a person last requested an immediate retry of all pending deliveries.
    #[serde(skip)]
    pub retry_requested_at: Option<Timestamp>,
    /// When the destination's settings or secret were last changed.
    #[serde(skip)]
    pub changed_at: Option<Timestamp>,
    /// Number of warnings since the last success.
    #[serde(skip)]
    pub warned: i64,
    /// Whether operators were notified that the destination fails, but not yet that it recovered.
    #[serde(skip)]
    pub is_announced: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub subject: Subject,
    pub error: String,
    /// The pause that the destination requested.
    pub pause: Option<Duration>,
    /// How long the destination may go without a success before it is disabled.
    pub disable_after: Duration,
}

/// A `Retry-After` of the destination for one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    pub received_at: Timestamp,
    /// The time before which nothing is sent to the lane.
    pub until: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    Opened,
    /// A percentage of `disable_after` has passed.
    Warned {
        /// One of [`WARNINGS_PERCENT`].
        percent: u32,
    },
    /// The destination works again after announced trouble.
    Recovered,
    Disabled,
}

/// The new health of a destination after a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assessment {
    pub health: Health,
    pub state: State,
    /// The notices to operators, in order.
    pub notices: Vec<Notice>,
    /// Whether the alarm for a failing destination is raised: with each notice that it fails, and once if it still
    /// fails after [`ALARM_AFTER`].
    pub raises_alarm: bool,
}

/// When a request may be made under a destination's rate limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    Free {
        /// How long to wait for the slot, at most [`LATEST_START`].
        wait: Duration,
        /// When the next request may be made.
        next_at: Timestamp,
    },
    /// The next free slot is further ahead than [`LATEST_START`].
    Later {
        /// How long to wait before asking for a slot again, at least a millisecond.
        wait: Duration,
    },
}

impl Health {
    /// Returns the health without times further ahead of `now` than was possible when they were stored, because the
    /// clock has been set back since. If such a time opened the breaker, a probe is due at once.
    #[must_use]
    pub fn as_of(&self, now: Timestamp) -> Self {
        let past = |at: Option<Timestamp>| at.and_then(|at| at.unless_ahead(Duration::ZERO, now));
        let opened_at = self.opened_at.map(|at| {
            at.unless_ahead(Duration::ZERO, now)
                .unwrap_or(now.minus(PROBE_EVERY))
        });
        Self {
            first_failure_at: past(self.first_failure_at),
            last_failure_at: past(self.last_failure_at),
            last_success_at: past(self.last_success_at),
            opened_at,
            probed_at: past(self.probed_at),
            recovered_at: past(self.recovered_at),
            paused_until: self
                .paused_until
                .and_then(|until| until.unless_ahead(LONGEST_PAUSE, now)),
            retry_requested_at: past(self.retry_requested_at),
            changed_at: past(self.changed_at),
            ..self.clone()
        }
    }

    /// Returns the health after a failed request.
    pub fn failed(&self, failure: Failure, now: Timestamp) -> Assessment {
        let (mut health, mut notices) = (self.clone(), Vec::new());
        let is_another = self.last_failed_subject != Some(failure.subject);
        health.failures = self.failures.saturating_add(i64::from(is_another));
        health.last_failed_subject = Some(failure.subject);
        health.last_error = Some(failure.error);
        health.first_failure_at = self.first_failure_at.or(Some(now));
        health.last_failure_at = Some(now);
        if let Some(pause) = failure.pause {
            health.paused_until = self
                .paused_until
                .max(Some(now.plus(pause.min(LONGEST_PAUSE))));
        }
        if health.opened_at.is_none() && health.failures >= BREAKER_FAILURES {
            health.opened_at = Some(now);
            notices.push(Notice::Opened);
        }
        if health.has_failed_for(100, failure.disable_after, now) {
            notices.push(Notice::Disabled);
            health.is_announced = true;
            return Assessment {
                health,
                state: State::Disabled,
                notices,
                raises_alarm: false,
            };
        }
        let disable_after = failure.disable_after;
        let passed = WARNINGS_PERCENT
            .into_iter()
            .filter(|percent| health.has_failed_for(*percent, disable_after, now));
        if let Some((nth, percent)) = (1..)
            .zip(passed)
            .last()
            .filter(|(nth, _)| *nth > self.warned)
        {
            health.warned = nth;
            notices.push(Notice::Warned { percent });
        }
        health.is_announced |= !notices.is_empty();
        let state = if health.opened_at.is_some() {
            State::Open
        } else {
            State::Failing
        };
        let raises_alarm =
            !notices.is_empty() || (self.opened_at.is_none() && self.begins_to_last(now));
        Assessment {
            health,
            state,
            notices,
            raises_alarm,
        }
    }

    /// Whether a failure at `now` is the first one at least [`ALARM_AFTER`] after the first failure since the last
    /// success.
    fn begins_to_last(&self, now: Timestamp) -> bool {
        let lasted = |until: Timestamp| {
            self.first_failure_at
                .is_some_and(|first| until.since(first) >= ALARM_AFTER)
        };
        lasted(now) && !self.last_failure_at.is_some_and(lasted)
    }

    /// Whether this percentage of `disable_after` has passed since the destination last worked, and this percentage of
    /// [`MIN_FAILURE_SPAN`] since the first failure: a single failure after a long time without requests is no reason
    /// to warn.
    fn has_failed_for(&self, percent: u32, disable_after: Duration, now: Timestamp) -> bool {
        let has_passed = |since: Option<Timestamp>, limit: Duration| {
            let passed = since.map_or(Duration::ZERO, |since| now.since(since));
            passed.saturating_mul(100) >= limit.saturating_mul(percent)
        };
        has_passed(self.well_at(), disable_after)
            && has_passed(self.first_failure_at, MIN_FAILURE_SPAN)
    }

    /// Returns the health after a successful request that began at `began`, or at `now` for a probe; `None` if nothing
    /// changes. While the breaker is open or the destination is paused, the success of a request that began before the
    /// last failure changes nothing.
    pub fn succeeded(&self, began: Timestamp, now: Timestamp) -> Option<Assessment> {
        let is_blocked = self.opened_at.is_some() || self.paused_until.is_some();
        if is_blocked
            && began < now
            && self
                .last_failure_at
                .is_some_and(|failed_at| began <= failed_at)
        {
            return None;
        }
        if self.is_well()
            && self
                .last_success_at
                .is_some_and(|at| now < at.plus(SUCCESS_NOTED_EVERY))
        {
            return None;
        }
        let health = Self {
            last_success_at: Some(now),
            // The end of a pause makes no delivery due early: a failed delivery keeps its own back-off.
            recovered_at: if self.opened_at.is_some() {
                Some(now)
            } else {
                self.recovered_at
            },
            last_error: self.last_error.clone(),
            last_failure_at: self.last_failure_at,
            probed_at: self.probed_at,
            retry_requested_at: self.retry_requested_at,
            changed_at: self.changed_at,
            ..Self::default()
        };
        let notices = if self.is_announced {
            vec![Notice::Recovered]
        } else {
            Vec::new()
        };
        Some(Assessment {
            health,
            state: State::Healthy,
            notices,
            raises_alarm: false,
        })
    }

    /// Returns the health after the destination refused all further requests, as with a 410: it is disabled at once.
    pub fn refused_all(&self) -> Assessment {
        let health = Self {
            is_announced: true,
            last_failed_subject: None,
            ..self.clone()
        };
        Assessment {
            health,
            state: State::Disabled,
            notices: vec![Notice::Disabled],
            raises_alarm: false,
        }
    }

    /// Returns the health after a person enabled the destination: failures are cleared, and all pending deliveries are
    /// due. If operators were notified of its failure, its first success is announced as the recovery.
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

    /// Whether the failure of a request whose lease began at `began` no longer counts, because the destination
    /// recovered or its settings changed afterwards.
    pub fn is_stale_request(&self, began: Timestamp) -> bool {
        self.recovered_at
            .max(self.changed_at)
            .is_some_and(|since| began < since)
    }

    /// Returns the time of the last recovery or of the last retry by a person. A delivery that was last attempted
    /// before this time is due regardless of its back-off.
    pub fn due_since(&self) -> Option<Timestamp> {
        self.recovered_at.max(self.retry_requested_at)
    }

    /// Whether no failure, pause or announced trouble is recorded.
    const fn is_well(&self) -> bool {
        let has_failed = self.failures > 0 || self.first_failure_at.is_some() || self.is_announced;
        !has_failed && self.opened_at.is_none() && self.paused_until.is_none()
    }

    /// Returns when the destination last worked: the last success, recovery or enabling, else the first failure.
    pub fn well_at(&self) -> Option<Timestamp> {
        self.last_success_at
            .max(self.recovered_at)
            .or(self.first_failure_at)
    }

    /// Returns how long the destination remains paused; `None` if it is not paused.
    pub fn paused_for(&self, now: Timestamp) -> Option<Duration> {
        self.paused_until
            .filter(|until| *until > now)
            .map(|until| wait_until(until, now))
    }

    /// Returns how long until the next probe; `None` while the breaker is closed.
    pub fn probe_in(&self, now: Timestamp) -> Option<Duration> {
        let opened_at = self.opened_at?;
        let next = self
            .probed_at
            .map_or(opened_at, |probed_at| probed_at.max(opened_at))
            .plus(PROBE_EVERY);
        Some(if next > now {
            wait_until(next, now)
        } else {
            Duration::ZERO
        })
    }

    /// Returns how long no request may be sent: the remaining pause or the time until the next probe, whichever is
    /// longer. `None` if requests may be sent.
    pub fn blocked_for(&self, now: Timestamp) -> Option<Duration> {
        let probe_in = self.probe_in(now).map(|wait| wait.max(SHORTEST_WAIT));
        self.paused_for(now).max(probe_in)
    }

    /// Returns how long the open breaker or the pause of the destination holds up a delivery that is due at `due_at`.
    /// `None` if requests may be sent, or if the destination is only paused and the delivery is not due yet: the end of
    /// a pause makes nothing due early, so nothing would wake a delivery that had been left to the destination's run.
    pub fn pending_for(&self, due_at: Timestamp, now: Timestamp) -> Option<Duration> {
        let has_own_wait = self.opened_at.is_none() && due_at > now;
        if has_own_wait {
            None
        } else {
            self.blocked_for(now)
        }
    }

    /// Whether a lane still waits for a `Retry-After`. The wait ends at the requested time, at a recovery of the
    /// destination, or at a retry by a person. A `Retry-After` that was received before the clock was set back no
    /// longer counts.
    pub fn holds(&self, retry_after: RetryAfter, now: Timestamp) -> bool {
        let received_at = retry_after.received_at.unless_ahead(Duration::ZERO, now);
        let holds = |received_at| self.due_since().is_none_or(|since| received_at >= since);
        retry_after.until > now && received_at.is_some_and(holds)
    }

    /// Returns when a delivery is due. `next_due_at` is the time by its back-off. A delivery last attempted before
    /// [`Self::due_since`] is due since then. One that was stored or attempted before the clock was set back is due
    /// now.
    pub fn due_at(
        &self,
        next_due_at: Timestamp,
        tried_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Timestamp {
        // Until its first attempt, a delivery is due from the time it was stored.
        if tried_at
            .unwrap_or(next_due_at)
            .unless_ahead(Duration::ZERO, now)
            .is_none()
        {
            return now;
        }
        match (tried_at, self.due_since()) {
            (Some(tried_at), Some(since)) if tried_at < since => next_due_at.min(since),
            _ => next_due_at,
        }
    }
}

/// Returns the next slot for a request, at a rate of `per_second`. `next_at` is when the next slot is free.
#[must_use]
pub fn slot(next_at: Timestamp, per_second: i64, now: Timestamp) -> Slot {
    let step = Duration::from_secs(1) / u32::try_from(per_second.clamp(1, 1_000_000)).unwrap_or(1);
    let furthest = LATEST_START.saturating_add(step);
    let next_at = next_at.unless_ahead(furthest, now).unwrap_or(now);
    // A transaction that waited for another one sees a later slot.
    let turn = next_at.clamp(now, now.plus(furthest));
    let wait = if turn > now {
        wait_until(turn, now)
    } else {
        Duration::ZERO
    };
    if wait > LATEST_START {
        return Slot::Later {
            wait: wait.saturating_sub(LATEST_START).max(SHORTEST_WAIT),
        };
    }
    Slot::Free {
        wait,
        next_at: turn.plus(step),
    }
}

/// Returns the time until `then`, rounded up to whole milliseconds, at least one.
pub fn wait_until(then: Timestamp, now: Timestamp) -> Duration {
    let micros = then.since(now).as_micros();
    Duration::from_millis(u64::try_from(micros.div_ceil(1000)).unwrap_or(u64::MAX))
        .max(SHORTEST_WAIT)
}

const SHORTEST_WAIT: Duration = Duration::from_millis(1);
