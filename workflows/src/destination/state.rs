//! What a destination's run knows, and what it wants next. Pure: signals and answers are folded in,
//! [`State::next`] says what to do. All times are microseconds of workflow time.

use crate::activities::{RedeliverySelector, Supervised, Supervision};
use crate::contract;
use crate::signal::{Admin, Enable, MAX_NAMED, Range, Replay};
use domain::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Everything that a run carries over to the next one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// Whether something is owed that no look has seen yet.
    pub news: bool,
    /// Whether a person changed something, so that it is looked at whatever is waited for.
    pub urgent: bool,
    /// Whether an open breaker is to be tried although it is not time.
    pub probe: bool,
    /// What admins asked for and was not carried out yet.
    pub admin: VecDeque<AdminRequest>,
    /// What is being owed once more and is not at its end, and how far it has come.
    pub redeliveries: VecDeque<Redelivery>,
    /// When it is looked at again.
    pub until: Option<i64>,
    /// What the last look came to.
    pub last: Supervised,
    /// The last thing that could not be read or done, for people.
    pub noted: Option<String>,
    /// How many runs this one has been continued through.
    pub continued: u32,
    /// Whether a look is under way.
    #[serde(skip)]
    pub is_supervising: bool,
    /// Counts what was folded, so that `run` knows that something happened.
    #[serde(skip)]
    pub changes: u64,
}

/// What an admin asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    /// Owe it something once more.
    Redeliver(Redelivery),
    /// Try the connection.
    Test(Admin),
    /// Switch it on.
    Enable(Enable),
    /// Switch it off.
    Disable(Admin),
}

/// Owing something once more, which goes on between looks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Redelivery {
    /// What is owed.
    pub selector: RedeliverySelector,
    /// Who asked for it, and why.
    pub admin: Admin,
    /// Where it goes on; see [`crate::activities::RedeliveryProgress`]. Absent at the beginning.
    #[serde(default)]
    pub cursor: Option<String>,
}

impl Redelivery {
    /// From the beginning.
    #[must_use]
    pub const fn new(selector: RedeliverySelector, admin: Admin) -> Self {
        Self { selector, admin, cursor: None }
    }
}

impl AdminRequest {
    /// What is owed once more, if that was asked for.
    #[must_use]
    pub const fn redelivery(&self) -> Option<&Redelivery> {
        if let Self::Redeliver(redelivery) = self { Some(redelivery) } else { None }
    }

    /// The signal that asked.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Redeliver(redelivery) => redelivery.selector.signal(),
            Self::Test(_) => contract::TEST,
            Self::Enable(_) => contract::ENABLE,
            Self::Disable(_) => contract::DISABLE,
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Carry out what an admin asked.
    Admin(AdminRequest),
    /// Go on with a redelivery.
    Redeliver(Redelivery),
    /// Look after it.
    Supervise {
        /// Whether an open breaker is tried although it is not time.
        is_probe: bool,
    },
    /// Nothing before this time.
    Sleep(i64),
    /// Nothing but the look that is under way.
    Wait,
    /// Nothing at all.
    Close,
}

impl State {
    /// The next thing to do at `now`.
    #[must_use]
    pub fn next(&self, now: i64) -> Next {
        if let Some(request) = self.admin.front() {
            return Next::Admin(request.clone());
        }
        if self.is_supervising {
            return Next::Wait;
        }
        if self.probe || self.urgent {
            return Next::Supervise { is_probe: self.probe };
        }
        // In turn with looks, so that neither a long drain nor a long redelivery keeps the other from its end.
        if let Some(redelivery) = self.redeliveries.front() {
            return Next::Redeliver(redelivery.clone());
        }
        if self.until.is_some_and(|until| until <= now) || (self.news && !self.is_left_alone()) {
            return Next::Supervise { is_probe: false };
        }
        self.until.map_or(Next::Close, Next::Sleep)
    }

