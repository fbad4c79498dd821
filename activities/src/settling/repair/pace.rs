//! The pace of a repair's requests, which leaves most of a platform's rate to the verification of purchases.

use protocols::stores::Bucket;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Each kind of repair uses one part in this many of a bucket's rate.
const SHARE: u32 = 10;

/// Spaces the requests of a run evenly.
#[derive(Debug, Default)]
pub struct Pace {
    /// The earliest time of the next request.
    next: Option<Instant>,
}

impl Pace {
    /// Waits for the turn of a request in this bucket.
    pub async fn wait(&mut self, bucket: Bucket) {
        sleep_until(self.reserve(bucket, Instant::now())).await;
    }

    /// Returns the time of a request in this bucket.
    fn reserve(&mut self, bucket: Bucket, now: Instant) -> Instant {
        let at = self.next.map_or(now, |next| next.max(now));
        self.next = Some(at + Duration::from_secs(1) * SHARE / bucket.per_second.max(1));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_kinds_of_repairs_use_a_fifth_of_the_rate() {
        let bucket = Bucket {
            name: "orders",
            per_second: 40,
        };
        let (mut pace, now) = (Pace::default(), Instant::now());
        let times = [(); 5].map(|()| pace.reserve(bucket, now).duration_since(now).as_millis());
        assert_eq!(times, [0, 250, 500, 750, 1_000]);
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.reserve(bucket, later), later);
    }
}
