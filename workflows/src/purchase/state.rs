//! The state of a purchase's run. Pure: signals and outputs of activities update it, and [`State::next`] returns the
//! next action. All times are workflow time.
//!
//! Each new notification restarts the window, unless it is a duplicate or is settled at once: a `notified` signal moves
//! the end of the window to a later time, up to the max-wait cap. Storage has the same end: `inbox/accept.rs` sets
//! `due_at`, and `extent_ahead` in `settling/load.rs` reads it. The platform sets the length, by default two minutes
//! (`api/src/config/read.rs`). `accept` in `api/src/stores/amazon` determines which accepted notifications send the
//! signal.

use crate::activities::{
    Delivered, Flush, Loaded, Readiness, Recorded, SettlingMode, SettlingStart, Verified,
};
use crate::attributes::Values;
use crate::contract;
use crate::signal::{Admin, Discard, Hold, Notified, Redeliver};
use domain::time::{DAY, HOUR, as_millis};
use domain::{DestinationId, Lane, Timestamp, Verification};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// How long a hold without an end date lasts.
const HOLD: Duration = DAY.saturating_mul(7);
/// Maximum window that a signal can open, as for platforms, so that a signal sent by a person cannot stop a purchase
/// forever.
const MAX_WINDOW: Duration = HOUR;

/// The state of a run, which the run that continues it receives.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    /// The newest sequence number whose window has begun or ended.
    pub through: i64,
    /// When the window ends, unless the cap ends it earlier; `None` if no window is open.
    pub window: Option<Timestamp>,
    /// When the max-wait cap ends the window.
    pub cap: Option<Timestamp>,
    /// Number of notifications signalled since the last settling.
    pub pending: i64,
    /// Whether to load now and settle the notifications whose window has ended.
    pub check_now: bool,
    /// Whether to settle now, ignoring the window.
    pub flush: bool,
    /// The `flush` signals since the last `settle`; the next one writes their audit entries.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub flushes: Vec<Flush>,
    /// Number of `flush` signals so far.
    pub flush_count: u64,
    pub hold: Option<Timestamp>,
    /// The next query of the store, if the last one failed.
    pub pending_query: Option<PendingQuery>,
    /// Requests of admins that have not been executed yet.
    pub admin: VecDeque<AdminRequest>,
    pub lanes: BTreeMap<DestinationId, OpenLane>,
    pub upserted: Values,
    /// The current values of the search attributes.
    pub current: Values,
    /// The last signal that could not be read or request that failed, for people.
    pub noted: Option<String>,
    /// Number of earlier runs that this run continues.
    pub continued: u32,
    /// The name of the redelivery in progress, which the next run continues under the same name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redelivery: Option<String>,
    /// Number of redeliveries of this run, from which their names are derived.
    #[serde(skip)]
    pub redeliveries: u64,
    /// Number of applied signals, by which `run` notices a change.
    #[serde(skip)]
    pub changes: u64,
}

/// The next query of the store, after one that failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PendingQuery {
    /// When the store is queried again.
    pub until: Timestamp,
    /// Why the last query failed, for people.
    pub why: String,
    pub is_flush: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRequest {
    Hold {
        #[serde(rename = "for_ms", with = "as_millis")]
        duration: Duration,
        admin: Admin,
    },
    Release(Admin),
    Discard(Discard),
    Redeliver(Redeliver),
}

impl AdminRequest {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Hold { .. } => contract::HOLD,
            Self::Release(_) => contract::RELEASE,
            Self::Discard(_) => contract::DISCARD,
            Self::Redeliver(_) => contract::REDELIVER,
        }
    }
}

/// An open lane, as known to the run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OpenLane {
    /// Sequence number of the newest delivery in the lane.
    pub last_seq: i64,
    pub failing: bool,
    /// Whether the lane must be started again even without a newer delivery.
    pub wake: bool,
    /// Whether the lane's next attempt is made within the workflow task, since its destination recently answered
    /// promptly.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_prompt: bool,
}

/// How the attempt of a lane is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneStart {
    /// By a short local activity within the workflow task, which costs one event instead of six.
    WithinTask,
    /// By a regular activity, which is visible in the Temporal UI while it runs and is retried.
    Regular,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Execute an admin's request.
    Admin(AdminRequest),
    Settle(SettlingMode),
    Sleep(Timestamp),
    Lanes,
    EndRun,
}

