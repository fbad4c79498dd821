//! The contract of the activities: names, inputs and outputs. The package `activities` implements them.
//!
//! No input or output contains a customer identifier or a body, since Temporal's histories store them and many people
//! can read histories.

use crate::signal::{Admin, Hold};
pub use domain::settling::{
    Loaded, MAX_PER_SETTLING, Readiness, Record, Recorded, SettlingMode, SettlingStart,
};
use domain::time::{as_millis, as_optional_millis};
use domain::{
    CollapseKey, DestinationId, Lane, PlatformId, RedeliverySelector, StorePolicy, Verification,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use temporalio_common::ActivityError;
use temporalio_macros::activity_definitions;

/// Input of `settle`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settle {
    pub collapse_key: CollapseKey,
    pub start: SettlingStart,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flushes: Vec<Flush>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flush {
    /// Number of this signal among the flush signals to the run. If an execution is lost and repeated, the repetition
    /// may know further signals, but numbers these the same.
    pub number: u64,
    #[serde(flatten)]
    pub admin: Admin,
}

/// Output of `settle`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settled {
    /// Loaded data. Contains the purchase and its notifications only if the store must be queried before deciding.
    pub loaded: Loaded,
    /// The result of recording, if the activity decided and recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded: Option<Recorded>,
}

/// Input of `verify`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verify {
    pub collapse_key: CollapseKey,
}

/// Output of `verify`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verified {
    /// The result; absent if the store must be queried again.
    #[serde(default)]
    pub verification: Option<Verification>,
    /// The result about a purchase of a store that records name. A release that knows only the first store would decide
    /// without the state that the answer shows; here it finds no result, so that it settles again and is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_named_store: Option<Verification>,
    /// How long until the next query; zero if there is a result.
    #[serde(rename = "next_query_ms", with = "as_millis", default)]
    pub next_query_in: Duration,
    /// Why the store must be queried again, for people; without secrets and customer identifiers.
    #[serde(default)]
    pub why: Option<String>,
}

impl Verified {
    /// Returns the result of querying a store.
    pub fn of(policy: StorePolicy, verification: Verification) -> Self {
        let (verification, of_named_store) = if policy.is_unnamed() {
            (Some(verification), None)
        } else {
            (None, Some(verification))
        };
        Self {
            verification,
            of_named_store,
            next_query_in: Duration::ZERO,
            why: None,
        }
    }

    /// Returns the output after a query without a result, for people with the reason.
    pub const fn again_in(wait: Duration, why: String) -> Self {
        Self {
            verification: None,
            of_named_store: None,
            next_query_in: wait,
            why: Some(why),
        }
    }

    /// Returns the result of the query; `None` if the store must be queried again.
    pub fn result(&self) -> Option<&Verification> {
        self.verification.as_ref().or(self.of_named_store.as_ref())
    }
}

/// Input of `deliver`: attempts the deliveries of a lane, one after another, as long as they succeed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Deliver {
    pub collapse_key: CollapseKey,
    pub destination_id: DestinationId,
}

/// Output of `deliver`: whether the lane is done in this run or must be started again. It is also done if the
/// deliveries that are still pending are left to the destination's run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Delivered {
    /// Sequence number of the newest delivery that storage saw when the lane was done; 0 if `more`.
    pub last_seq: i64,
    /// Whether this run must start the lane again, since it still has deliveries to attempt.
    pub more: bool,
}

/// Input of the activity `hold`: sets or ends a hold.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetHold {
    pub collapse_key: CollapseKey,
    /// How long the hold lasts from now; absent to end the hold.
    #[serde(rename = "for_ms", with = "as_optional_millis", default)]
    pub duration: Option<Duration>,
    pub admin: Admin,
}

/// Input of `discard`: ends the waiting notifications without settling them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Discard {
    pub collapse_key: CollapseKey,
    /// The newest sequence number to discard; absent to discard all.
    pub through: Option<i64>,
    pub admin: Admin,
}

/// Input of `redeliver`: sends the latest state of a purchase again, and its `user.*` events whose delivery failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Redeliver {
    pub collapse_key: CollapseKey,
    pub destination_id: Option<DestinationId>,
    /// Idempotency key: runs of the activity with the same key redeliver only once. Without a key, each run redelivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
    #[serde(default)]
    pub admin: Admin,
}

/// Input of `supervise`: probes a destination's open breaker and delivers its pending lanes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Supervise {
    pub destination_id: DestinationId,
    /// Whether to probe an open breaker at once, even if the next probe is not due.
    #[serde(default)]
    pub is_probe: bool,
}

/// Output of `supervise`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Supervised {
    /// How long until the next `supervise`; absent if nothing that may be sent is pending for the destination.
    #[serde(rename = "next_check_ms", with = "as_optional_millis")]
    pub next_check_in: Option<Duration>,
    /// What the destination's run does until then.
    pub state: Supervision,
    /// Number of deliveries pending for the destination, up to the counting limit.
    pub pending: i64,
    /// The last error, for people; without secrets.
    pub message: Option<String>,
}

/// The next action of a destination's run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Supervision {
    #[default]
    Rest,
    Drain,
    /// Send nothing until the pause that the destination requested is over.
    Pause,
    /// Wait until the destination's open breaker may be probed.
    Probe,
}

/// Input of `set_enabled`: enables or disables a destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SetEnabled {
    pub destination_id: DestinationId,
    pub is_enabled: bool,
    /// Whether an enabled destination receives only the latest states: its pending `user.*` deliveries are skipped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub newest_only: bool,
    pub admin: Admin,
}

