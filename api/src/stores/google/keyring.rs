//! Google's keys: fetched once for all messages, cached as long as the response allows, and kept while later fetches
//! fail.
//!
//! At most one fetch begins per interval, whatever arrives: messages with unknown key ids cause no further ones.

use super::STORE;
use super::fetch::Fetch;
use super::keyset::{self, KeySet, PublicKey};
use super::refusal::PushRefusal;
use domain::Timestamp;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Minimum time between the beginnings of two fetches.
pub(super) const INTERVAL_MS: i64 = 30_000;
/// How long keys are cached if the response does not state it, and the bounds of what it states, in milliseconds.
const DEFAULT_AGE_MS: i64 = 3_600_000;
const MIN_AGE_MS: i64 = 60_000;
const MAX_AGE_MS: i64 = 24 * 3_600_000;

pub(super) const NEVER_LOADED: PushRefusal =
    PushRefusal::TryAgain("no key of the store was loaded yet");
const UNKNOWN_KEY: PushRefusal = PushRefusal::NotGenuine("bearer token names an unknown key");

/// A running fetch, which several messages can await.
type SharedFetch = Shared<BoxFuture<'static, ()>>;

/// Google's keys. Clones share them.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    fetch: Arc<dyn Fetch>,
    cached: Mutex<CachedKeys>,
}

#[derive(Default)]
struct CachedKeys {
    /// Keys of the last valid response; empty before the first.
    keys: KeySet,
    /// When the keys were fetched, and how long they may be cached.
    loaded_at: Timestamp,
    max_age_ms: i64,
    /// When the latest fetch began.
    attempted_at: Option<Timestamp>,
    /// Whether the latest fetch failed.
    has_failed: bool,
    running: Option<SharedFetch>,
}

/// Age of the cached keys.
#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyAge {
    Fresh,
    /// In the last fifth of its lifetime: a fetch is due, but no message waits for it.
    Ageing,
    Stale,
}

impl Keyring {
    /// Returns an empty keyring. The first message causes a fetch.
    pub fn new(fetch: Arc<dyn Fetch>) -> Self {
        let inner = Inner {
            fetch,
            cached: Mutex::default(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the key with this id.
    ///
    /// # Errors
    /// [`PushRefusal::NotGenuine`] if Google has no such key according to the latest fetch; [`PushRefusal::TryAgain`]
    /// if no keys were ever loaded.
    pub async fn key(&self, id: &str, now: Timestamp) -> Result<Arc<PublicKey>, PushRefusal> {
        let running = self.inner.running_fetch(id, now);
        if let Some(fetch) = running {
            fetch.await;
        }
        self.inner.cached().key(id)
    }
}

impl Inner {
    fn cached(&self) -> MutexGuard<'_, CachedKeys> {
        self.cached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a fetch if one is due. Returns the running fetch if a message with this key id must wait for it. The
    /// fetch runs as a separate task, so that a sender that disconnects does not cancel it for the others.
    fn running_fetch(self: &Arc<Self>, id: &str, now: Timestamp) -> Option<SharedFetch> {
        let mut cached = self.cached();
        let is_known = cached.keys.contains_key(id);
        let age = cached.age(now);
        if is_known && age == KeyAge::Fresh {
            return None;
        }
        if cached.running.is_none() && cached.may_fetch(now) {
            cached.attempted_at = Some(now);
            let task = tokio::spawn(self.clone().load(now));
            cached.running = Some(task.map(drop).boxed().shared());
        }
        // While fetches fail, messages with known keys do not wait for another failure.
        let must_wait = !is_known || (age == KeyAge::Stale && !cached.has_failed);
        cached.running.clone().filter(|_| must_wait)
    }

    /// Fetches the keys and caches them. If that fails, the cached keys are kept.
    async fn load(self: Arc<Self>, now: Timestamp) {
        let running = RunningFetch(&self);
        let fetched = self.fetch.get().await;
        let read = fetched
            .map_err(|error| error.to_string())
            .and_then(|fetched| {
                let keys = keyset::read(&fetched.body).map_err(str::to_owned)?;
                Ok((keys, fetched.max_age))
            });
        let mut cached = self.cached();
        match read {
            Ok((keys, max_age)) => {
                cached.keys = keys;
                cached.loaded_at = now;
                cached.max_age_ms = max_age
                    .map_or(DEFAULT_AGE_MS, domain::time::millis)
                    .clamp(MIN_AGE_MS, MAX_AGE_MS);
                cached.has_failed = false;
            }
            Err(error) => {
                cached.has_failed = true;
                tracing::warn!(
                    store = STORE,
                    error,
                    "the keys of a store could not be fetched; known ones stay"
                );
            }
        }
        drop(cached);
        drop(running);
    }
}

impl CachedKeys {
    fn key(&self, id: &str) -> Result<Arc<PublicKey>, PushRefusal> {
        if self.keys.is_empty() {
            return Err(NEVER_LOADED);
        }
        self.keys.get(id).cloned().ok_or(UNKNOWN_KEY)
    }

    /// Returns the age of the keys: `Stale` if the clock was set back, because the age is not known then.
    fn age(&self, now: Timestamp) -> KeyAge {
        let age_ms = now.millis_since(self.loaded_at);
        if (0..self.max_age_ms / 5 * 4).contains(&age_ms) {
            KeyAge::Fresh
        } else if (0..self.max_age_ms).contains(&age_ms) {
            KeyAge::Ageing
        } else {
            KeyAge::Stale
        }
    }

    fn may_fetch(&self, now: Timestamp) -> bool {
        self.attempted_at
            .is_none_or(|at| !(0..INTERVAL_MS).contains(&now.millis_since(at)))
    }
}

/// Removes a fetch when it ends, even by a panic.
struct RunningFetch<'a>(&'a Inner);

impl Drop for RunningFetch<'_> {
    fn drop(&mut self) {
        self.0.cached().running = None;
    }
}
