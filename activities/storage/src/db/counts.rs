//! Counts that this process has not yet written to the database: occurrences per minute, for charts, and answers to
//! each platform's store. Counting locks a small map and never waits for the database. The counts are lost if the
//! process ends before it writes them.

use crate::statement::stored;
use domain::{AppId, DestinationId, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The length of a minute, in microseconds.
pub const MINUTE_MICROS: i64 = 60_000_000;
/// Maximum number of entries in memory. Counts that would need another one are dropped; that happens only while the
/// database does not respond.
const MAX_UNWRITTEN: usize = 10_000;

stored! {
    /// Kinds of counts per minute.
    #[derive(PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    #[schemars(inline)]
    pub enum Series {
        /// Notifications stored in the inbox.
        Accepted = "accepted",
        /// Messages from stores that were refused.
        Refused = "refused",
        /// Settled purchases, with the delay after the end of their windows.
        Lag = "lag",
        /// Attempts that delivered an event.
        Delivered = "delivered",
        /// Attempts that failed.
        Failed = "failed",
        /// Requests that a destination answered, with their duration.
        Latency = "latency",
        /// Temporal actions, as billed by Temporal Cloud.
        Actions = "actions",
        /// Temporal actions for purchases.
        PurchaseActions = "purchase_actions",
    }
}

pub const SERIES: [Series; 8] = [
    Series::Accepted,
    Series::Refused,
    Series::Lag,
    Series::Delivered,
    Series::Failed,
    Series::Latency,
    Series::Actions,
    Series::PurchaseActions,
];

/// Key of a count: what was counted, in which minute, and for which app and destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinuteKey {
    pub series: Series,
    pub at: Timestamp,
    /// Id of the app, if known.
    pub app: Option<AppId>,
    /// Id of the destination, if there is one.
    pub destination: Option<DestinationId>,
}

/// Number of occurrences, with their total and longest duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    pub times: i64,
    pub total_ms: i64,
    pub longest_ms: i64,
}

impl Sum {
    /// Returns one occurrence with this duration, which is zero for an occurrence without a duration.
    pub fn one(took: Duration) -> Self {
        let milliseconds = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
        Self {
            times: 1,
            total_ms: milliseconds,
            longest_ms: milliseconds,
        }
    }

    pub fn add(&mut self, other: Self) {
        self.times = self.times.saturating_add(other.times);
        self.total_ms = self.total_ms.saturating_add(other.total_ms);
        self.longest_ms = self.longest_ms.max(other.longest_ms);
    }
}

/// Equal answers to a platform's store: their number and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub times: i64,
    /// Time of the first of them.
    pub first_at: Timestamp,
    /// Time of the last of them.
    pub last_at: Timestamp,
}

/// A platform, and the reason why a message was refused; an empty reason if it was accepted.
pub type ArrivalKey = (PlatformId, &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counted {
    /// Id of the app, if known.
    pub app: Option<AppId>,
    /// Id of the destination, if there is one.
    pub destination: Option<DestinationId>,
}

impl From<AppId> for Counted {
    fn from(app: AppId) -> Self {
        Self {
            app: Some(app),
            destination: None,
        }
    }
}

#[derive(Debug, Default)]
pub struct Counts {
    minutes: Mutex<BTreeMap<MinuteKey, Sum>>,
    arrivals: Mutex<BTreeMap<ArrivalKey, Arrival>>,
    /// For each series: the end of the latest roll-up into hours, and the time before which nothing was left to do.
    rolled_up: Mutex<BTreeMap<Series, (Timestamp, Timestamp)>>,
}

impl Counts {
    pub fn add(&self, key: MinuteKey, sum: Sum) {
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        if minutes.len() < MAX_UNWRITTEN || minutes.contains_key(&key) {
            minutes.entry(key).or_default().add(sum);
        }
    }

    /// Adds answers to the equal ones that were counted before.
    pub fn add_arrival(&self, key: ArrivalKey, arrival: Arrival) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.len() < MAX_UNWRITTEN || arrivals.contains_key(&key) {
            let known = arrivals.entry(key).or_insert(Arrival {
                times: 0,
                ..arrival
            });
            known.times = known.times.saturating_add(arrival.times);
            known.first_at = known.first_at.min(arrival.first_at);
            known.last_at = known.last_at.max(arrival.last_at);
        }
    }

    /// Removes and returns the minutes, in order of their keys.
    pub fn take_minutes(&self) -> BTreeMap<MinuteKey, Sum> {
        std::mem::take(&mut *self.minutes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Removes and returns the answers, in order of their keys.
    pub fn take_arrivals(&self) -> BTreeMap<ArrivalKey, Arrival> {
        std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the time before which a series is known to be rolled up, for a roll-up of everything before `end`. With
    /// a new `end`, nothing is known, because earlier minutes may have been counted late.
    pub fn rolled_up(&self, series: Series, end: Timestamp) -> Timestamp {
        let rolled_up = self
            .rolled_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rolled_up
            .get(&series)
            .filter(|known| known.0 == end)
            .map_or(Timestamp::from_micros(0), |known| known.1)
    }

    pub fn note_rolled_up(&self, series: Series, end: Timestamp, until: Timestamp) {
        self.rolled_up
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(series, (end, until));
    }

    /// Returns the minutes that are not written yet, without removing them.
    pub fn minutes(&self) -> BTreeMap<MinuteKey, Sum> {
        self.minutes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Returns the beginning of the minute that contains a time.
pub fn minute(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(MINUTE_MICROS) * MINUTE_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(minute: i64) -> MinuteKey {
        let at = Timestamp::from_micros(minute * MINUTE_MICROS);
        MinuteKey {
            series: Series::Lag,
            at,
            app: None,
            destination: None,
        }
    }

    #[test]
    fn counts_of_one_minute_share_one_entry() {
        let counts = Counts::default();
        for took in [5, 20, 10] {
            counts.add(key(1), Sum::one(Duration::from_millis(took)));
        }
        counts.add(key(2), Sum::one(Duration::ZERO));
        let minutes = counts.take_minutes();
        assert_eq!(
            minutes[&key(1)],
            Sum {
                times: 3,
                total_ms: 35,
                longest_ms: 20
            }
        );
        assert_eq!(minutes.len(), 2);
        assert!(counts.take_minutes().is_empty());
    }

    #[test]
    fn memory_is_bounded_while_nothing_is_written() {
        let counts = Counts::default();
        let most = i64::try_from(MAX_UNWRITTEN).unwrap();
        for number in 0..most + 5 {
            counts.add(key(number), Sum::one(Duration::ZERO));
        }
        counts.add(key(0), Sum::one(Duration::ZERO));
        let minutes = counts.take_minutes();
        assert_eq!((minutes.len(), minutes[&key(0)].times), (MAX_UNWRITTEN, 2));
    }

    #[test]
    fn a_minute_begins_at_its_first_second() {
        let at = Timestamp::from_micros(7 * MINUTE_MICROS + 59_999_999);
        assert_eq!(minute(at), Timestamp::from_micros(7 * MINUTE_MICROS));
    }
}
