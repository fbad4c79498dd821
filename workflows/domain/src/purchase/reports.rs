//! What is stored of the notifications of a purchase: small values that grow only by joining.
//!
//! Joining is commutative, associative and idempotent, so that the order and the grouping of notifications cannot
//! matter. What a report means for a purchase is not here.

use crate::notification::{Notification, NotificationKind};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Maximum number of times that are stored of one kind. Older ones are only counted.
const REMEMBERED: usize = 16;

/// One report on the store's time line. Equal times are ordered by the rank of the kind.
pub type Moment = (Timestamp, NotificationKind);

/// The times of the reports of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportTimes {
    /// The earliest time of all.
    first: Option<Timestamp>,
    /// The newest times, at most [`REMEMBERED`].
    newest: BTreeSet<Timestamp>,
    /// The number of times older than those.
    older: u64,
}

impl ReportTimes {
    /// Adds one time; a stored one changes nothing.
    ///
    /// A time older than a full set is counted as a new one: whether it is a repetition cannot be known any more, and
    /// the inbox has folded repetitions before.
    pub fn at(&mut self, time: Timestamp) {
        self.first = Some(self.first.map_or(time, |first| first.min(time)));
        if self.newest.insert(time) && self.newest.len() > REMEMBERED {
            self.newest.pop_first();
            self.older = self.older.saturating_add(1);
        }
    }

    /// The earliest time.
    pub const fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// The newest time.
    pub fn last(&self) -> Option<Timestamp> {
        self.newest.last().copied()
    }

    /// The stored times, oldest first.
    pub fn times(&self) -> impl Iterator<Item = Timestamp> + '_ {
        self.newest.iter().copied()
    }

    /// The number of reports.
    pub fn count(&self) -> u64 {
        u64::try_from(self.newest.len()).unwrap_or(u64::MAX).saturating_add(self.older)
    }
}

/// A text of which the newest report counts. The order of the fields decides what is newest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Register {
    at: Timestamp,
    kind: NotificationKind,
    message_id: String,
    value: String,
}

impl Register {
    /// Joins the text of a notification into what is known of it.
    pub fn join(known: &mut Option<Self>, notification: &Notification, value: Option<&String>) {
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

    /// The text.
    pub fn value(&self) -> &str {
        &self.value
    }
}
