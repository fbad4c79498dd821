//! The rate limit of requests to stores: evenly spaced for each platform and bucket, and paused while the store
//! throttles settle. The limit applies per process, so the rates of several workers add up.

use domain::PlatformId;
use protocols::stores::Bucket;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Maximum wait for a permit. A query that would have to wait longer gets no permit and is repeated later.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// Bounds of a pause, whether or not the store sent a `Retry-After`.
const PAUSE_BOUNDS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(300);

/// Whether and when a platform's store may be queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// At this time, which is at most [`MAX_WAIT`] from now.
    At(Instant),
    /// Not within [`MAX_WAIT`], because other queries come first.
    Later,
    /// Not before this time, because the store throttles settle.
    Paused(Instant),
}

/// The rate limit of one process.
#[derive(Debug, Default)]
pub struct StoreRate {
    paces: Mutex<HashMap<Share, Pace>>,
}

/// A platform's share of a bucket of its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Share {
    pub platform: PlatformId,
    pub bucket: Bucket,
}

/// A response by which a store throttles settle.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    pub at: Instant,
    /// The store's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// A random number from 0 to 1, which spreads a pause without a `Retry-After`.
    pub jitter: f64,
}

#[derive(Debug, Default)]
struct Pace {
    /// The earliest time of the next query.
    next: Option<Instant>,
    paused_until: Option<Instant>,
    /// Number of consecutive throttles without a `Retry-After`.
    doublings: u32,
}

impl StoreRate {
    /// Reserves the next permit. A permit that is not used is lost.
    pub fn reserve(&self, share: Share, now: Instant) -> Permit {
        let interval = Duration::from_secs(1) / share.bucket.per_second.max(1);
        let mut paces = self.paces();
        let pace = paces.entry(share).or_default();
        if let Some(until) = pace.paused_until.filter(|until| *until > now) {
            return Permit::Paused(until);
        }
        let at = pace.next.map_or(now, |next| next.max(now));
        if at.duration_since(now) > MAX_WAIT {
            return Permit::Later;
        }
        pace.next = Some(at + interval);
        Permit::At(at)
    }

    /// Pauses a share for the time in the store's `Retry-After` or, without one, for a time that doubles with each
    /// consecutive throttle. Returns the end of the pause.
    pub fn pause(&self, share: Share, throttle: Throttle) -> Instant {
        let mut paces = self.paces();
        let pace = paces.entry(share).or_default();
        let lasting = throttle.retry_after.unwrap_or_else(|| {
            let doubled = Duration::from_secs(2_u64 << pace.doublings.min(7));
            pace.doublings = pace.doublings.saturating_add(1);
            doubled.mul_f64(0.5 + throttle.jitter.clamp(0.0, 1.0))
        });
        let until = throttle.at + lasting.clamp(*PAUSE_BOUNDS.start(), *PAUSE_BOUNDS.end());
        pace.paused_until = Some(until);
        until
    }

    /// Resets the doubling of pauses, since the store answered without throttling.
    pub fn answered(&self, share: Share) {
        if let Some(pace) = self.paces().get_mut(&share) {
            pace.doublings = 0;
        }
    }

    fn paces(&self) -> MutexGuard<'_, HashMap<Share, Pace>> {
        self.paces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn platform(number: u8) -> Share {
        share(number, "first")
    }

    fn share(number: u8, name: &'static str) -> Share {
        let platform = PlatformId::new(uuid::Uuid::from_bytes([number; 16]));
        let per_second = 10;
        Share {
            platform,
            bucket: Bucket { name, per_second },
        }
    }

    #[tokio::test]
    async fn permits_are_spread_evenly_and_wait_two_seconds_at_most() {
        let (rate, now) = (StoreRate::default(), Instant::now());
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
        assert_eq!(
            rate.reserve(share(1, "second"), now),
            Permit::At(now),
            "another bucket has its own rate"
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
    async fn a_pause_holds_for_one_platform_and_bucket() {
        let (rate, now) = (StoreRate::default(), Instant::now());
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
        assert_eq!(rate.reserve(share(1, "second"), now), Permit::At(now));
    }

    #[tokio::test]
    async fn a_pause_is_bounded_and_doubles_without_a_retry_after() {
        let (rate, now) = (StoreRate::default(), Instant::now());
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
