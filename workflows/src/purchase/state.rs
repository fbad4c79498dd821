//! What a purchase's run knows, and what it wants next. Pure: signals and answers are folded in,
//! [`State::next`] says what to do. All times are microseconds of workflow time.

use crate::activities::{Delivered, Loaded, Verified};
use crate::attributes::Values;
use crate::contract;
use crate::signal::{Admin, Discard, Hold, Notified, Redeliver};
use domain::{DestinationId, Lane, Reading, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// How long a hold lasts when nobody says.
const HOLD_MS: i64 = 7 * 24 * 3600 * 1000;
/// A signal opens no longer window than a platform can have: one sent by hand must not stop a purchase for ever.
const LONGEST_WINDOW_MS: i64 = 3600 * 1000;

/// Everything that a run carries over to the next one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The newest sequence number that has, or has had, its window.
    pub through: i64,
    /// When the window ends.
    pub window: Option<i64>,
    /// When the max-wait cap ends it at the latest.
    pub cap: Option<i64>,
    /// How many notifications we were told of since the last settling.
    pub pending: i64,
    /// Load now, and settle what is not inside a window.
    pub check_now: bool,
    /// Settle now, window or not.
    pub flush: bool,
    /// When the hold ends.
    pub hold: Option<i64>,
    /// That the store could not be asked, and when it is asked again.
    pub pending_query: Option<PendingQuery>,
    /// What admins asked for and was not carried out yet.
    pub admin: VecDeque<AdminRequest>,
    /// Open lanes.
    pub lanes: BTreeMap<DestinationId, LaneState>,
    /// What the search attributes say.
    pub upserted: Values,
    /// The newest state and revision.
    pub current: Values,
    /// The last thing that could not be read or done, for people.
    pub noted: Option<String>,
    /// How many runs this one has been continued through.
    pub continued: u32,
    /// Counts the redeliveries of this run, so that each has a name.
    #[serde(skip)]
    pub redeliveries: u64,
    /// Counts what was folded, so that `run` knows that something happened.
    #[serde(skip)]
    pub changes: u64,
}

/// The store could not be asked yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PendingQuery {
    /// When it is asked again.
    pub until: i64,
    /// Why it could not be, for people.
    pub why: String,
    /// Whether windows were ignored, and are again when it answers.
    pub is_flush: bool,
}

/// What an admin asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    /// Stop settling for so long.
    Hold {
        /// Milliseconds from now.
        for_ms: i64,
        /// Who and why.
        admin: Admin,
    },
    /// End a hold.
    Release(Admin),
    /// Throw away what waits.
    Discard(Discard),
    /// Send the newest state again.
    Redeliver(Redeliver),
}

impl AdminRequest {
    /// The signal that asked.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hold { .. } => contract::HOLD,
            Self::Release(_) => contract::RELEASE,
            Self::Discard(_) => contract::DISCARD,
            Self::Redeliver(_) => contract::REDELIVER,
        }
    }
}

/// An open lane as the run sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LaneState {
    /// The newest delivery known to be in it.
    pub last_seq: i64,
    /// Whether its last attempt failed.
    pub failing: bool,
    /// Whether it must be started anew although nothing newer is in it.
    pub wake: bool,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Carry out what an admin asked.
    Admin(AdminRequest),
    /// Load, and settle what is due; everything when `flush`.
    Settle {
        /// Whether windows are ignored.
        flush: bool,
    },
    /// Nothing before this time.
    Sleep(i64),
    /// Nothing but lanes.
    Lanes,
    /// Nothing at all.
    Close,
}

/// A settling that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettlingStart {
    /// The newest sequence number that has had its window.
    pub through: i64,
    /// Whether the window is still open, so that nothing may be settled unless the cap is over.
    pub is_early: bool,
    /// Whether windows are ignored.
    pub is_flush: bool,
}