impl State {
    /// Returns the next action at `now`.
    pub fn next(&mut self, now: Timestamp) -> Next {
        if let Some(request) = self.admin.front() {
            return Next::Admin(request.clone());
        }
        if self.hold.is_some_and(|until| until <= now) {
            self.hold = None;
            self.check_now = true;
        }
        if let Some(until) = self.hold {
            return if self.check_now {
                Next::Settle(SettlingMode::Due)
            } else {
                Next::Sleep(until)
            };
        }
        if self.flush {
            return Next::Settle(SettlingMode::Flush);
        }
        if self.check_now {
            return Next::Settle(SettlingMode::Due);
        }
        match self.due() {
            Some(due) if due <= now => {
                let is_flush = self
                    .pending_query
                    .as_ref()
                    .is_some_and(|query| query.is_flush);
                Next::Settle(if is_flush {
                    SettlingMode::Flush
                } else {
                    SettlingMode::Due
                })
            }
            Some(due) => Next::Sleep(due),
            None if self.lanes.is_empty() => Next::EndRun,
            None => Next::Lanes,
        }
    }

    /// Returns when the window ends: at the cap, if that is earlier.
    pub fn window_ends(&self) -> Option<Timestamp> {
        self.window
            .map(|window| self.cap.map_or(window, |cap| cap.min(window)))
    }

    /// Returns when to settle next: the later of the window's end and the next query of the store.
    fn due(&self) -> Option<Timestamp> {
        self.window_ends()
            .max(self.pending_query.as_ref().map(|query| query.until))
    }

    /// Applies a `notified` signal, which restarts the window by moving its end to a later time. Storage has the same
    /// end as `due_at` (`settling/load.rs`), so [`Self::loaded`] extends the window even if a signal is lost.
    pub fn notified(&mut self, notified: &Notified, now: Timestamp) {
        self.changes += 1;
        self.through = self.through.max(notified.through);
        self.pending = self.pending.saturating_add(notified.count.max(0));
        self.extend_window(
            now.plus(notified.quiet.min(MAX_WINDOW)),
            notified.cap.map(|cap| now.plus(cap)),
        );
    }

    /// Restarts the window: moves its end to `end`, but never to an earlier time, and keeps the earliest cap.
    fn extend_window(&mut self, end: Timestamp, cap: Option<Timestamp>) {
        self.window = Some(self.window.map_or(end, |window| window.max(end)));
        self.cap = match (self.cap, cap) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
    }

    /// Applies a `wake` signal.
    pub fn wake(&mut self) {
        self.changes += 1;
        self.check_now = true;
    }

    /// Applies a `flush` signal. A purchase on hold is not settled.
    pub fn flush(&mut self) {
        self.changes += 1;
        if self.will_be_held() {
            self.noted = Some("flush: the purchase is held; release it first".to_owned());
        } else {
            self.flush = true;
        }
    }

    /// Whether the purchase will be on hold after all earlier requests are executed.
    fn will_be_held(&self) -> bool {
        let newest = self.admin.iter().rev().find_map(|request| match request {
            AdminRequest::Hold { .. } => Some(true),
            AdminRequest::Release(_) => Some(false),
            AdminRequest::Discard(_) | AdminRequest::Redeliver(_) => None,
        });
        newest.unwrap_or(self.hold.is_some())
    }

    /// Applies a `flush` signal together with its sender.
    pub fn flush_by(&mut self, admin: Admin) {
        self.flush();
        if self.flush {
            self.flush_count += 1;
            self.flushes.push(Flush {
                number: self.flush_count,
                admin,
            });
        }
    }

    /// Applies a `hold` signal.
    pub fn hold(&mut self, hold: Hold, now: Timestamp) {
        self.changes += 1;
        let until = hold.until.as_deref().map(str::parse::<Timestamp>);
        let duration = match until {
            Some(Ok(until)) => until.since(now),
            Some(Err(error)) => {
                self.noted = Some(format!("hold: until {error}; held for seven days"));
                HOLD
            }
            None => HOLD,
        };
        self.hold = Some(now.plus(duration));
        self.pending_query = None;
        self.admin.push_back(AdminRequest::Hold {
            duration,
            admin: hold.into(),
        });
    }

