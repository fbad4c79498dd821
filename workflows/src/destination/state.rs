//! The state of a destination's run. Pure: signals and outputs of activities update it, and [`State::next`] returns the
//! next action. All times are workflow time.

use crate::activities::{Supervised, Supervision};
use crate::contract;
use crate::signal::{Admin, Enable, MAX_NAMED, RedeliverEvents, Replay};
use domain::{RedeliverySelector, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The state of a run, which the run that continues it receives.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Whether a `pending` signal arrived since the last start of `supervise`.
    pub news: bool,
    /// Whether `supervise` must run at once, even during a pause, because a request was executed.
    pub urgent: bool,
    /// Whether to probe an open breaker before the next probe is due.
    pub probe: bool,
    /// Requests of admins that have not been executed yet.
    pub admin: VecDeque<AdminRequest>,
    /// Incomplete redeliveries, each with its position.
    pub redeliveries: VecDeque<Redelivery>,
    /// When `supervise` runs next.
    pub until: Option<Timestamp>,
    /// The last output of `supervise`.
    pub last: Supervised,
    /// The last signal that could not be read, failed request, or result of a test, for people.
    pub noted: Option<String>,
    /// Number of earlier runs that this run continues.
    pub continued: u32,
    /// Whether `supervise` is running.
    #[serde(skip)]
    pub is_supervising: bool,
    /// Number of applied signals, by which `run` notices a change.
    #[serde(skip)]
    pub changes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    Redeliver(Redelivery),
    Test(Admin),
    Enable(Enable),
    Disable(Admin),
}

/// A redelivery, which takes turns with `supervise`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivery {
    pub selector: RedeliverySelector,
    pub admin: Admin,
    /// Where the redelivery continues; see [`crate::activities::RedeliveryProgress`]. Absent at the beginning.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl Redelivery {
    pub const fn new(selector: RedeliverySelector, admin: Admin) -> Self {
        Self {
            selector,
            admin,
            cursor: None,
        }
    }

    pub const fn signal(&self) -> &'static str {
        match self.selector {
            RedeliverySelector::Behind
            | RedeliverySelector::All
            | RedeliverySelector::NeverQueued
            | RedeliverySelector::Purchases(_) => contract::REPLAY,
            RedeliverySelector::Failed
            | RedeliverySelector::Range { .. }
            | RedeliverySelector::Event(_)
            | RedeliverySelector::Purchase(_)
            | RedeliverySelector::Lanes(_) => contract::REDELIVER,
        }
    }
}

impl AdminRequest {
    /// Returns the requested redelivery, if the request is one.
    pub const fn redelivery(&self) -> Option<&Redelivery> {
        if let Self::Redeliver(redelivery) = self {
            Some(redelivery)
        } else {
            None
        }
    }

    pub const fn name(&self) -> &'static str {
        match self {
            Self::Redeliver(redelivery) => redelivery.signal(),
            Self::Test(_) => contract::TEST,
            Self::Enable(_) => contract::ENABLE,
            Self::Disable(_) => contract::DISABLE,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Execute an admin's request.
    Admin(AdminRequest),
    Redeliver(Redelivery),
    /// Start `supervise`.
    Supervise {
        /// Whether to probe an open breaker before the next probe is due.
        is_probe: bool,
    },
    Sleep(Timestamp),
    /// Wait for the running `supervise`.
    Wait,
    EndRun,
}

impl State {
    /// Returns the next action at `now`.
    pub fn next(&self, now: Timestamp) -> Next {
        if let Some(request) = self.admin.front() {
            return Next::Admin(request.clone());
        }
        if self.is_supervising {
            return Next::Wait;
        }
        if self.probe || self.urgent {
            return Next::Supervise {
                is_probe: self.probe,
            };
        }
        // Redeliveries take turns with `supervise`, so that neither a long drain nor a long redelivery delays the
        // other.
        if let Some(redelivery) = self.redeliveries.front() {
            return Next::Redeliver(redelivery.clone());
        }
        if self.until.is_some_and(|until| until <= now) || (self.news && !self.must_wait()) {
            return Next::Supervise { is_probe: false };
        }
        self.until.map_or(Next::EndRun, Next::Sleep)
    }

    /// Whether deliveries must wait for the end of a pause that the destination requested, or for the next probe.
    pub fn must_wait(&self) -> bool {
        self.until.is_some() && matches!(self.last.state, Supervision::Pause | Supervision::Probe)
    }

    /// Applies a `pending` signal.
    pub fn pending(&mut self) {
        self.changes += 1;
        self.news = true;
    }

    /// Applies a `probe` signal.
    pub fn probe(&mut self) {
        self.changes += 1;
        self.probe = true;
    }

    /// Adds an admin's request; requests are executed in order.
    pub fn enqueue(&mut self, request: AdminRequest) {
        self.changes += 1;
        self.admin.push_back(request);
    }

