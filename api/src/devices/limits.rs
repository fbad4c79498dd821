//! Rate limits for devices: requests of a device, and requests, bytes and new claims of purchases of an address. They
//! are needed because the key in these requests is public.
//!
//! Each process counts separately, with bounded memory: a device or address that has been quiet for a while is dropped,
//! which does not change its limits.

use super::address::{networks, site};
use crate::config::Rate;
use domain::DevicePlace;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ipnet::IpNet;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use storage::SecretHash;
use tokio::time::Instant;

/// Number of checks after which quiet senders are dropped.
const CHECKS_PER_CLEANING: u64 = 10_000;

#[derive(Debug)]
pub struct Limits {
    /// The key includes the secret in the request, so that knowing a device's id is not enough to use up its limit.
    devices: DefaultKeyedRateLimiter<(DevicePlace, Option<SecretHash>)>,
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    bytes: DefaultKeyedRateLimiter<IpAddr>,
    claims: DefaultKeyedRateLimiter<IpNet>,
    /// Networks that reported too many new claims, each with the time until which their claims are dropped.
    overdrawn: Mutex<HashMap<IpNet, Instant>>,
    clock: DefaultClock,
    checks: AtomicU64,
}

/// Limit on new claims of purchases from an address, or from a whole site with IPv6: two a second, and 600 in a burst,
/// which is what the devices of a small company report after their first update. Storage limits how many claims wait.
const CLAIMS: Rate = Rate {
    per_second: NonZeroU32::new(2).unwrap(),
    burst: NonZeroU32::new(600).unwrap(),
};

impl Limits {
    /// Creates limits on the requests of each device and address, and on the bytes of each address.
    pub fn new(device: Rate, address: Rate, bytes: Rate) -> Self {
        Self {
            devices: RateLimiter::dashmap(device.quota()),
            addresses: RateLimiter::dashmap(address.quota()),
            bytes: RateLimiter::dashmap(bytes.quota()),
            claims: RateLimiter::dashmap(CLAIMS.quota()),
            overdrawn: Mutex::default(),
            clock: DefaultClock::default(),
            checks: AtomicU64::new(0),
        }
    }

    /// Counts a request from an address.
    ///
    /// # Errors
    /// The time until the address may send its next request.
    pub fn check_address(&self, address: IpAddr) -> Result<(), Duration> {
        self.clean();
        self.check(&self.addresses, &customer(address))
    }

    /// Counts bytes from an address.
    ///
    /// # Errors
    /// The time until the address may send this number of bytes.
    pub fn check_bytes(&self, address: IpAddr, bytes: usize) -> Result<(), Duration> {
        let Some(bytes) = u32::try_from(bytes).ok().and_then(NonZeroU32::new) else {
            return Ok(());
        };
        match self.bytes.check_key_n(&customer(address), bytes) {
            Ok(counted) => counted.map_err(|until| until.wait_time_from(self.clock.now())),
            // Larger than a whole burst, which the bounds of the setting rule out.
            Err(_) => Ok(()),
        }
    }

    /// Counts a request with this secret for a device, before the secret is verified.
    ///
    /// # Errors
    /// The time until the next request with this secret may be sent.
    pub fn check_device(
        &self,
        device: DevicePlace,
        shown: Option<SecretHash>,
    ) -> Result<(), Duration> {
        self.check(&self.devices, &(device, shown))
    }

    /// Returns whether new claims from an address are stored. It is only known after storing which of a request's
    /// claims are new, so the last request within the limit may exceed it.
    pub fn may_claim(&self, address: IpAddr, now: Instant) -> bool {
        self.overdrawn()
            .get(&site(address))
            .is_none_or(|until| *until <= now)
    }

    /// Counts new claims from an address.
    pub fn count_claims(&self, address: IpAddr, claims: usize, now: Instant) {
        let network = site(address);
        let wait = (0..claims)
            .filter_map(|_| self.check(&self.claims, &network).err())
            .last();
        if let Some(wait) = wait {
            self.overdrawn().insert(network, now + wait);
        }
    }

    fn overdrawn(&self) -> MutexGuard<'_, HashMap<IpNet, Instant>> {
        self.overdrawn
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn check<K: Hash + Eq + Clone>(
        &self,
        limiter: &DefaultKeyedRateLimiter<K>,
        key: &K,
    ) -> Result<(), Duration> {
        limiter
            .check_key(key)
            .map_err(|until| until.wait_time_from(self.clock.now()))
    }

    /// Drops senders that have been quiet for long enough to have their full limits again.
    fn clean(&self) {
        if self.checks.fetch_add(1, Ordering::Relaxed) % CHECKS_PER_CLEANING
            == CHECKS_PER_CLEANING - 1
        {
            self.devices.retain_recent();
            self.addresses.retain_recent();
            self.bytes.retain_recent();
            self.claims.retain_recent();
            let now = Instant::now();
            self.overdrawn().retain(|_, until| *until > now);
        }
    }
}

