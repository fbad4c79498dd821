//! What a workflow may ask of the outside world. Declared here, done in the package `activities`.
//!
//! Nothing that is asked or answered holds a customer identifier or a body: histories are read by many.

use crate::contract;
use crate::signal::{Admin, Hold};
use domain::{
    AppId, CollapseKey, Decision, DestinationId, EventId, Lane, Notification, PlatformId, Purchase, State, Timestamp,
    Verification,
};
use serde::{Deserialize, Serialize};
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

/// How many notifications one settling takes.
pub const SETTLE_AT_MOST: i64 = 500;

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
    /// What waits, at most [`SETTLE_AT_MOST`], without customer identifiers.
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
    pub verification: Option<Verification>,
    /// After how many milliseconds to ask again; 0 when there is a reading.
    #[serde(default)]
    pub again_ms: i64,
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
    pub asked: bool,
    /// See [`Verification::is_answer`].
    pub is_answer: bool,
    /// See [`Verification::is_real`]; also when its platform has it believed.
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
pub struct KeepHold {
    /// Which purchase.
    pub collapse_key: CollapseKey,
    /// For how long from now; absent ends the hold.
    pub for_ms: Option<i64>,
    /// Who asked, and why.
    pub asked: Admin,
}

/// Ask to throw away what waits.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ThrowAway {
    /// Which purchase.
    pub collapse_key: CollapseKey,
    /// The newest sequence number concerned; all when absent.
    pub through: Option<i64>,
    /// Who asked, and why.
    pub asked: Admin,
}

/// Ask to send the newest state again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendAgain {
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
pub struct Tend {
    /// Which destination.
    pub destination_id: DestinationId,
    /// Whether an open breaker is tried although it is not time.
    #[serde(default)]
    pub is_probe: bool,
}

/// What a look at a destination came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tended {
    /// After how many milliseconds to look again; absent when nothing is owed that could be sent.
    pub again_ms: Option<i64>,
    /// Why it is to be looked at again.
    pub state: Tending,
    /// How many deliveries are owed to it, as far as they were counted.
    pub owed: i64,
    /// What a person should know of it; never with a secret.
    pub said: Option<String>,
}

/// What a destination's run has to do with it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tending {
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
    pub asked: Admin,
}

/// A destination is not switched on yet: what must end before is too much for one run of the activity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// How many deliveries this run ended.
    pub ended: i64,
}

/// Ask to try the connection to a destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Test {
    /// Which destination.
    pub destination_id: DestinationId,
    /// Who asked, and why.
    pub asked: Admin,
}

/// What a destination is owed once more.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
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
    These(Vec<CollapseKey>),
    /// This event.
    Event(EventId),
}

impl Again {
    /// The signal that asks for it.
    #[must_use]
    pub const fn signal(&self) -> &'static str {
        match self {
            Self::Failed | Self::Range { .. } | Self::Event(_) => contract::REDELIVER,
            Self::Behind | Self::All | Self::These(_) => contract::REPLAY,
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
    pub what: Again,
    /// Who asked, and why.
    pub asked: Admin,
    /// Where the last one stopped: [`OwedAgain::next_cursor`].
    #[serde(default)]
    pub cursor: Option<String>,
}

/// What was owed again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct OwedAgain {
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
pub struct Asks;

#[activity_definitions]
impl Asks {
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
    pub fn hold(input: KeepHold) -> Result<(), ActivityError> {
        unimplemented!()
    }
    /// Throw away what waits.
    #[activity(name = "discard")]
    pub fn discard(input: ThrowAway) -> Result<i64, ActivityError> {
        unimplemented!()
    }
    /// Send the newest state again.
    #[activity(name = "redeliver")]
    pub fn redeliver(input: SendAgain) -> Result<Vec<Lane>, ActivityError> {
        unimplemented!()
    }
    /// Look after a destination as a whole.
    #[activity(name = "tend")]
    pub fn tend(input: Tend) -> Result<Tended, ActivityError> {
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
    pub fn redeliver_all(input: RedeliverAll) -> Result<OwedAgain, ActivityError> {
        unimplemented!()
    }
    /// Wake what is overdue.
    #[activity(name = "sweep")]
    pub fn sweep(input: u32) -> Result<Swept, ActivityError> {
        unimplemented!()
    }
}

pub use asks::{
    Deliver as DeliverActivity, Discard as DiscardActivity, Hold as HoldActivity, Load as LoadActivity,
    Record as RecordActivity, Redeliver as RedeliverActivity, RedeliverAll as RedeliverAllActivity,
    SetEnabled as SetEnabledActivity, Sweep as SweepActivity, Tend as TendActivity, Test as TestActivity,
    Verify as VerifyActivity,
};
