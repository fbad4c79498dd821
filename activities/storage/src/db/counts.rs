//! What this process counted since its last write: minutes for charts, and responses to each platform's store. Counting
//! locks a small map and never waits for the database. Counts that are not written yet are lost with the process.

use crate::statement::stored;
use domain::{AppId, DestinationId, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The length of a minute, in microseconds.
pub const MINUTE_MICROS: i64 = 60_000_000;
/// Maximum number of entries that wait to be written: what comes beyond, while the database does not answer, is not
/// counted.
const MAX_WAITING: usize = 10_000;

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

/// Key of a count. Empty texts stand for no app and no destination.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MinuteKey {
    pub series: Series,
    pub at: Timestamp,
    /// Id of the app, if known.
    pub app: Option<AppId>,
    /// Id of the destination, if there is one.
    pub destination: Option<DestinationId>,
}

/// A number of things, and how long they took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sum {
    pub times: i64,
    pub total_ms: i64,
    pub longest_ms: i64,
}

impl Sum {
    /// One that took this long; zero for what takes no time.
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

/// The answers of one kind to a platform's store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    pub times: i64,
    /// The first and the last of them.
    pub first_at: Timestamp,
    /// See `first_at`.
    pub last_at: Timestamp,
}

/// A platform and the reason of a refusal; empty for what was accepted.
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
    /// For each series, the end of the counts to be rolled up to hours, and until when this process found all rolled
    /// up.
    rolled_up: Mutex<BTreeMap<Series, (Timestamp, Timestamp)>>,
}

impl Counts {
    pub fn add(&self, key: MinuteKey, sum: Sum) {
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        if minutes.len() < MAX_WAITING || minutes.contains_key(&key) {
            minutes.entry(key).or_default().add(sum);
        }
    }

    /// Adds to the answers of one kind.
    pub fn add_arrival(&self, key: ArrivalKey, arrival: Arrival) {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.len() < MAX_WAITING || arrivals.contains_key(&key) {
            let known = arrivals.entry(key).or_insert(Arrival {
                times: 0,
                ..arrival
            });
            known.times = known.times.saturating_add(arrival.times);
            known.first_at = known.first_at.min(arrival.first_at);
            known.last_at = known.last_at.max(arrival.last_at);
        }
    }

    /// Takes the minutes out, in order of their keys.
    pub fn take_minutes(&self) -> BTreeMap<MinuteKey, Sum> {
        std::mem::take(&mut *self.minutes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the answers out, in order of their keys.
    pub fn take_arrivals(&self) -> BTreeMap<ArrivalKey, Arrival> {
        std::mem::take(&mut *self.arrivals.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Until when a series is rolled up as far as this process knows, if all before `end` is to be. For another end it
    /// looks again from the beginning: something may have been counted late.
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

    /// The minutes that wait, without taking them out.
    pub fn minutes(&self) -> BTreeMap<MinuteKey, Sum> {
        self.minutes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The beginning of the minute of a time.
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
    fn what_is_counted_in_one_minute_is_one_entry() {
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
        let most = i64::try_from(MAX_WAITING).unwrap();
        for number in 0..most + 5 {
            counts.add(key(number), Sum::one(Duration::ZERO));
        }
        counts.add(key(0), Sum::one(Duration::ZERO));
        let minutes = counts.take_minutes();
        assert_eq!((minutes.len(), minutes[&key(0)].times), (MAX_WAITING, 2));
    }

    #[test]
    fn a_minute_begins_at_its_first_second() {
        let at = Timestamp::from_micros(7 * MINUTE_MICROS + 59_999_999);
        assert_eq!(minute(at), Timestamp::from_micros(7 * MINUTE_MICROS));
    }
}