    /// Applies a `redeliver` signal.
    pub fn redeliver(&mut self, wanted: RedeliverEvents) {
        let RedeliverEvents {
            admin,
            from,
            until,
            event_id,
        } = wanted;
        let time = |text: &Option<String>| text.as_deref().map(str::parse::<Timestamp>).transpose();
        if let Some(event) = event_id {
            if from.is_some() || until.is_some() {
                return self.unreadable(
                    contract::REDELIVER,
                    "expected `event_id`, or `from` with `until`, and not both",
                );
            }
            return self.enqueue_redelivery(RedeliverySelector::Event(event), admin);
        }
        match (time(&from), time(&until)) {
            (Ok(None), Ok(None)) => self.enqueue_redelivery(RedeliverySelector::Failed, admin),
            (Ok(Some(from)), Ok(Some(until))) if from < until => {
                self.enqueue_redelivery(RedeliverySelector::Range { from, until }, admin);
            }
            (Err(why), _) => self.unreadable(contract::REDELIVER, &format!("from: {why}")),
            (_, Err(why)) => self.unreadable(contract::REDELIVER, &format!("until: {why}")),
            _ => self.unreadable(
                contract::REDELIVER,
                "expected `from` with a later `until`, or neither",
            ),
        }
    }

    /// Applies a `replay` signal.
    pub fn replay(&mut self, replay: Replay) {
        let Replay {
            admin,
            all,
            collapse_keys,
        } = replay;
        let selector = match collapse_keys {
            None if all => RedeliverySelector::All,
            None => RedeliverySelector::Behind,
            Some(_) if all => {
                return self.unreadable(
                    contract::REPLAY,
                    "expected `all` or `collapse_keys`, and not both",
                );
            }
            Some(keys) if keys.is_empty() || keys.len() > MAX_NAMED => {
                let wrong = format!(
                    "expected 1 to {MAX_NAMED} collapse keys, and there are {}",
                    keys.len()
                );
                return self.unreadable(contract::REPLAY, &wrong);
            }
            Some(keys) => RedeliverySelector::Purchases(keys),
        };
        self.enqueue_redelivery(selector, admin);
    }

    fn enqueue_redelivery(&mut self, selector: RedeliverySelector, admin: Admin) {
        self.enqueue(AdminRequest::Redeliver(Redelivery::new(selector, admin)));
    }

    /// Applies the result of a connection test.
    pub fn tested(&mut self, result: &str) {
        self.noted = Some(format!("{}: {result}", contract::TEST));
    }

    /// Applies a payload that could not be read.
    pub fn unreadable(&mut self, signal: &str, why: &str) {
        self.changes += 1;
        self.noted = Some(format!("{signal}: payload not understood: {why}"));
    }

    /// Applies the end of an admin's request. `supervise` follows, since storage may have changed.
    pub fn executed(&mut self, failed: Option<String>) {
        self.urgent = true;
        if let Some(request) = self.admin.pop_front() {
            self.noted = failed
                .map(|why| format!("{}: {why}", request.name()))
                .or(self.noted.take());
        }
    }

    /// Applies one step of a redelivery: its next position, `None` at its end, or why it failed. `supervise` follows.
    /// Redeliveries take turns. If the same redelivery was requested again, the new one starts at the beginning and
    /// replaces this one.
    pub fn redelivered(&mut self, redelivery: &Redelivery, result: Result<Option<String>, String>) {
        self.urgent = true;
        self.redeliveries
            .retain(|other| other.selector != redelivery.selector);
        match result {
            Ok(None) => {}
            Ok(cursor) => self.redeliveries.push_back(Redelivery {
                cursor,
                ..redelivery.clone()
            }),
            Err(why) => self.noted = Some(format!("{}: {why}", redelivery.signal())),
        }
    }

    /// Begins `supervise`, which acts on every signal that arrived before.
    pub fn begin(&mut self) {
        self.is_supervising = true;
        self.news = false;
        self.urgent = false;
        self.probe = false;
    }

    /// Applies the output of `supervise`. If it found nothing, the time for which an earlier one waits remains.
    pub fn supervised(&mut self, supervised: Supervised, now: Timestamp) {
        self.is_supervising = false;
        let still = if self.must_wait() {
            None
        } else {
            self.until.filter(|until| *until > now)
        };
        self.until = supervised
            .next_check_in
            .map(|wait| now.plus(wait))
            .or(still);
        self.last = supervised;
    }

    /// Applies the cancellation of `supervise`; another one follows.
    pub fn interrupted(&mut self) {
        self.is_supervising = false;
        self.news = true;
    }

    /// Applies a permanent failure of `supervise`; the sweep signals again if something is pending.
    pub fn lost(&mut self, why: String) {
        self.is_supervising = false;
        self.until = None;
        self.noted = Some(why);
    }
}