    /// Whether what is owed has to wait: a pause that it asked for, or the time between two tries of its breaker.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.until.is_some() && matches!(self.last.state, Supervision::Pause | Supervision::Probe)
    }

    /// Folds an `owed` signal.
    pub fn owed(&mut self) {
        self.changes += 1;
        self.news = true;
    }

    /// Folds a `probe` signal.
    pub fn probe(&mut self) {
        self.changes += 1;
        self.probe = true;
    }

    /// Folds what an admin asks; it is carried out in turn.
    pub fn enqueue(&mut self, request: AdminRequest) {
        self.changes += 1;
        self.admin.push_back(request);
    }

    /// Folds a `redeliver` signal.
    pub fn redeliver(&mut self, range: Range) {
        let Range { by, reason, from, until, event_id } = range;
        let admin = Admin { by, reason };
        let time = |text: &Option<String>| text.as_deref().map(str::parse::<Timestamp>).transpose();
        if let Some(event) = event_id {
            if from.is_some() || until.is_some() {
                return self
                    .unreadable(contract::REDELIVER, "expected `event_id`, or `from` with `until`, and not both");
            }
            return self.enqueue(AdminRequest::Redeliver(Redelivery::new(RedeliverySelector::Event(event), admin)));
        }
        match (time(&from), time(&until)) {
            (Ok(None), Ok(None)) => {
                self.enqueue(AdminRequest::Redeliver(Redelivery::new(RedeliverySelector::Failed, admin)))
            }
            (Ok(Some(from)), Ok(Some(until))) if from < until => {
                self.enqueue(AdminRequest::Redeliver(Redelivery::new(
                    RedeliverySelector::Range { from, until },
                    admin,
                )));
            }
            (Err(why), _) => self.unreadable(contract::REDELIVER, &format!("from: {why}")),
            (_, Err(why)) => self.unreadable(contract::REDELIVER, &format!("until: {why}")),
            _ => self.unreadable(contract::REDELIVER, "expected `from` with a later `until`, or neither"),
        }
    }

    /// Folds a `replay` signal.
    pub fn replay(&mut self, replay: Replay) {
        let Replay { by, reason, all, collapse_keys } = replay;
        let selector = match collapse_keys {
            None if all => RedeliverySelector::All,
            None => RedeliverySelector::Behind,
            Some(_) if all => {
                return self.unreadable(contract::REPLAY, "expected `all` or `collapse_keys`, and not both");
            }
            Some(keys) if keys.is_empty() || keys.len() > MAX_NAMED => {
                let wrong = format!("expected 1 to {MAX_NAMED} collapse keys, and there are {}", keys.len());
                return self.unreadable(contract::REPLAY, &wrong);
            }
            Some(keys) => RedeliverySelector::Purchases(keys),
        };
        self.enqueue(AdminRequest::Redeliver(Redelivery::new(selector, Admin { by, reason })));
    }

    /// Folds what a test of the connection showed.
    pub fn tested(&mut self, result: &str) {
        self.noted = Some(format!("{}: {result}", contract::TEST));
    }

    /// Folds a payload that could not be read.
    pub fn unreadable(&mut self, signal: &str, why: &str) {
        self.changes += 1;
        self.noted = Some(format!("{signal}: payload not understood: {why}"));
    }

    /// Folds the end of what an admin asked: a look follows, since storage may say something else now.
    pub fn carried_out(&mut self, failed: Option<String>) {
        self.urgent = true;
        if let Some(request) = self.admin.pop_front() {
            self.noted = failed.map(|why| format!("{}: {why}", request.name())).or(self.noted.take());
        }
    }

    /// Folds how far the owing of something has come, with where it goes on, nowhere at its end, or why it cannot be
    /// had: a look follows. Each has its turn. One that was asked for again began at the beginning, so that it stands
    /// for the one before it.
    pub fn redelivered(&mut self, redelivery: &Redelivery, result: Result<Option<String>, String>) {
        self.urgent = true;
        self.redeliveries.retain(|other| other.selector != redelivery.selector);
        match result {
            Ok(None) => {}
            Ok(cursor) => self.redeliveries.push_back(Redelivery { cursor, ..redelivery.clone() }),
            Err(why) => self.noted = Some(format!("{}: {why}", redelivery.selector.signal())),
        }
    }

    /// Begins a look: it sees everything that was told before.
    pub fn begin(&mut self) {
        self.is_supervising = true;
        self.news = false;
        self.urgent = false;
        self.probe = false;
    }

    /// Folds what a look came to. One that finds nothing does not forget what an earlier one is waiting for.
    pub fn supervised(&mut self, supervised: Supervised, now: i64) {
        self.is_supervising = false;
        let still = if self.is_left_alone() { None } else { self.until.filter(|until| *until > now) };
        self.until = supervised.next_check_ms.map(|ms| now.saturating_add(ms.max(0).saturating_mul(1000))).or(still);
        self.last = supervised;
    }

    /// Folds a look that was cancelled to make room: another one follows.
    pub fn interrupted(&mut self) {
        self.is_supervising = false;
        self.news = true;
    }

    /// Folds a look that cannot be had; the sweep comes back when something is owed.
    pub fn lost(&mut self, why: String) {
        self.is_supervising = false;
        self.until = None;
        self.noted = Some(why);
    }
}