/// Output of `set_enabled` if the destination is not enabled yet: one run of the activity could not skip all pending
/// deliveries, so another run must follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// Number of deliveries that this run skipped.
    pub skipped: i64,
}

/// Input of `test`: tests the connection to a destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Test {
    pub destination_id: DestinationId,
    pub admin: Admin,
}

/// Input of `redeliver_all`: sends events to a destination again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RedeliverAll {
    pub destination_id: DestinationId,
    #[serde(default)]
    pub selector: RedeliverySelector,
    pub admin: Admin,
    /// The [`RedeliveryProgress::next_cursor`] of the previous run of the activity.
    #[serde(default)]
    pub cursor: Option<String>,
}

/// Output of `redeliver_all`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RedeliveryProgress {
    /// Number of deliveries that this run of the activity created.
    pub pending: i64,
    /// Where to continue; absent at the end.
    pub next_cursor: Option<String>,
}

/// Output of `sweep`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Swept {
    /// Number of purchases and destinations that the sweep woke.
    pub woken: usize,
    pub more: bool,
}

/// Input of `stream`: delivers device events to a destination.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stream {
    pub destination_id: DestinationId,
}

/// Output of `stream`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Streamed {
    /// Number of events that the activity delivered.
    pub delivered: usize,
    /// Whether nothing was pending for a while.
    pub is_idle: bool,
}

/// Input of `verify_claims`: verifies the claims of the devices on a platform.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct VerifyClaims {
    pub platform_id: PlatformId,
    /// The network that had the last turn, as a keyed hash; empty before the first turn.
    #[serde(default)]
    pub network: String,
}

/// Output of `verify_claims`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VerifiedClaims {
    /// Number of claims that the activity checked.
    pub examined: usize,
    /// Whether no further check is due soon.
    pub is_idle: bool,
    /// The network that had the last turn.
    pub network: String,
}

impl From<Hold> for Admin {
    fn from(hold: Hold) -> Self {
        hold.admin
    }
}

/// The activities, by name. Only their signatures count: the macro requires bodies, but the package `activities`
/// contains the implementations.
pub struct Activities;

#[activity_definitions]
impl Activities {
    /// Loads the purchase, its waiting notifications and its open lanes. Decides and records, unless the store must be
    /// queried first or nothing is to be settled now.
    #[activity(name = "settle")]
    pub fn settle(input: Settle) -> Result<Settled, ActivityError> {
        unimplemented!()
    }
    /// Queries the store once.
    #[activity(name = "verify")]
    pub fn verify(input: Verify) -> Result<Verified, ActivityError> {
        unimplemented!()
    }
    /// Records a decision of the workflow in one idempotent transaction.
    #[activity(name = "record")]
    pub fn record(input: Record) -> Result<Recorded, ActivityError> {
        unimplemented!()
    }
    /// Attempts the deliveries of a lane.
    #[activity(name = "deliver")]
    pub fn deliver(input: Deliver) -> Result<Delivered, ActivityError> {
        unimplemented!()
    }
    /// Sets or ends a hold.
    #[activity(name = "hold")]
    pub fn hold(input: SetHold) -> Result<(), ActivityError> {
        unimplemented!()
    }
    /// Discards the waiting notifications. Returns their number.
    #[activity(name = "discard")]
    pub fn discard(input: Discard) -> Result<i64, ActivityError> {
        unimplemented!()
    }
    /// Sends the latest state and the failed `user.*` events of a purchase again. Returns the opened lanes.
    #[activity(name = "redeliver")]
    pub fn redeliver(input: Redeliver) -> Result<Vec<Lane>, ActivityError> {
        unimplemented!()
    }
    /// Probes a destination's breaker and delivers its pending lanes.
    #[activity(name = "supervise")]
    pub fn supervise(input: Supervise) -> Result<Supervised, ActivityError> {
        unimplemented!()
    }
    /// Enables or disables a destination. Returns `None` when done.
    #[activity(name = "set_enabled")]
    pub fn set_enabled(input: SetEnabled) -> Result<Option<Unfinished>, ActivityError> {
        unimplemented!()
    }
    /// Tests the connection to a destination. Returns the result for people.
    #[activity(name = "test")]
    pub fn test(input: Test) -> Result<String, ActivityError> {
        unimplemented!()
    }
    /// Creates redeliveries for a few seconds. Returns how many, and the cursor from which to continue.
    #[activity(name = "redeliver_all")]
    pub fn redeliver_all(input: RedeliverAll) -> Result<RedeliveryProgress, ActivityError> {
        unimplemented!()
    }
    /// Delivers device events to a destination.
    #[activity(name = "stream")]
    pub fn stream(input: Stream) -> Result<Streamed, ActivityError> {
        unimplemented!()
    }
    /// Verifies the claims of the devices on a platform.
    #[activity(name = "verify_claims")]
    pub fn verify_claims(input: VerifyClaims) -> Result<VerifiedClaims, ActivityError> {
        unimplemented!()
    }
    /// Wakes overdue purchases and destinations.
    #[activity(name = "sweep")]
    pub fn sweep(input: u32) -> Result<Swept, ActivityError> {
        unimplemented!()
    }
}

pub use activities::{
    Deliver as DeliverActivity, Discard as DiscardActivity, Hold as HoldActivity,
    Record as RecordActivity, Redeliver as RedeliverActivity, RedeliverAll as RedeliverAllActivity,
    SetEnabled as SetEnabledActivity, Settle as SettleActivity, Stream as StreamActivity,
    Supervise as SuperviseActivity, Sweep as SweepActivity, Test as TestActivity,
    Verify as VerifyActivity, VerifyClaims as VerifyClaimsActivity,
};
