//! The stored data of a purchase's notifications.
//!
//! Adding reports is commutative, associative and idempotent, so neither the order of notifications nor their
//! distribution over settlings matters. What a report means for a purchase is decided in `decide`.

use crate::notification::{Notification, NotificationKind};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Maximum number of stored times of one kind of report. Older ones are only counted.
const MAX_TIMES: usize = 16;

/// One report: its time by the store's clock, and its kind. Equal times are ordered by kind.
pub type Moment = (Timestamp, NotificationKind);

/// The times of the reports of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReportTimes {
    first: Option<Timestamp>,
    /// The newest times, at most [`MAX_TIMES`].
    newest: BTreeSet<Timestamp>,
    /// The number of reports that are older than those in `newest`.
    older: u64,
}

impl ReportTimes {
    /// Adds one time. A time that is already stored changes nothing.
    ///
    /// If the set is full, a time older than all stored ones is counted as a new report. It cannot be determined
    /// whether it was counted before, but the inbox does not pass on duplicate notifications.
    pub fn add(&mut self, time: Timestamp) {
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        if self.newest.insert(time) && self.newest.len() > MAX_TIMES {
            self.newest.pop_first();
            self.older = self.older.saturating_add(1);
        }
    }

    pub const fn first(&self) -> Option<Timestamp> {
        self.first
    }

    pub fn last(&self) -> Option<Timestamp> {
        self.newest.last().copied()
    }

    pub fn times(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.newest.iter().copied()
    }

    pub fn count(&self) -> u64 {
        u64::try_from(self.newest.len())
            .unwrap_or(u64::MAX)
            .saturating_add(self.older)
    }
}

/// A text from the newest report that has one. The order of the fields decides which report is newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct NewestText {
    at: Timestamp,
    kind: NotificationKind,
    message_id: String,
    value: String,
}

impl NewestText {
    /// Replaces the known text by that of a notification, if the notification has one and is newer.
    pub fn update(known: &mut Option<Self>, notification: &Notification, value: Option<&String>) {
        let Some(value) = value else { return };
        let candidate = Self {
            at: notification.store_time,
            kind: notification.kind,
            message_id: notification.message_id.clone(),
            value: value.clone(),
        };
        if known.as_ref().is_none_or(|known| *known < candidate) {
            *known = Some(candidate);
        }
    }

    pub fn value(&self) -> &str {
        &self.value
    }
}