    /// Adds an admin's request; requests are executed in order.
    pub fn enqueue(&mut self, request: AdminRequest) {
        self.changes += 1;
        self.admin.push_back(request);
    }

    /// Returns a name for the next redelivery of the run that no other run uses. A replay returns the same names, since
    /// requests have an order.
    pub fn name_redelivery(&mut self, run: &str) -> String {
        let redeliveries = &mut self.redeliveries;
        let name = self.redelivery.get_or_insert_with(|| {
            *redeliveries += 1;
            format!("{run}/redeliver/{redeliveries}")
        });
        name.clone()
    }

    /// Applies the end of the first request, and why it failed, if it did.
    pub fn executed(&mut self, failed: Option<String>) {
        self.redelivery = None;
        if let (Some(request), Some(why)) = (self.admin.pop_front(), failed) {
            self.noted = Some(format!("{}: {why}", request.name()));
        }
    }

    /// Applies a payload that could not be read.
    pub fn unreadable(&mut self, signal: &str, why: &str) {
        self.changes += 1;
        self.noted = Some(format!("{signal}: payload not understood: {why}"));
    }

    /// Begins a settling. A window that has ended is removed, and a later signal opens another one. A window that has
    /// not ended stays open unless it is flushed, because a `wake` signal must not shorten it. The cap is removed,
    /// since loading returns the current one.
    pub fn begin(&mut self, mode: SettlingMode, now: Timestamp) -> SettlingStart {
        let is_early = mode == SettlingMode::Due && self.window.is_some_and(|window| window > now);
        self.check_now = false;
        self.flush = false;
        self.cap = None;
        if !is_early {
            self.window = None;
            self.pending = 0;
        }
        SettlingStart {
            through: self.through,
            is_early,
            mode,
        }
    }

    /// Applies the interruption of a settling, which begins again later. `flushes` are those for which it wrote no
    /// audit entries. If a hold is requested, the purchase is not flushed.
    pub fn interrupted(&mut self, mode: SettlingMode, flushes: Vec<Flush>) {
        self.check_now = true;
        self.flush |= mode == SettlingMode::Flush && !self.will_be_held();
        self.flushes.splice(0..0, flushes);
    }

    /// Whether an admin's request must be executed before a settling is retried.
    pub fn has_request(&self) -> bool {
        !self.admin.is_empty()
    }

    /// Applies the data that `settle` loaded. Returns whether it is settled now.
    pub fn loaded(&mut self, loaded: &Loaded, start: SettlingStart, now: Timestamp) -> bool {
        self.current.app_id = loaded.app_id.or(self.current.app_id);
        self.current.platform_id = loaded.platform_id.or(self.current.platform_id);
        self.current.state = Some(loaded.state);
        self.current.revision = loaded.revision;
        self.opened(&loaded.lanes);
        // The output of `settle` does not include a hold that arrived while it ran.
        if !self
            .admin
            .iter()
            .any(|request| matches!(request, AdminRequest::Hold { .. }))
        {
            self.hold = loaded.held.map(|left| now.plus(left));
        }
        if self.hold.is_some() {
            self.pending_query = None;
            return false;
        }
        let cap = loaded.cap.map(|cap| now.plus(cap));
        let readiness = start.readiness(loaded);
        match readiness {
            Readiness::Quiet => {
                self.through = self.through.max(loaded.newest_seq);
                self.extend_window(now.plus(loaded.quiet), cap);
                return false;
            }
            Readiness::Early => {
                self.cap = cap;
                return false;
            }
            Readiness::Held | Readiness::Idle | Readiness::Ready => {}
        }
        let is_ready = readiness == Readiness::Ready;
        // A `wake` signal does not query the store before the next query is due, but a `flush` does.
        let is_too_early = self
            .pending_query
            .as_ref()
            .is_some_and(|query| query.until > now);
        if is_ready && loaded.verify && is_too_early && start.mode == SettlingMode::Due {
            return false;
        }
        self.pending_query = None;
        is_ready
    }

    /// Applies the result of recording. Returns whether the decision was recorded; otherwise, the purchase has changed
    /// in the meantime.
    pub fn recorded(&mut self, recorded: Recorded) -> bool {
        let Recorded::Done {
            revision,
            state,
            lanes,
            prompt,
        } = recorded
        else {
            return false;
        };
        self.current.revision = revision;
        self.current.state = Some(state);
        self.opened(&lanes);
        self.answered_promptly(&prompt);
        true
    }