impl State {
    /// The next thing to do at `now`.
    pub fn next(&mut self, now: i64) -> Next {
        if let Some(request) = self.admin.front() {
            return Next::Admin(request.clone());
        }
        if self.hold.is_some_and(|until| until <= now) {
            self.hold = None;
            self.check_now = true;
        }
        if let Some(until) = self.hold {
            return if self.check_now { Next::Settle { flush: false } } else { Next::Sleep(until) };
        }
        if self.flush || self.check_now {
            return Next::Settle { flush: self.flush };
        }
        match self.due() {
            Some(due) if due <= now => {
                Next::Settle { flush: self.pending_query.as_ref().is_some_and(|query| query.is_flush) }
            }
            Some(due) => Next::Sleep(due),
            None if self.lanes.is_empty() => Next::Close,
            None => Next::Lanes,
        }
    }

    /// When the window ends, the cap considered.
    #[must_use]
    pub fn window_ends(&self) -> Option<i64> {
        self.window.map(|window| self.cap.map_or(window, |cap| cap.min(window)))
    }

    /// When to settle next: a window's end is of no use before the store can be asked, and a new notification's
    /// window is waited for although the store could be.
    fn due(&self) -> Option<i64> {
        self.window_ends().max(self.pending_query.as_ref().map(|query| query.until))
    }

    /// Folds a `notified` signal.
    pub fn notified(&mut self, notified: &Notified, now: i64) {
        self.changes += 1;
        self.through = self.through.max(notified.through);
        self.pending = self.pending.saturating_add(notified.count.max(0));
        self.quiet_until(
            later(now, notified.quiet_ms.min(LONGEST_WINDOW_MS)),
            notified.cap_ms.map(|cap| later(now, cap)),
        );
    }

    fn quiet_until(&mut self, end: i64, cap: Option<i64>) {
        self.window = Some(self.window.map_or(end, |window| window.max(end)));
        self.cap = match (self.cap, cap) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }

    /// Folds a `wake` signal.
    pub fn wake(&mut self) {
        self.changes += 1;
        self.check_now = true;
    }

    /// Folds a `flush` signal; a hold is stronger.
    pub fn flush(&mut self) {
        self.changes += 1;
        if self.hold.is_some() {
            self.noted = Some("flush: the purchase is held; release it first".to_owned());
        } else {
            self.flush = true;
        }
    }

    /// Folds a `hold` signal.
    pub fn hold(&mut self, hold: Hold, now: i64) {
        self.changes += 1;
        let until = hold.until.as_deref().map(str::parse::<Timestamp>);
        let for_ms = match until {
            Some(Ok(until)) => until.millis_since(Timestamp::from_micros(now)).max(0),
            Some(Err(error)) => {
                self.noted = Some(format!("hold: until {error}; held for seven days"));
                HOLD_MS
            }
            None => HOLD_MS,
        };
        self.hold = Some(later(now, for_ms));
        self.pending_query = None;
        self.admin.push_back(AdminRequest::Hold { for_ms, admin: hold.into() });
    }

    /// Folds what an admin asks; it is carried out in turn.
    pub fn enqueue(&mut self, request: AdminRequest) {
        self.changes += 1;
        self.admin.push_back(request);
    }

    /// A name for the next redelivery of the run: the same one when the run is replayed, since what was asked for has an
    /// order, and no other run's.
    pub fn name_redelivery(&mut self, run: &str) -> String {
        self.redeliveries += 1;
        format!("{run}/redeliver/{}", self.redeliveries)
    }

    /// Folds a payload that could not be read.
    pub fn unreadable(&mut self, signal: &str, why: &str) {
        self.changes += 1;
        self.noted = Some(format!("{signal}: payload not understood: {why}"));
    }

    /// Begins a settling: the window is used up; a signal that comes from now on opens another. A window that
    /// is still open stays open, unless it is flushed: a look must not cut it short. When the max-wait cap ends
    /// is for `load` to say, which knows the oldest row that is still open.
    pub fn begin(&mut self, flush: bool, now: i64) -> SettlingStart {
        let is_early = !flush && self.window.is_some_and(|window| window > now);
        self.check_now = false;
        self.flush = false;
        self.cap = None;
        if !is_early {
            self.window = None;
            self.pending = 0;
        }
        SettlingStart { through: self.through, is_early, is_flush: flush }
    }

