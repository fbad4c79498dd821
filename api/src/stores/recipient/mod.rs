//! Recipients of messages, by ingress key. Recipients that were found are cached, and dropped when the audit log shows
//! a change to their app. So most messages need no lookup, however many platforms there are. Unknown keys are looked up
//! in batches, so that made-up keys occupy one connection at most.
//!
//! A key is reported as unknown only if this process has all the keys that ingress keys are hashed with, because a
//! store may drop a message permanently after that response.

mod feed;

use super::ingress::{Answer, storage_failed};
use crate::lookups::{Found, Lookups};
use domain::{PlatformId, Timestamp};
use feed::{Changed, Feed, MOST};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use storage::{Error, Recipient, Store, chain};
use tokio::time::Instant;

/// How long cached recipients are used without reading the audit log again.
const FRESH: Duration = Duration::from_secs(1);
/// How long a recipient is cached if the audit log shows no change to its app: some changes to topics have no entry,
/// and a change may become visible after later ones.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Minimum time between two logged errors about a missing key, which any request can cause, in milliseconds.
const LOGGED_EVERY_MS: i64 = 60_000;
/// Minimum time between two records that an old key was used, in milliseconds.
const NOTED_EVERY_MS: i64 = 60_000;
/// Maximum length of an ingress key, in bytes. Real keys have 22 to 32 characters; longer texts are refused without a
/// query.
const MAX_INGRESS_KEY_BYTES: usize = 128;

/// Finds recipients and caches them.
pub struct Recipients {
    /// Store of the platforms.
    store: &'static str,
    known: Arc<RwLock<KnownRecipients>>,
    lookups: Lookups<Arc<Recipient>, NoRecipient>,
    /// Locked while the audit log is being read.
    following: tokio::sync::Mutex<Following>,
    /// When a missing key was last logged.
    logged_at: Arc<Mutex<Option<Timestamp>>>,
    /// When the use of each platform's old key was last recorded.
    noted: Mutex<HashMap<PlatformId, Timestamp>>,
}

#[derive(Default)]
struct Following {
    /// Position in the audit log; `None` before it is first read.
    feed: Option<Feed>,
    /// When reading last failed: a caller that was waiting for it need not retry.
    failed_at: Option<Instant>,
}

/// Cached recipients. Contains only keys of platforms, so there are at most two entries for each platform and change.
#[derive(Default)]
struct KnownRecipients {
    by_key: HashMap<String, Remembered>,
    /// When the audit log was last read; `None` before the first time.
    checked_at: Option<Instant>,
    /// Incremented with each change: a recipient that was read before a change is not cached after it.
    changes: u64,
}

struct Remembered {
    recipient: Arc<Recipient>,
    read_at: Instant,
}

/// Stable reasons in responses.
pub const UNKNOWN_KEY: &str = "unknown ingress key";
pub const MISSING_KEY: &str = "a key of the database is missing in this process";

/// Why no recipient was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRecipient {
    /// No platform of the store has this ingress key.
    UnknownKey,
    /// No platform was found, and this process lacks one of the keys with which ingress keys are hashed.
    MissingKey,
    /// The database does not respond, for this reason.
    Unavailable(&'static str),
}

impl From<NoRecipient> for Answer {
    /// Uses 404 only if repeating the request cannot help.
    fn from(missing: NoRecipient) -> Self {
        let (status, reason) = match missing {
            NoRecipient::UnknownKey => (404, UNKNOWN_KEY),
            NoRecipient::MissingKey => (503, MISSING_KEY),
            NoRecipient::Unavailable(reason) => (503, reason),
        };
        Self { status, reason }
    }
}

impl Recipients {
    /// Creates an empty cache of a store's recipients.
    pub fn new(store: &'static str) -> Self {
        Self {
            store,
            known: Arc::default(),
            lookups: Lookups::default(),
            following: tokio::sync::Mutex::default(),
            logged_at: Arc::default(),
            noted: Mutex::default(),
        }
    }

    /// Returns the platform of an ingress key. It may be up to a second old, as far as changes are in the audit log.
    ///
    /// # Errors
    /// The key is unknown, or the database does not respond.
    pub async fn find(
        &self,
        store: &Store,
        ingress_key: &str,
        now: Timestamp,
    ) -> Result<Arc<Recipient>, NoRecipient> {
        if self.remembered(ingress_key).is_some() {
            self.follow(store).await?;
            if let Some(recipient) = self.remembered(ingress_key) {
                return unended(recipient, now);
            }
        }
        self.read(store, ingress_key, now).await
    }

    /// Reads the platform from the database instead of the cache, so that the approval of a topic applies immediately.
    ///
    /// # Errors
    /// The key is unknown, or the database does not respond.
    pub async fn read(
        &self,
        store: &Store,
        ingress_key: &str,
        now: Timestamp,
    ) -> Result<Arc<Recipient>, NoRecipient> {
        if ingress_key.len() > MAX_INGRESS_KEY_BYTES || ingress_key.contains('\0') {
            return Err(NoRecipient::UnknownKey);
        }
        // The result is cached, so the audit log must be followed from before the lookup.
        self.follow(store).await?;
        let (store, known, logged_at) = (store.clone(), self.known.clone(), self.logged_at.clone());
        let of = self.store;
        let look_up = move |keys: Vec<String>| {
            let (store, known, logged_at) = (store.clone(), known.clone(), logged_at.clone());
            async move {
                let search = Search {
                    of,
                    known: &known,
                    logged_at: &logged_at,
                    now,
                };
                search.look_up(&store, keys).await
            }
        };
        let found = self.lookups.find(ingress_key, look_up).await;
        found
            .unwrap_or(Err(NoRecipient::Unavailable("storage is not available")))
            .and_then(|found| unended(found, now))
    }

