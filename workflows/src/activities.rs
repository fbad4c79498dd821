//! What a workflow may ask of the outside world. Declared here, done in the package `activities`.
//!
//! Nothing that is asked or answered holds a customer identifier or a body: histories are read by many.

use crate::contract;
use crate::signal::{Admin, Hold};
use domain::{
    AppId, CollapseKey, Decision, DestinationId, EventId, Lane, Notification, PlatformId, Purchase, Reading, State,
    Timestamp,
};
use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

/// How many notifications one settling takes.
pub const MAX_PER_SETTLING: i64 = 500;

/// Ask for the purchase and what waits for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Load {
    /// Which purchase.
    pub collapse_key: CollapseKey,
    /// The newest sequence number that has had its window.
    pub through: i64,
}

/// The purchase, what waits for it, and all its open lanes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Loaded {
    /// Its app and platform; absent when nothing is known of the purchase.
    pub app_id: Option<AppId>,
    /// See `app_id`.
    pub platform_id: Option<PlatformId>,
    /// What we know of it.
    pub purchase: Purchase,
    /// Its revision; 0 before the first.
    pub revision: i64,
    /// The number of its last settling.
    pub settling: i64,
    /// What waits, at most [`MAX_PER_SETTLING`], without customer identifiers.
    pub notifications: Vec<(i64, Notification)>,
    /// Whether more waits than was loaded.
    pub more: bool,
    /// The newest sequence number that waits, 0 when none does.
    pub newest_seq: i64,
    /// For how long rows above `through` must still be quiet; 0 when there are none.
    pub quiet_ms: i64,
    /// Until the max-wait cap of the oldest of them.
    pub cap_ms: Option<i64>,
    /// For how long the purchase is still held.
    pub held_ms: Option<i64>,
    /// Whether it must be looked at although nothing new was told: its wake is due.
    #[serde(default)]
    pub due: bool,
    /// Whether the store is to be asked before anything is decided.
    #[serde(default)]
    pub verify: bool,
    /// Whether another receipt took its place which is known to be real.
    #[serde(default)]
    pub is_replaced: bool,
    /// Its open lanes.
    pub lanes: Vec<Lane>,
    /// The time of the load.
    pub now: Timestamp,
}

/// Ask the store what is true.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verify {
    /// Which purchase.
    pub collapse_key: CollapseKey,
}

/// What came of asking the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verified {
    /// What it said; absent when it has to be asked again, since patience lasts.
    #[serde(default)]
    pub verification: Option<Reading>,
    /// After how many milliseconds to ask again; 0 when there is a reading.
    #[serde(default)]
    pub next_query_ms: i64,
    /// Why, for people; never with a secret or a customer's name.
    #[serde(default)]
    pub why: Option<String>,
}

/// Ask to keep a decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Which purchase.
    pub collapse_key: CollapseKey,
    /// The number of this settling.
    pub settling: i64,
    /// The revision that `load` saw.
    pub revision: i64,
    /// The notifications that were loaded.
    pub seqs: Vec<i64>,
    /// What was decided.
    pub decision: Decision,
    /// Whether the decision saw that it was replaced: [`Loaded::is_replaced`].
    #[serde(default)]
    pub is_replaced: bool,
    /// Whether the store was asked before it was decided: [`Loaded::verify`].
    #[serde(default)]
    pub is_queried: bool,
    /// See [`Reading::is_answer`].
    pub is_answer: bool,
    /// See [`Reading::is_real`]; also when its platform has it believed.
    pub is_real: bool,
}

/// What became of a decision.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recorded {
    /// It is kept.
    Done {
        /// The revision that the purchase now has.
        revision: i64,
        /// Its state.
        state: State,
        /// Its open lanes.
        lanes: Vec<Lane>,
    },
    /// The purchase was not as `load` had seen it; nothing was changed.
    Moved,
}

/// Ask to carry out one attempt of a lane, and the next ones while they succeed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deliver {
    /// Which purchase.
    pub collapse_key: CollapseKey,
    /// To whom.
    pub destination_id: DestinationId,
}

/// A lane that has nothing pending, or would like a fresh start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivered {
    /// The newest delivery that the lane's end has seen.
    pub last_seq: i64,
    /// Whether more is pending, so that the lane must be started again.
    pub more: bool,
}

/// Ask to keep a hold, or its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetHold {
    /// Which purchase.
    pub collapse_key: CollapseKey,
    /// For how long from now; absent ends the hold.
    pub for_ms: Option<i64>,
    /// Who asked, and why.
    pub admin: Admin,
}

/// Ask to throw away what waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Discard {
    /// Which purchase.
    pub collapse_key: CollapseKey,
    /// The newest sequence number concerned; all when absent.
    pub through: Option<i64>,
    /// Who asked, and why.
    pub admin: Admin,
}

/// Ask to send the newest state again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Redeliver {
    /// Which purchase.
    pub collapse_key: CollapseKey,
    /// To whom; to every destination when absent.
    pub destination_id: Option<DestinationId>,
    /// What is asked under one name is owed once, however often the activity runs; each time when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
}

/// Ask to look after a destination as a whole: to try its breaker, to deliver what is owed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Supervise {
    /// Which destination.
    pub destination_id: DestinationId,
    /// Whether an open breaker is tried although it is not time.
    #[serde(default)]
    pub is_probe: bool,
}

/// What a look at a destination came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Supervised {
    /// After how many milliseconds to look again; absent when nothing is owed that could be sent.
    pub next_check_ms: Option<i64>,
    /// Why it is to be looked at again.
    pub state: Supervision,
    /// How many deliveries are owed to it, as far as they were counted.
    pub owed: i64,
    /// What a person should know of it; never with a secret.
    pub message: Option<String>,
}