    /// Applies the output of `verify`. Returns its result, unless nothing may be decided now.
    pub fn verified(
        &mut self,
        verified: Verified,
        start: SettlingStart,
        now: Timestamp,
    ) -> Option<Verification> {
        // A hold that arrived meanwhile stops the settling. When it ends, loading queries the store again.
        if self.hold.is_some() {
            return None;
        }
        let result = verified.result().cloned();
        if result.is_none() {
            let why = verified
                .why
                .unwrap_or_else(|| "the store could not be queried".to_owned());
            let (until, is_flush) = (
                now.plus(verified.next_query_in),
                start.mode == SettlingMode::Flush,
            );
            self.pending_query = Some(PendingQuery {
                until,
                why,
                is_flush,
            });
        }
        result
    }

    /// Applies the open lanes that storage returned.
    pub fn opened(&mut self, lanes: &[Lane]) {
        for lane in lanes {
            let known = self.lanes.entry(lane.destination_id).or_default();
            known.last_seq = known.last_seq.max(lane.last_seq);
            known.failing |= lane.failing;
        }
        self.current.failing = self.failing();
    }

    /// Applies which destinations recently answered promptly.
    pub fn answered_promptly(&mut self, destinations: &BTreeSet<DestinationId>) {
        for (id, lane) in &mut self.lanes {
            lane.is_prompt = !lane.failing && destinations.contains(id);
        }
    }

    /// Applies the start of a lane. Returns how its attempt is made.
    pub fn started(&mut self, destination: DestinationId) -> LaneStart {
        let Some(lane) = self.lanes.get_mut(&destination) else {
            return LaneStart::Regular;
        };
        lane.wake = false;
        if std::mem::take(&mut lane.is_prompt) && !lane.failing {
            LaneStart::WithinTask
        } else {
            LaneStart::Regular
        }
    }

    /// Applies lanes that must be attempted at once, even if they are waiting for their next attempt.
    pub fn woken(&mut self, lanes: &[Lane]) {
        self.opened(lanes);
        for lane in lanes {
            if let Some(known) = self.lanes.get_mut(&lane.destination_id) {
                known.wake = true;
            }
        }
    }

    /// Applies a `cancel_backoff` signal: a lane that waits for its next attempt is started again, and either makes the
    /// attempt or ends with its deliveries still pending. A first attempt in flight needs no signal.
    pub fn cancel_backoff(&mut self, destination: Option<DestinationId>) {
        self.changes += 1;
        for (id, lane) in &mut self.lanes {
            lane.wake |= lane.failing && destination.is_none_or(|wanted| wanted == *id);
        }
    }

    /// Applies the output of a `deliver` that was started when `started_for` was the newest delivery. The run drops a
    /// lane that is closed or was left to the destination's run, unless the lane has newer deliveries.
    ///
    /// A delivery is committed before the run learns of it. If storage does not know it at the end of `deliver`, the
    /// database was restored to an earlier state, and no `deliver` would ever find the delivery. Deliveries recorded
    /// since the restore have lower numbers, so the run loads the lanes again.
    pub fn delivered(
        &mut self,
        destination: DestinationId,
        delivered: &Delivered,
        started_for: i64,
    ) {
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.failing = false;
            if !delivered.more && lane.last_seq <= delivered.last_seq.max(started_for) && !lane.wake
            {
                self.lanes.remove(&destination);
                self.check_now |= delivered.last_seq < started_for;
            }
        }
        self.current.failing = self.failing();
    }

    /// Applies the failure of a healthy lane's first attempt: from now on, Temporal retries the lane.
    pub fn failed(&mut self, destination: DestinationId) {
        if let Some(lane) = self.lanes.get_mut(&destination) {
            lane.failing = true;
        }
        self.current.failing = self.failing();
    }

    /// Applies a permanent failure of `deliver`. If deliveries are still pending, the sweep finds them.
    pub fn lost(&mut self, destination: DestinationId, why: String) {
        self.lanes.remove(&destination);
        self.noted = Some(why);
        self.current.failing = self.failing();
    }

    fn failing(&self) -> i64 {
        i64::try_from(self.lanes.values().filter(|lane| lane.failing).count()).unwrap_or(i64::MAX)
    }
}
