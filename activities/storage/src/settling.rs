//! Settling: what is loaded before a decision and how the decision is recorded, once.

use crate::{Error, Store};
use domain::{AppId, CollapseKey, Decision, Environment, Lane, Notification, PlatformId, Purchase, State, Timestamp};

/// Everything that a settling needs to know of a purchase.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// Whether anything is known of it: a purchase row, or a notification.
    pub known: bool,
    /// Whether it is real.
    pub environment: Environment,
    /// Its platform, when it is known.
    pub platform_id: Option<PlatformId>,
    /// Its app, when it is known.
    pub app_id: Option<AppId>,
    /// The store's name of it, when it is known.
    pub receipt_id: Option<String>,
    /// What we know of it.
    pub purchase: Purchase,
    /// Its revision; 0 before the first.
    pub revision: i64,
    /// The number of its last settling; 0 before the first.
    pub settling: i64,
    /// Open notifications, by sequence number, at most as many as asked for.
    pub notifications: Vec<(i64, Notification)>,
    /// Whether there are more of them.
    pub more: bool,
    /// The newest open sequence number, or 0.
    pub newest_seq: i64,
    /// Milliseconds for which the youngest row above `through` still has to be quiet, or 0.
    pub quiet_ms: i64,
    /// Milliseconds until the longest wait of the oldest open row is over, when the platform has one.
    pub cap_ms: Option<i64>,
    /// The platform's window in milliseconds.
    pub window_ms: i64,
    /// Milliseconds for which a hold still lasts.
    pub held_ms: Option<i64>,
    /// The lanes that are open.
    pub lanes: Vec<Lane>,
    /// The trace of the oldest open notification.
    pub traceparent: Option<String>,
    /// Now, by the clock that stamps rows.
    pub now: Timestamp,
}

/// A decision that is to be recorded.
#[derive(Debug, Clone)]
pub struct Record {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// The settling's number: [`Loaded::settling`] + 1.
    pub settling: i64,
    /// The revision that the decision saw.
    pub revision: i64,
    /// The notifications that the decision saw.
    pub seqs: Vec<i64>,
    /// The decision.
    pub decision: Decision,
    /// The trace that the event and its deliveries belong to.
    pub traceparent: Option<String>,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is recorded, now or by an earlier attempt.
    Done {
        /// The purchase's revision.
        revision: i64,
        /// Its state.
        state: State,
        /// The lanes that are open.
        lanes: Vec<Lane>,
        /// Whether this settling raised the revision.
        changed: bool,
    },
    /// The purchase is not as the decision saw it. Nothing changed; load again.
    Moved,
}

impl Store {
    /// Loads a purchase for settling. Open rows at or below `through` are never waited for again.
    pub async fn load(&self, key: CollapseKey, through: i64, limit: i64) -> Result<Loaded, Error> {
        todo!()
    }

    /// Records a decision in one transaction, idempotent by settling number and notifications.
    pub async fn record(&self, record: Record) -> Result<Recorded, Error> {
        todo!()
    }
}
