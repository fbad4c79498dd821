//! When settle fetched the keys of pushes.

use domain::Timestamp;
use serde_json::{Value, json};
use std::fmt;
use system_tests::play::{Call, Play};

/// Minimum time between two fetches of the keys in milliseconds: settle's interval, less the time of a request.
const LEAST_INTERVAL_MS: i64 = 29_000;

/// The times of the fetches, oldest first.
pub struct Fetches(Vec<Timestamp>);

impl Fetches {
    pub fn of(fake: &Play) -> Self {
        let exchanges = fake.exchanges().into_iter();
        let keys = exchanges.filter(|one| one.call == Call::Keys);
        Self(keys.map(|one| one.at).collect())
    }

    fn least_interval_ms(&self) -> Option<i64> {
        let pairs = self.0.windows(2);
        pairs.map(|pair| pair[1].millis_since(pair[0])).min()
    }

    pub fn json(&self) -> Value {
        json!({ "count": self.0.len(), "least_interval_ms": self.least_interval_ms() })
    }

    /// Checks that there is at most one fetch per interval.
    ///
    /// # Panics
    /// When there are more.
    pub fn check(&self) {
        let interval = self.least_interval_ms();
        let is_rare = interval.is_none_or(|millis| millis >= LEAST_INTERVAL_MS);
        let times = &self.0;
        assert!(is_rare, "more than one fetch per interval: {times:?}");
    }
}

impl fmt::Display for Fetches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fetches of the keys", self.0.len())?;
        let interval = self.least_interval_ms();
        interval.map_or(Ok(()), |millis| write!(f, ", at least {millis} ms apart,"))
    }
}
