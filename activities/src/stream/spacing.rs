//! The times of the requests of a stream.

use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Spaces the requests of a destination that has a rate: a stream takes half of it, whatever purchases take.
pub struct Spacing {
    rate: Option<i64>,
    interval: Duration,
    next: Mutex<Instant>,
}

impl Spacing {
    /// For this rate, without a limit where there is none.
    pub fn of(rate: Option<i64>) -> Self {
        let per_second = rate.and_then(|rate| u32::try_from(rate).ok()).filter(|rate| *rate > 0);
        let interval = per_second.map_or(Duration::ZERO, |rate| Duration::from_secs(2) / rate);
        Self { rate, interval, next: Mutex::new(Instant::now()) }
    }

    /// Takes another rate over.
    pub fn follow(&mut self, rate: Option<i64>) {
        if self.rate != rate {
            *self = Self::of(rate);
        }
    }

    /// The time of the next place; `None` if there is none until `latest`.
    pub async fn take(&self, now: Instant, latest: Instant) -> Option<Instant> {
        let mut next = self.next.lock().await;
        let place = (*next).max(now);
        (place <= latest).then(|| {
            *next = place + self.interval;
            place
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn requests_take_half_of_the_rate_over_all_pages() {
        let began = Instant::now();
        let latest = began + Duration::from_secs(1);
        let mut spacing = Spacing::of(Some(20));
        let mut places = Vec::new();
        for _ in 0..20 {
            spacing.follow(Some(20));
            places.extend(spacing.take(began, latest).await);
        }
        assert!((10..=11).contains(&places.len()), "ten a second, and none after the last start: {}", places.len());
        let later = began + Duration::from_secs(2);
        assert_eq!(spacing.take(later, later).await, Some(later), "what was not taken is free");
        spacing.follow(None);
        assert_eq!(spacing.take(began, later).await, spacing.take(began, later).await);
    }
}
