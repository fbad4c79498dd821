//! Rate limits on destination tests that reach people: per destination, per app and in total. Creating more
//! destinations does not raise the limits. Also limits how often a person has a platform's store queried.

use crate::error::Error;
use domain::{AppId, DestinationId, PlatformId};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::time::Duration;

/// Burst of tests, and the time after which one more is allowed.
const OF_DESTINATION: Rate = Rate {
    burst: NonZeroU32::new(5).unwrap(),
    every: Duration::from_secs(300),
};
const OF_APP: Rate = Rate {
    burst: NonZeroU32::new(20).unwrap(),
    every: Duration::from_secs(180),
};
const OF_ALL: Rate = Rate {
    burst: NonZeroU32::new(100).unwrap(),
    every: Duration::from_secs(36),
};
/// Limit on alarms about an app's tests.
const OF_ALARMS: Rate = Rate {
    burst: NonZeroU32::MIN,
    every: Duration::from_secs(3600),
};
/// Limit on requested queries of a platform's store.
const OF_PLATFORM: Rate = Rate {
    burst: NonZeroU32::new(3).unwrap(),
    every: Duration::from_secs(10),
};
/// Maximum number of destinations, apps or platforms in memory; beyond it, those that have not been tested recently are
/// dropped.
const MAX_REMEMBERED: usize = 10_000;

struct Rate {
    burst: NonZeroU32,
    every: Duration,
}

impl Rate {
    fn quota(&self) -> Quota {
        Quota::with_period(self.every)
            .unwrap_or(Quota::per_second(self.burst))
            .allow_burst(self.burst)
    }
}

/// Recent tests of destinations. Each process counts separately.
#[derive(Debug)]
pub struct TestQuota {
    destinations: DefaultKeyedRateLimiter<DestinationId>,
    apps: DefaultKeyedRateLimiter<AppId>,
    all: DefaultDirectRateLimiter,
    alarms: DefaultKeyedRateLimiter<AppId>,
    platforms: DefaultKeyedRateLimiter<PlatformId>,
    clock: DefaultClock,
}

/// Refusal of a test beyond the limit.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany {
    what: &'static str,
    wait: Duration,
    /// Whether an operator should be notified: an app's tests are too many, for the first time in an hour.
    pub is_alarming: bool,
}

impl From<TooMany> for Error {
    fn from(TooMany { what, wait, .. }: TooMany) -> Self {
        Self::TooMany { what, wait }
    }
}

impl Default for TestQuota {
    fn default() -> Self {
        Self {
            destinations: RateLimiter::dashmap(OF_DESTINATION.quota()),
            apps: RateLimiter::dashmap(OF_APP.quota()),
            all: RateLimiter::direct(OF_ALL.quota()),
            alarms: RateLimiter::dashmap(OF_ALARMS.quota()),
            platforms: RateLimiter::dashmap(OF_PLATFORM.quota()),
            clock: DefaultClock::default(),
        }
    }
}

impl TestQuota {
    /// Counts a requested query of a platform's store.
    ///
    /// # Errors
    /// 429 if there were too many.
    pub fn count_query(&self, platform: PlatformId) -> Result<(), Error> {
        if self.platforms.len() > MAX_REMEMBERED {
            self.platforms.retain_recent();
        }
        let counted = self.platforms.check_key(&platform);
        counted.map_err(|until| Error::TooMany {
            what: "whoever has this platform's store queried (3 queries at once, then one in 10 seconds)",
            wait: until.wait_time_from(self.clock.now()),
        })
    }

    /// Counts a test of an app's destination.
    ///
    /// # Errors
    /// There were too many tests.
    pub fn count(&self, destination: DestinationId, app: AppId) -> Result<(), TooMany> {
        if self.destinations.len() > MAX_REMEMBERED {
            self.destinations.retain_recent();
        }
        if self.apps.len() > MAX_REMEMBERED {
            self.apps.retain_recent();
            self.alarms.retain_recent();
        }
        let refused = |what, until: NotUntil<_>, is_alarming| {
            Err(TooMany {
                what,
                wait: until.wait_time_from(self.clock.now()),
                is_alarming,
            })
        };
        if let Err(until) = self.destinations.check_key(&destination) {
            return refused(
                "whoever tests this destination (5 tests at once, then one in 5 minutes)",
                until,
                false,
            );
        }
        let is_alarming = |this: &Self| this.alarms.check_key(&app).is_ok();
        if let Err(until) = self.apps.check_key(&app) {
            let what =
                "whoever tests this app's destinations (20 tests at once, then one in 3 minutes)";
            return refused(what, until, is_alarming(self));
        }
        match self.all.check() {
            Ok(()) => Ok(()),
            Err(until) => {
                let what = "whoever tests destinations (100 tests at once, then one in 36 seconds)";
                refused(what, until, is_alarming(self))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn wait(quota: &TestQuota, destination: u128, app: u128) -> Option<Duration> {
        let (destination, app) = (
            DestinationId::new(Uuid::from_u128(destination)),
            AppId::new(Uuid::from_u128(app)),
        );
        quota
            .count(destination, app)
            .err()
            .map(|refused| refused.wait)
    }

    #[test]
    fn each_destination_is_tested_a_few_times_and_then_seldom() {
        let quota = TestQuota::default();
        assert!((0..5).all(|_| wait(&quota, 1, 1).is_none()));
        let until = wait(&quota, 1, 1).expect("a wait");
        assert!(
            until > Duration::from_secs(240) && until <= Duration::from_secs(300),
            "{until:?}"
        );
        assert_eq!(wait(&quota, 2, 1), None);
    }

    #[test]
    fn each_store_is_queried_a_few_times_and_then_seldom() {
        let quota = TestQuota::default();
        let is_counted = |platform: u128| {
            let counted = quota.count_query(PlatformId::new(Uuid::from_u128(platform)));
            counted.is_ok()
        };
        let counted = [1, 1, 1, 1, 2].map(is_counted);
        assert_eq!(counted, [true, true, true, false, true]);
    }

    #[test]
    fn new_destinations_bring_no_new_tests() {
        let quota = TestQuota::default();
        assert_eq!(
            (0..20)
                .filter(|destination| wait(&quota, *destination, 1).is_none())
                .count(),
            20
        );
        let refused = |destination: u128| {
            let app = AppId::new(Uuid::from_u128(1));
            quota
                .count(DestinationId::new(Uuid::from_u128(destination)), app)
                .expect_err("one too many")
                .is_alarming
        };
        assert_eq!((refused(20), refused(21)), (true, false), "one alarm");
        assert_eq!(wait(&quota, 100, 2), None, "another app");
        let apps = |from: u128| {
            (from..from + 2000)
                .filter(|one| wait(&quota, *one, one / 10).is_none())
                .count()
        };
        assert_eq!(apps(1000), 79, "a hundred of all apps");
    }
}
