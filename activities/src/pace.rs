//! The rate of requests to stores: a steady pace per platform, and a pause when the store throttles us. It holds for this
//! process only; several workers add up.

use domain::PlatformId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait for a permit; a query that would wait longer is repeated later.
const WAIT: Duration = Duration::from_secs(2);
/// Bounds of a pause that a store requests.
const PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);

/// Whether and when a platform's store may be queried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// At this moment, which is near.
    At(Instant),
    /// Not soon: other queries come first.
    Later,
    /// Not before this moment: the store throttles us.
    Paused(Instant),
}

/// The pace of one process.
#[derive(Debug)]
pub struct Pace {
    between: Duration,
    platforms: Mutex<HashMap<PlatformId, Platform>>,
}

/// An answer by which a store throttles us.
#[derive(Debug, Clone, Copy)]
pub struct Throttle {
    /// When it came.
    pub at: Instant,
    /// The store's `Retry-After`.
    pub retry_after: Option<Duration>,
    /// A random number from 0 to 1, which spreads a pause without a `Retry-After`.
    pub jitter: f64,
}

#[derive(Debug, Default)]
struct Platform {
    /// When the next query may follow.
    next: Option<Instant>,
    paused_until: Option<Instant>,
    /// Number of consecutive throttles without a `Retry-After`.
    unspecified: u32,
}

impl Pace {
    /// A pace of this many queries a second.
    pub fn new(per_second: u32) -> Self {
        Self { between: Duration::from_secs(1) / per_second.max(1), platforms: Mutex::default() }
    }

    /// Reserves the next permit, which the caller is expected to use.
    pub fn reserve(&self, platform: PlatformId, now: Instant) -> Permit {
        let mut platforms = self.platforms();
        let platform = platforms.entry(platform).or_default();
        if let Some(until) = platform.paused_until.filter(|until| *until > now) {
            return Permit::Paused(until);
        }
        let at = platform.next.map_or(now, |next| next.max(now));
        if at.duration_since(now) > WAIT {
            return Permit::Later;
        }
        platform.next = Some(at + self.between);
        Permit::At(at)
    }

    /// Pauses a platform: for the store's `Retry-After`, else longer each time. Returns the end of the pause.
    pub fn pause(&self, platform: PlatformId, throttle: Throttle) -> Instant {
        let mut platforms = self.platforms();
        let platform = platforms.entry(platform).or_default();
        let pause = throttle.retry_after.unwrap_or_else(|| {
            let doubled = Duration::from_secs(2_u64 << platform.unspecified.min(7));
            platform.unspecified = platform.unspecified.saturating_add(1);
            doubled.mul_f64(0.5 + throttle.jitter.clamp(0.0, 1.0))
        });
        let until = throttle.at + pause.clamp(*PAUSE.start(), *PAUSE.end());
        platform.paused_until = Some(until);
        until
    }

    /// Notes that the store answered as expected.
    pub fn answered(&self, platform: PlatformId) {
        if let Some(platform) = self.platforms().get_mut(&platform) {
            platform.unspecified = 0;
        }
    }

    fn platforms(&self) -> MutexGuard<'_, HashMap<PlatformId, Platform>> {
        self.platforms.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (pace, now) = (Pace::new(10), Instant::now());
        for place in 0..=20 {
            assert_eq!(pace.reserve(platform(1), now), Permit::At(now + Duration::from_millis(100 * place)));
        }
        assert_eq!(pace.reserve(platform(1), now), Permit::Later);
        assert_eq!(pace.reserve(platform(2), now), Permit::At(now), "another platform has its own pace");
        let later = now + Duration::from_secs(60);
        assert_eq!(pace.reserve(platform(1), later), Permit::At(later), "unused permits are not saved up");
        assert_eq!(pace.reserve(platform(1), later), Permit::At(later + Duration::from_millis(100)));
    }

    #[tokio::test]
    async fn a_pause_holds_for_one_platform_alone() {
        let (pace, now) = (Pace::new(10), Instant::now());
        let throttle = Throttle { at: now, retry_after: Some(Duration::from_secs(7)), jitter: 0.5 };
        let until = pace.pause(platform(1), throttle);
        assert_eq!(until, now + Duration::from_secs(7));
        assert_eq!(pace.reserve(platform(1), now + Duration::from_secs(6)), Permit::Paused(until));
        assert_eq!(pace.reserve(platform(1), until), Permit::At(until));
        assert_eq!(pace.reserve(platform(2), now), Permit::At(now));
    }

    #[tokio::test]
    async fn a_pause_is_bounded_and_doubles_without_a_retry_after() {
        let (pace, now) = (Pace::new(10), Instant::now());
        let throttle = |retry_after| Throttle { at: now, retry_after, jitter: 0.5 };
        let pause = |retry_after| pace.pause(platform(1), throttle(retry_after)).duration_since(now).as_secs();
        assert_eq!(pause(Some(Duration::ZERO)), 1);
        assert_eq!(pause(Some(Duration::MAX / 4)), 300);
        assert_eq!([(); 9].map(|()| pause(None)), [2, 4, 8, 16, 32, 64, 128, 256, 256]);
        pace.answered(platform(1));
        assert_eq!(pause(None), 2);
    }
}
