//! Counts of requests to a destination for charts, recorded alongside the metrics.

use std::time::Duration;
use storage::{Counted, Destination, Series, Store};

#[derive(Clone, Copy)]
pub struct Counts<'a> {
    /// The database, to which the counts are written once a minute.
    pub store: &'a Store,
    pub destination: &'a Destination,
}

impl Counts<'_> {
    /// Counts a request that was answered after `latency`.
    pub fn request(self, latency: Duration) {
        self.store.count_timed(Series::Latency, self.of(), latency);
    }

    /// Counts an attempt to deliver one event.
    pub fn attempt(self, is_delivered: bool) {
        self.store.count(
            if is_delivered {
                Series::Delivered
            } else {
                Series::Failed
            },
            self.of(),
        );
    }

    fn of(self) -> Counted {
        Counted {
            app: Some(self.destination.app_id),
            destination: Some(self.destination.id),
        }
    }
}
