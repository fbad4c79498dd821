//! Bounds guesses of keys, by address: after too many wrong ones no other is looked up for a while. The keys that the
//! address proved before are left out of that, so nobody can lock the owner of a key out who uses it from there.

use crate::devices::limits::customer;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use ring::digest::{SHA256, digest};
use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Wrong keys of an address at once.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Time after which an address may send one more wrong key.
const EVERY: Duration = Duration::from_secs(6);
/// How long a proved key is remembered for its address.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Maximum number of remembered keys, and of slowed addresses; beyond that those that ended are forgotten, then all.
const MAX_REMEMBERED: usize = 10_000;

/// A hash of what was sent, so that no token is in memory for longer than its request.
type Digest = [u8; 32];

/// The wrong keys of addresses. Each process counts by itself.
#[derive(Debug)]
pub struct Refusals {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
    /// The addresses that sent too many, each with the end of that.
    slowed: Mutex<HashMap<IpAddr, Instant>>,
    /// The keys that addresses proved, each with the time until which that counts.
    proven: Mutex<HashMap<(IpAddr, Digest), Instant>>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self::new(BURST, EVERY)
    }
}

impl Refusals {
    /// Refusals of which each address has so many at once, and one more each time this has passed.
    #[must_use]
    pub fn new(burst: NonZeroU32, every: Duration) -> Self {
        let quota = Quota::with_period(every).unwrap_or(Quota::per_second(BURST)).allow_burst(burst);
        Self {
            addresses: RateLimiter::dashmap(quota),
            clock: DefaultClock::default(),
            slowed: Mutex::default(),
            proven: Mutex::default(),
        }
    }

    /// Whether a token of an address is looked up.
    ///
    /// # Errors
    /// How long until its next one is.
    pub fn check(&self, address: IpAddr, token: &str) -> Result<(), Duration> {
        let (address, now) = (customer(address), Instant::now());
        let until = locked(&self.slowed).get(&address).copied().filter(|until| *until > now);
        let Some(until) = until else { return Ok(()) };
        let is_proven = locked(&self.proven).get(&(address, of(token))).is_some_and(|end| *end > now);
        if is_proven { Ok(()) } else { Err(until - now) }
    }

    /// Remembers that an address has a key.
    pub fn proved(&self, address: IpAddr, token: &str) {
        let now = Instant::now();
        remember(&mut locked(&self.proven), ((customer(address), of(token)), now + REMEMBERED), now);
    }

    /// Counts a wrong key of an address.
    pub fn count(&self, address: IpAddr) {
        let (address, now) = (customer(address), Instant::now());
        if self.addresses.len() > MAX_REMEMBERED {
            self.addresses.retain_recent();
        }
        if let Err(until) = self.addresses.check_key(&address) {
            let wait = until.wait_time_from(self.clock.now());
            remember(&mut locked(&self.slowed), (address, now + wait), now);
        }
    }
}

fn remember<K: std::hash::Hash + Eq>(all: &mut HashMap<K, Instant>, (key, until): (K, Instant), now: Instant) {
    if all.len() >= MAX_REMEMBERED {
        all.retain(|_, until| *until > now);
    }
    if all.len() >= MAX_REMEMBERED {
        all.clear();
    }
    all.insert(key, until);
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn of(token: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}
