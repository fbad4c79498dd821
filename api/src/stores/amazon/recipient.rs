//! The platform of an ingress key with its topics, read from the database and cached for a second.
//!
//! A key is unknown only if this process could find every key: SNS drops a message for good that is answered 404.

use super::refusal::Refusal;
use domain::{PlatformId, Timestamp};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use storage::{Error, Platform, Store, Topic, chain};
use tokio::sync::Semaphore;

const CACHED_MS: i64 = 1000;
/// Minimum time between two errors in the log about a key that is missing. Anybody can cause one.
const LOGGED_EVERY_MS: i64 = 60_000;
/// Time between two notes that an old key was used.
const NOTED_EVERY_MS: i64 = 60_000;
const MAX_CACHED: usize = 1024;
/// Real keys have 22 to 32 characters. A text that is longer than this is refused without a query.
const MAX_INGRESS_KEY_BYTES: usize = 128;

/// A platform with its topics, as they were at `read_at`.
#[derive(Debug)]
pub struct Recipient {
    pub platform: Platform,
    pub topics: Vec<Topic>,
    /// Whether the key is the one before the platform's present one.
    pub is_by_old_key: bool,
    read_at: Timestamp,
}

/// The recipients that were read last, by ingress key. Those of the last second are used as they are.
pub struct Recipients {
    cached: RwLock<HashMap<String, Arc<Recipient>>>,
    /// One unknown key at a time is looked up in the database: a flood of them leaves the rest to known keys.
    strangers: Semaphore,
    /// When a missing key was logged last.
    logged_at: Mutex<Option<Timestamp>>,
    /// When the use of a platform's old key was noted last.
    noted: Mutex<HashMap<PlatformId, Timestamp>>,
}

impl Default for Recipients {
    fn default() -> Self {
        let (logged_at, noted) = (Mutex::default(), Mutex::default());
        Self { cached: RwLock::default(), strangers: Semaphore::new(1), logged_at, noted }
    }
}

impl Recipients {
    /// The platform of an ingress key, from the cache or the database: at most a second old.
    ///
    /// # Errors
    /// The key is unknown, or the database does not answer.
    pub async fn find(&self, store: &Store, ingress_key: &str, now: Timestamp) -> Result<Arc<Recipient>, Refusal> {
        let is_fresh = |read_at: Timestamp| (0..CACHED_MS).contains(&now.millis_since(read_at));
        match self.cached(ingress_key) {
            Some(recipient) if is_fresh(recipient.read_at) => Ok(recipient),
            Some(_) => self.read(store, ingress_key, now).await,
            None => {
                // It is never closed.
                let _place = self.strangers.acquire().await;
                self.read(store, ingress_key, now).await
            }
        }
    }

    fn cached(&self, ingress_key: &str) -> Option<Arc<Recipient>> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).get(ingress_key).cloned()
    }

    /// Reads the platform from the database, not from the cache: an approval of a topic applies at once.
    ///
    /// # Errors
    /// The key is unknown, or the database does not answer.
    pub async fn read(&self, store: &Store, ingress_key: &str, now: Timestamp) -> Result<Arc<Recipient>, Refusal> {
        if ingress_key.len() > MAX_INGRESS_KEY_BYTES || ingress_key.contains('\0') {
            return Err(Refusal::UnknownIngress);
        }
        let failed = |error: Error| self.failed(&error, now);
        let (found, is_by_old_key) = match store.platform_by_ingress_key(ingress_key).await.map_err(failed)? {
            Some(platform) => (Some(platform), false),
            None => (store.platform_by_old_ingress_key(ingress_key, now).await.map_err(failed)?, true),
        };
        let Some(platform) = found.filter(|platform| platform.store == super::STORE) else {
            if self.cached(ingress_key).is_some() {
                self.cached.write().unwrap_or_else(PoisonError::into_inner).remove(ingress_key);
            }
            return Err(Refusal::UnknownIngress);
        };
        let topics = store.topics_for_ingress(platform.id).await.map_err(|error| super::storage_failed(&error))?;
        let recipient = Arc::new(Recipient { platform, topics, is_by_old_key, read_at: now });
        self.cache(ingress_key, recipient.clone());
        Ok(recipient)
    }

    /// Notes that a message came by the old key of a platform, without holding its answer up.
    pub fn note_old_key_used(&self, store: &Store, platform: PlatformId, now: Timestamp) {
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted.get(&platform).is_some_and(|at| (0..NOTED_EVERY_MS).contains(&now.millis_since(*at))) {
                return;
            }
            noted.insert(platform, now);
        }
        let store = store.clone();
        tokio::spawn(async move {
            if let Err(error) = store.note_old_ingress_key_used(platform).await {
                tracing::debug!(platform.id = %platform, error = chain(&error), "the use of an old ingress key was not noted");
            }
        });
    }

    /// The refusal for an error of the search.
    fn failed(&self, error: &Error, now: Timestamp) -> Refusal {
        let Error::MissingKeys(ids) = error else { return super::storage_failed(error) };
        let mut logged_at = self.logged_at.lock().unwrap_or_else(PoisonError::into_inner);
        if logged_at.is_none_or(|at| !(0..LOGGED_EVERY_MS).contains(&now.millis_since(at))) {
            *logged_at = Some(now);
            let keys = ids.join(", ");
            tracing::error!(keys, "SETTLE_KEY of this process lacks a key: notifications are answered 503");
        }
        Refusal::MissingKey
    }

    fn cache(&self, ingress_key: &str, recipient: Arc<Recipient>) {
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MAX_CACHED {
            cached.clear();
        }
        cached.insert(ingress_key.to_owned(), recipient);
    }
}
