//! The rate limit of requests to stores: evenly spaced per platform, and paused while the store throttles us. The limit
//! holds per process: the rates of several workers add up.

use domain::PlatformId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum wait for a permit. A query that would wait longer gets no permit and is repeated later.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// Bounds of a pause, whether or not the store sent a `Retry-After`.
const PAUSE_BOUNDS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(300);

/// Whether and when a platform's store may be queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// At this time, [`MAX_WAIT`] from now at the latest.
    At(Instant),
    /// Not within [`MAX_WAIT`]: other queries come first.
    Later,
    /// Not before this time: the store throttles us.
    Paused(Instant),
}

/// The rate limit of one process.
#[derive(Debug)]
pub struct StoreRate {
    per_second: u32,
    interval: Duration,
    platforms: Mutex<HashMap<PlatformId, Platform>>,
}

/// An answer by which a store throttles us.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    pub at: Instant,
    /// The store's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// A random number from 0 to 1, which spreads a pause without a `Retry-After`.
    pub jitter: f64,
}

#[derive(Debug, Default)]
struct Platform {
    /// The earliest time of the next query.
    next: Option<Instant>,
    paused_until: Option<Instant>,
    /// Number of consecutive throttles without a `Retry-After`.
    doublings: u32,
}

impl StoreRate {
    /// A limit of `per_second` queries a second per platform.
    pub fn new(per_second: u32) -> Self {
        let per_second = per_second.max(1);
        Self {
            per_second,
            interval: Duration::from_secs(1) / per_second,
            platforms: Mutex::default(),
        }
    }

    /// The number of queries a second per platform.
    pub const fn per_second(&self) -> u32 {
        self.per_second
    }

    /// Reserves the next permit. An unused permit is lost.
    pub fn reserve(&self, platform: PlatformId, now: Instant) -> Permit {
        let mut platforms = self.platforms();
        let platform = platforms.entry(platform).or_default();
        if let Some(until) = platform.paused_until.filter(|until| *until > now) {
            return Permit::Paused(until);
        }
        let at = platform.next.map_or(now, |next| next.max(now));
        if at.duration_since(now) > MAX_WAIT {
            return Permit::Later;
        }
        platform.next = Some(at + self.interval);
        Permit::At(at)
    }

    /// Pauses a platform: for the store's `Retry-After`, or for a time that doubles with each consecutive throttle.
    /// Returns the end of the pause.
    pub fn pause(&self, platform: PlatformId, throttle: Throttle) -> Instant {
        let mut platforms = self.platforms();
        let platform = platforms.entry(platform).or_default();
        let pause = throttle.retry_after.unwrap_or_else(|| {
            let doubled = Duration::from_secs(2_u64 << platform.doublings.min(7));
            platform.doublings = platform.doublings.saturating_add(1);
            doubled.mul_f64(0.5 + throttle.jitter.clamp(0.0, 1.0))
        });
        let until = throttle.at + pause.clamp(*PAUSE_BOUNDS.start(), *PAUSE_BOUNDS.end());
        platform.paused_until = Some(until);
        until
    }

    /// Resets the doubling of pauses, since the store answered.
    pub fn answered(&self, platform: PlatformId) {
        if let Some(platform) = self.platforms().get_mut(&platform) {
            platform.doublings = 0;
        }
    }

    fn platforms(&self) -> MutexGuard<'_, HashMap<PlatformId, Platform>> {
        self.platforms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(number: u8) -> PlatformId {
        PlatformId::new(uuid::Uuid::from_bytes([number; 16]))
    }

    #[tokio::test]
    async fn permits_are_spread_evenly_and_wait_two_seconds_at_most() {
        let (rate, now) = (StoreRate::new(10), Instant::now());
        for place in 0..=20 {
            assert_eq!(
                rate.reserve(platform(1), now),
                Permit::At(now + Duration::from_millis(100 * place))
            );
        }
        assert_eq!(rate.reserve(platform(1), now), Permit::Later);
        assert_eq!(
            rate.reserve(platform(2), now),
            Permit::At(now),
            "another platform has its own rate"
        );
        let later = now + Duration::from_secs(60);
        assert_eq!(
            rate.reserve(platform(1), later),
            Permit::At(later),
            "unused permits are not saved up"
        );
        assert_eq!(
            rate.reserve(platform(1), later),
            Permit::At(later + Duration::from_millis(100))
        );
    }

    #[tokio::test]
    async fn a_pause_holds_for_one_platform_alone() {
        let (rate, now) = (StoreRate::new(10), Instant::now());
        let throttle = Throttle {
            at: now,
            retry_after: Some(Duration::from_secs(7)),
            jitter: 0.5,
        };
        let until = rate.pause(platform(1), throttle);
        assert_eq!(until, now + Duration::from_secs(7));
        assert_eq!(
            rate.reserve(platform(1), now + Duration::from_secs(6)),
            Permit::Paused(until)
        );
        assert_eq!(rate.reserve(platform(1), until), Permit::At(until));
        assert_eq!(rate.reserve(platform(2), now), Permit::At(now));
    }

    #[tokio::test]
    async fn a_pause_is_bounded_and_doubles_without_a_retry_after() {
        let (rate, now) = (StoreRate::new(10), Instant::now());
        let throttle = |retry_after| Throttle {
            at: now,
            retry_after,
            jitter: 0.5,
        };
        let pause = |retry_after| {
            rate.pause(platform(1), throttle(retry_after))
                .duration_since(now)
                .as_secs()
        };
        assert_eq!(pause(Some(Duration::ZERO)), 1);
        assert_eq!(pause(Some(Duration::MAX / 4)), 300);
        assert_eq!(
            [(); 9].map(|()| pause(None)),
            [2, 4, 8, 16, 32, 64, 128, 256, 256]
        );
        rate.answered(platform(1));
        assert_eq!(pause(None), 2);
    }
}
