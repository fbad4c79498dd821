//! Limits guesses of keys, by address and by the guessed key.
//!
//! API keys have an id and 256 random bits, which cannot be guessed. So they are always looked up, however many wrong
//! keys were sent before; only after too many wrong secrets for the same id must an address wait. The admin token may
//! be a short phrase: after too many wrong ones, an address cannot try another for a while, unless it has sent the
//! right one before. The two limits are independent.

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

/// Burst of wrong keys from an address.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Time after which an address may send one more wrong key.
const EVERY: Duration = Duration::from_secs(6);
/// How long a valid key is remembered for its address.
const REMEMBERED: Duration = Duration::from_secs(3600);
/// Maximum number of remembered keys and of slowed addresses. Beyond it, expired ones are dropped; if that is not
/// enough, all.
const MAX_REMEMBERED: usize = 10_000;

/// Hash of a token, so that no token is in memory for longer than its request.
type Digest = [u8; 32];

/// Address that guesses, and id of the guessed key; `None` for the admin token.
type Guessing = (IpAddr, Option<KeyId>);

/// Wrong keys by address. Each process counts separately.
#[derive(Debug)]
pub struct Refusals {
    tried: DefaultKeyedRateLimiter<Guessing>,
    clock: DefaultClock,
    /// Addresses that tried too many admin tokens, each with the time until which further ones are refused.
    slowed: Mutex<HashMap<IpAddr, Instant>>,
    /// Keys that addresses have sent successfully, each with the time until which that is remembered.
    proven: Mutex<HashMap<(IpAddr, Digest), Instant>>,
}

impl Default for Refusals {
    fn default() -> Self {
        Self::new(BURST, EVERY)
    }
}

impl Refusals {
    /// Creates limits that allow each address `burst` wrong keys, and one more after each period of `every`.
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

    /// Checks whether a token from an address may be looked up.
    ///
    /// # Errors
    /// The time until the address's next token is looked up.
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

    /// Remembers that an address sent a valid key.
    pub fn proved(&self, address: IpAddr, token: &str) {
        let now = Instant::now();
        remember(
            &mut locked(&self.proven),
            (customer(address), of(token)),
            now + REMEMBERED,
            now,
        );
    }

    /// Counts a wrong key from an address. `key` is the id of an existing key, or `None` for the admin token.
    ///
    /// # Errors
    /// The time that the address must wait, if there were too many.
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