    /// Folds what `load` answered. Says whether to go on to `decide`.
    pub fn loaded(&mut self, loaded: &Loaded, start: SettlingStart, now: i64) -> bool {
        self.current.app_id = loaded.app_id.or(self.current.app_id);
        self.current.platform_id = loaded.platform_id.or(self.current.platform_id);
        self.current.state = Some(loaded.purchase.state());
        self.current.revision = loaded.revision;
        self.opened(&loaded.lanes);
        // A hold that came while `load` was asked is not in its answer yet.
        if !self.admin.iter().any(|request| matches!(request, AdminRequest::Hold { .. })) {
            self.hold = loaded.held_ms.map(|left| later(now, left));
        }
        if self.hold.is_some() {
            self.pending_query = None;
            return false;
        }
        let is_capped = loaded.cap_ms == Some(0);
        if !start.is_flush && !is_capped {
            let cap = loaded.cap_ms.map(|cap| later(now, cap));
            if loaded.quiet_ms > 0 {
                self.through = self.through.max(loaded.newest_seq);
                self.quiet_until(later(now, loaded.quiet_ms), cap);
                return false;
            }
            if start.is_early {
                self.cap = cap;
                return false;
            }
        }
        let is_wanted = loaded.due || !loaded.notifications.is_empty();
        // A look does not ask a store before its time; a flush does.
        let is_too_early = self.pending_query.as_ref().is_some_and(|query| query.until > now) && !start.is_flush;
        if is_wanted && loaded.verify && is_too_early {
            return false;
        }
        self.pending_query = None;
        is_wanted
    }

    /// Folds what came of asking the store. Says what it read, unless nothing may be decided now.
    pub fn verified(&mut self, verified: Verified, start: SettlingStart, now: i64) -> Option<Reading> {
        // A hold that came meanwhile stops it; the look at its end asks anew.
        if self.hold.is_some() {
            return None;
        }
        if verified.verification.is_none() {
            let why = verified.why.unwrap_or_else(|| "the store could not be asked".to_owned());
            self.pending_query =
                Some(PendingQuery { until: later(now, verified.next_query_ms), why, is_flush: start.is_flush });
        }
        verified.verification
    }

    /// Folds lanes that storage says are open.
    pub fn opened(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            let known = self.lanes.entry(lane.destination_id).or_default();
            known.last_seq = known.last_seq.max(lane.last_seq);
            known.failing |= lane.failing;
        }
        self.current.failing = self.failing();
    }

    /// Folds lanes that must be tried at once, whatever they wait for.
    pub fn woken(&mut self, lanes: &[Lane]) {
        self.opened(lanes);
        for lane in lanes {
            if let Some(known) = self.lanes.get_mut(&lane.destination_id) {
                known.wake = true;
            }
        }
    }

    /// Folds a `recall` signal: a lane that waits for its next attempt asks now, and hears that it is owed or makes it. A
    /// first attempt that is under way hears it by itself.
    pub fn cancel_backoff(&mut self, destination: Option<DestinationId>) {
        self.changes += 1;
        for (id, lane) in &mut self.lanes {
            lane.wake |= lane.failing && destination.is_none_or(|wanted| wanted == *id);
        }
    }

    /// Folds the end of a lane that had been started up to `delivered.last_seq`.
    pub fn delivered(&mut self, destination: DestinationId, delivered: &Delivered) {
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.failing = false;
            if !delivered.more && lane.last_seq <= delivered.last_seq && !lane.wake {
                self.lanes.remove(&destination);
            }
        }
        self.current.failing = self.failing();
    }

    /// Folds the failure of a healthy lane's first attempt: the engine retries it from now on.
    pub fn failed(&mut self, destination: DestinationId) {
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.failing = true;
        }
        self.current.failing = self.failing();
    }

    /// Folds the end of a lane that cannot go on; the sweep finds it again if it still owes.
    pub fn lost(&mut self, destination: DestinationId, why: String) {
        self.lanes.remove(&destination);
        self.noted = Some(why);
        self.current.failing = self.failing();
    }

    fn failing(&self) -> i64 {
        i64::try_from(self.lanes.values().filter(|lane| lane.failing).count()).unwrap_or(i64::MAX)
    }
}

fn later(now: i64, millis: i64) -> i64 {
    now.saturating_add(millis.max(0).saturating_mul(1000))
}
