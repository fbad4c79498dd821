//! Bounds guesses, by address and by what is guessed.
//!
//! A key has an id and 256 random bits, which cannot be guessed: it is looked up however many wrong ones came, and
//! after too many wrong secrets of its id an address has to wait. The admin token may be a phrase: after too many wrong
//! ones an address cannot try another for a while, unless it proved that one before. Neither locks the other.

use super::KeyText;
use crate::devices::limits::customer;
use domain::KeyId;
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

/// Address of the guesses, and the id of the guessed key; `None` for the admin token.
type Guessing = (IpAddr, Option<KeyId>);

/// The wrong keys of addresses. Each process counts by itself.
#[derive(Debug)]
pub struct Refusals {
    tried: DefaultKeyedRateLimiter<Guessing>,
    clock: DefaultClock,
    /// The addresses that tried too many admin tokens, each with the end of that.
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
    pub fn new(burst: NonZeroU32, every: Duration) -> Self {
        let quota = Quota::with_period(every)
            .unwrap_or(Quota::per_second(BURST))
            .allow_burst(burst);
        Self {
            tried: RateLimiter::dashmap(quota),
            clock: DefaultClock::default(),
            slowed: Mutex::default(),
            proven: Mutex::default(),
        }
    }

    /// Returns whether a token of an address is looked up.
    ///
    /// # Errors
    /// How long until its next one is.
    pub fn check(&self, address: IpAddr, token: &str) -> Result<(), Duration> {
        if KeyText::parse(token).is_some() {
            return Ok(());
        }
        let (address, now) = (customer(address), Instant::now());
        let until = locked(&self.slowed)
            .get(&address)
            .copied()
            .filter(|until| *until > now);
        let Some(until) = until else { return Ok(()) };
        let is_proven = locked(&self.proven)
            .get(&(address, of(token)))
            .is_some_and(|end| *end > now);
        if is_proven { Ok(()) } else { Err(until - now) }
    }

    /// Remembers that an address has a key.
    pub fn proved(&self, address: IpAddr, token: &str) {
        let now = Instant::now();
        remember(
            &mut locked(&self.proven),
            (customer(address), of(token)),
            now + REMEMBERED,
            now,
        );
    }

    /// Counts a wrong key of an address: the id of a key that exists, or `None` for an admin token.
    ///
    /// # Errors
    /// How long the address has to wait, if these were too many.
    pub fn count(&self, address: IpAddr, key: Option<KeyId>) -> Result<(), Duration> {
        let (address, now) = (customer(address), Instant::now());
        if self.tried.len() > MAX_REMEMBERED {
            self.tried.retain_recent();
        }
        let Err(until) = self.tried.check_key(&(address, key)) else {
            return Ok(());
        };
        let wait = until.wait_time_from(self.clock.now());
        if key.is_none() {
            remember(&mut locked(&self.slowed), address, now + wait, now);
        }
        Err(wait)
    }
}

fn remember<K: std::hash::Hash + Eq>(
    all: &mut HashMap<K, Instant>,
    key: K,
    until: Instant,
    now: Instant,
) {
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