    /// Records that a message used a platform's old key, without delaying the response.
    pub fn note_old_key_used(&self, store: &Store, platform: PlatformId, now: Timestamp) {
        {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            if noted
                .get(&platform)
                .is_some_and(|at| (0..NOTED_EVERY_MS).contains(&now.millis_since(*at)))
            {
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

    fn remembered(&self, ingress_key: &str) -> Option<Arc<Recipient>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let found = known.by_key.get(ingress_key)?;
        (found.read_at.elapsed() < REMEMBERED).then(|| found.recipient.clone())
    }

    /// Drops cached recipients that have changed, unless that was done within the last second. Concurrent callers share
    /// one read of the audit log.
    async fn follow(&self, store: &Store) -> Result<(), NoRecipient> {
        let began = Instant::now();
        if self.is_fresh() {
            return Ok(());
        }
        let mut following = self.following.lock().await;
        if self.is_fresh() {
            return Ok(());
        }
        if following.failed_at.is_some_and(|at| at >= began) {
            return Err(NoRecipient::Unavailable("storage is not available"));
        }
        let read = self.read_changes(store, &mut following.feed).await;
        if read.is_err() {
            following.failed_at = Some(Instant::now());
        }
        read.map_err(|error| NoRecipient::Unavailable(storage_failed(self.store, &error)))
    }

    fn is_fresh(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.checked_at.is_some_and(|at| at.elapsed() < FRESH)
    }

    /// Reads the new entries of the audit log. The first time, reads the newest ones.
    async fn read_changes(&self, store: &Store, feed: &mut Option<Feed>) -> Result<(), Error> {
        let now = Instant::now();
        // Entries that are visible before the first recipient is cached count as seen, so that they invalidate nothing
        // later.
        let feed = match feed {
            Some(feed) => feed,
            None => feed.insert(Feed::new(store.newest_change().await?, now)),
        };
        let entries = store.changes_after(feed.after(), MOST).await?;
        let changed = feed.take(&entries, now);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.forget(&changed);
        known.checked_at = Some(now);
        Ok(())
    }
}

impl KnownRecipients {
    fn forget(&mut self, changed: &Changed) {
        match changed {
            Changed::Apps(apps) if apps.is_empty() => return,
            Changed::Apps(apps) => self
                .by_key
                .retain(|_, found| !apps.contains(&found.recipient.platform.app_id)),
            Changed::All => self.by_key.clear(),
        }
        self.changes += 1;
    }
}

/// A lookup of keys, with the state that it updates.
struct Search<'a> {
    /// Store of the platforms to look up.
    of: &'static str,
    known: &'a RwLock<KnownRecipients>,
    logged_at: &'a Mutex<Option<Timestamp>>,
    now: Timestamp,
}

impl Search<'_> {
    /// Looks up keys, and caches the results unless something changed in the meantime.
    async fn look_up(
        self,
        store: &Store,
        keys: Vec<String>,
    ) -> Result<Found<Arc<Recipient>, NoRecipient>, NoRecipient> {
        let Self {
            of,
            known,
            logged_at,
            now,
        } = self;
        let read_at = Instant::now();
        let before = known.read().unwrap_or_else(PoisonError::into_inner).changes;
        let found = store
            .recipients(keys.clone())
            .await
            .map_err(|error| NoRecipient::Unavailable(storage_failed(of, &error)))?;
        let of_store = found
            .found
            .into_iter()
            .filter(|(_, recipient)| recipient.platform.store == of);
        let values: HashMap<String, Arc<Recipient>> = of_store
            .map(|(key, found)| (key, Arc::new(found)))
            .collect();
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        for key in &keys {
            known.by_key.remove(key);
        }
        if known.changes == before {
            let remembered = values.iter().map(|(key, found)| {
                (
                    key.clone(),
                    Remembered {
                        recipient: found.clone(),
                        read_at,
                    },
                )
            });
            known.by_key.extend(remembered);
        }
        let otherwise = match found.missing_keys.as_slice() {
            [] => NoRecipient::UnknownKey,
            ids => missing(ids, logged_at, now),
        };
        Ok(Found { values, otherwise })
    }
}

/// Logs, at most once a minute, that this process lacks these keys. Returns the refusal.
fn missing(ids: &[String], logged_at: &Mutex<Option<Timestamp>>, now: Timestamp) -> NoRecipient {
    let mut logged_at = logged_at.lock().unwrap_or_else(PoisonError::into_inner);
    if logged_at.is_none_or(|at| !(0..LOGGED_EVERY_MS).contains(&now.millis_since(at))) {
        *logged_at = Some(now);
        let keys = ids.join(", ");
        tracing::error!(
            keys,
            "SETTLE_KEY of this process lacks a key: notifications are answered 503"
        );
    }
    NoRecipient::MissingKey
}

/// Returns a recipient whose ingress key has not expired; otherwise the key counts as unknown.
fn unended(recipient: Arc<Recipient>, now: Timestamp) -> Result<Arc<Recipient>, NoRecipient> {
    let is_over = recipient.ends_at.is_some_and(|end| end <= now);
    if is_over {
        Err(NoRecipient::UnknownKey)
    } else {
        Ok(recipient)
    }
}