/// What a destination's run has to do with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervision {
    /// Nothing.
    #[default]
    Rest,
    /// Deliver what is owed.
    Drain,
    /// Leave it alone, as it asked.
    Pause,
    /// Wait until its open breaker may be tried.
    Probe,
}

/// Ask to switch a destination on or off.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetEnabled {
    /// Which destination.
    pub destination_id: DestinationId,
    /// Whether it is told anything.
    pub is_enabled: bool,
    /// Whether, switched on, it is told only the newest states: what it is owed of `user.*` ends as skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub newest_only: bool,
    /// Who asked, and why.
    pub admin: Admin,
}

/// A destination is not switched on yet: what must end before is too much for one run of the activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// How many deliveries this run ended.
    pub skipped: i64,
}

/// Ask to try the connection to a destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Test {
    /// Which destination.
    pub destination_id: DestinationId,
    /// Who asked, and why.
    pub admin: Admin,
}

/// What a destination is owed once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RedeliverySelector {
    /// Everything that it did not take.
    #[default]
    Failed,
    /// Every event of a time.
    Range {
        /// From when on.
        from: Timestamp,
        /// Until when, that time itself excluded.
        until: Timestamp,
    },
    /// The newest state of each purchase that it is behind with.
    Behind,
    /// The newest state of each purchase.
    All,
    /// The newest state of these purchases.
    Purchases(Vec<CollapseKey>),
    /// This event.
    Event(EventId),
}

impl RedeliverySelector {
    /// The signal that asks for it.
    #[must_use]
    pub const fn signal(&self) -> &'static str {
        match self {
            Self::Failed | Self::Range { .. } | Self::Event(_) => contract::REDELIVER,
            Self::Behind | Self::All | Self::Purchases(_) => contract::REPLAY,
        }
    }
}

/// Ask to owe a destination something once more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RedeliverAll {
    /// Which destination.
    pub destination_id: DestinationId,
    /// What it is owed.
    #[serde(default)]
    pub selector: RedeliverySelector,
    /// Who asked, and why.
    pub admin: Admin,
    /// Where the last one stopped: [`RedeliveryProgress::next_cursor`].
    #[serde(default)]
    pub cursor: Option<String>,
}

/// What was owed again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RedeliveryProgress {
    /// How many deliveries.
    pub owed: i64,
    /// Where to go on; absent when all was looked at.
    pub next_cursor: Option<String>,
}

/// What a sweep found.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Swept {
    /// How many purchases and destinations it woke.
    pub woken: usize,
    /// Whether more are due.
    pub more: bool,
}

impl From<Hold> for Admin {
    fn from(hold: Hold) -> Self {
        Self { by: hold.by, reason: hold.reason }
    }
}

/// The activities, by name.
pub struct Activities;

#[activity_definitions]
impl Activities {
    /// Read the purchase, what waits for it and its open lanes.
    #[activity(name = "load")]
    pub fn load(input: Load) -> Result<Loaded, ActivityError> {
        unimplemented!()
    }
    /// Ask the store what is true, once.
    #[activity(name = "verify")]
    pub fn verify(input: Verify) -> Result<Verified, ActivityError> {
        unimplemented!()
    }
    /// Keep a decision, in one idempotent transaction.
    #[activity(name = "record")]
    pub fn record(input: Record) -> Result<Recorded, ActivityError> {
        unimplemented!()
    }
    /// Attempt what a lane owes.
    #[activity(name = "deliver")]
    pub fn deliver(input: Deliver) -> Result<Delivered, ActivityError> {
        unimplemented!()
    }
    /// Keep a hold, or its end.
    #[activity(name = "hold")]
    pub fn hold(input: SetHold) -> Result<(), ActivityError> {
        unimplemented!()
    }
    /// Throw away what waits.
    #[activity(name = "discard")]
    pub fn discard(input: Discard) -> Result<i64, ActivityError> {
        unimplemented!()
    }
    /// Send the newest state again.
    #[activity(name = "redeliver")]
    pub fn redeliver(input: Redeliver) -> Result<Vec<Lane>, ActivityError> {
        unimplemented!()
    }
    /// Look after a destination as a whole.
    #[activity(name = "supervise")]
    pub fn supervise(input: Supervise) -> Result<Supervised, ActivityError> {
        unimplemented!()
    }
    /// Switch a destination on or off; nothing when that is done.
    #[activity(name = "set_enabled")]
    pub fn set_enabled(input: SetEnabled) -> Result<Option<Unfinished>, ActivityError> {
        unimplemented!()
    }
    /// Try the connection to a destination; what that showed, for people.
    #[activity(name = "test")]
    pub fn test(input: Test) -> Result<String, ActivityError> {
        unimplemented!()
    }
    /// Owe a destination something once more, for a few seconds; how much that is, and where to go on.
    #[activity(name = "redeliver_all")]
    pub fn redeliver_all(input: RedeliverAll) -> Result<RedeliveryProgress, ActivityError> {
        unimplemented!()
    }
    /// Wake what is overdue.
    #[activity(name = "sweep")]
    pub fn sweep(input: u32) -> Result<Swept, ActivityError> {
        unimplemented!()
    }
}

pub use activities::{
    Deliver as DeliverActivity, Discard as DiscardActivity, Hold as HoldActivity, Load as LoadActivity,
    Record as RecordActivity, Redeliver as RedeliverActivity, RedeliverAll as RedeliverAllActivity,
    SetEnabled as SetEnabledActivity, Supervise as SuperviseActivity, Sweep as SweepActivity, Test as TestActivity,
    Verify as VerifyActivity,
};