impl Rate {
    const fn quota(self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

/// Returns an address without the part that its owner can choose freely.
pub fn customer(address: IpAddr) -> IpAddr {
    networks(address)
        .next()
        .map_or(address, |network| network.addr())
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{DeviceId, PlatformId};
    use uuid::Uuid;

    fn rate(per_second: u32, burst: u32) -> Rate {
        let number = |number| NonZeroU32::new(number).expect("not zero");
        Rate {
            per_second: number(per_second),
            burst: number(burst),
        }
    }

    fn device(number: u128) -> DevicePlace {
        DevicePlace {
            platform: PlatformId::new(Uuid::nil()),
            device: DeviceId::new(Uuid::from_u128(number)),
        }
    }

    #[test]
    fn each_device_has_its_own_bound() {
        let limits = Limits::new(rate(1, 3), rate(1, 1), rate(1, 1));
        for number in [1, 2] {
            let results: Vec<bool> = (0..4)
                .map(|_| limits.check_device(device(number), None).is_ok())
                .collect();
            assert_eq!(results, [true, true, true, false]);
        }
        let wait = limits.check_device(device(1), None).expect_err("a wait");
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
    }

    #[test]
    fn wrong_secrets_use_up_nothing_of_the_device() {
        let limits = Limits::new(rate(1, 1), rate(1, 1), rate(1, 1));
        let check = |secret: &str| {
            let shown = Some(secret)
                .filter(|secret| !secret.is_empty())
                .map(|secret| SecretHash::of(&secret.into()));
            limits.check_device(device(1), shown).is_ok()
        };
        assert!(
            check("guess") && !check("guess") && check("another guess") && check("") && !check("")
        );
        assert!(check("its own") && !check("its own"));
    }

    #[test]
    fn the_addresses_of_one_customer_count_as_one() {
        let limits = Limits::new(rate(1, 1), rate(1, 1), rate(1, 1));
        let check = |address: &str| {
            limits
                .check_address(address.parse().expect("an address"))
                .is_ok()
        };
        assert!(
            check("2001:db8:0:1::1") && !check("2001:db8:0:1:ffff::2") && check("2001:db8:0:2::1")
        );
        assert!(check("192.0.2.1") && !check("192.0.2.1") && check("192.0.2.2"));
    }

    #[test]
    fn an_address_has_a_bound_of_bytes() {
        let limits = Limits::new(rate(1, 1), rate(1, 1), rate(1, 1000));
        let [noisy, quiet] =
            ["192.0.2.1", "192.0.2.2"].map(|address| address.parse().expect("an address"));
        assert!(limits.check_bytes(noisy, 0).is_ok() && limits.check_bytes(noisy, 900).is_ok());
        let wait = limits.check_bytes(noisy, 200).expect_err("a wait");
        assert!(
            wait > Duration::from_secs(90) && wait <= Duration::from_secs(100),
            "{wait:?}"
        );
        assert!(
            limits.check_bytes(noisy, 50).is_ok(),
            "what is refused is not counted"
        );
        assert!(limits.check_bytes(quiet, 1000).is_ok());
    }

    #[test]
    fn an_address_that_claims_too_much_is_not_believed_for_a_while() {
        let (limits, now) = (
            Limits::new(rate(1, 1), rate(1, 1), rate(1, 1)),
            Instant::now(),
        );
        let [noisy, quiet] = ["2001:db8:0:1::1", "2001:db8:1:1::1"]
            .map(|address| address.parse().expect("an address"));
        limits.count_claims(noisy, 600, now);
        assert!(limits.may_claim(noisy, now), "its burst is not used up");
        limits.count_claims(noisy, 3, now);
        let neighbour = "2001:db8:0:2:ffff::2".parse().expect("an address");
        assert!(
            !limits.may_claim(noisy, now)
                && !limits.may_claim(neighbour, now)
                && limits.may_claim(quiet, now)
        );
        assert!(limits.may_claim(noisy, now + Duration::from_secs(2)));
    }

    #[test]
    fn those_that_were_quiet_are_forgotten() {
        let limits = Limits::new(rate(1_000_000, 1), rate(1_000_000, 1), rate(1_000_000, 1));
        for number in 0..CHECKS_PER_CLEANING * 3 {
            let _ = limits.check_device(device(number.into()), None);
            let _ = limits.check_address(IpAddr::from(
                u32::try_from(number).expect("small").to_be_bytes(),
            ));
        }
        assert!(u64::try_from(limits.addresses.len()).expect("a number") < CHECKS_PER_CLEANING * 2);
        assert!(u64::try_from(limits.devices.len()).expect("a number") < CHECKS_PER_CLEANING * 2);
    }
}
