//! The recipients of messages, by ingress key. Those that were found are remembered, and forgotten when the audit log
//! says that their app changed: a message costs no look-up, however many platforms there are. Other keys are looked up
//! together, so that made-up keys take one connection at most.
//!
//! A key is unknown only if this process could find every key: a store may drop a message for good whose key is unknown.

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

/// How old what is remembered may be: the audit log is read as often.
const FRESH: Duration = Duration::from_secs(1);
/// How long a recipient is remembered if the audit log names no change of its app: some changes of topics have no entry, and
/// a change may become visible after later ones.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Minimum time between two errors in the log about a missing key, which any request can cause.
const LOGGED_EVERY_MS: i64 = 60_000;
/// Time between two notes that an old key was used.
const NOTED_EVERY_MS: i64 = 60_000;
/// Real keys have 22 to 32 characters. A text that is longer than this is refused without a query.
const MAX_INGRESS_KEY_BYTES: usize = 128;

/// Finds recipients, and remembers those that it found.
pub struct Recipients {
    /// The store whose platforms they are.
    store: &'static str,
    known: Arc<RwLock<KnownRecipients>>,
    lookups: Lookups<Arc<Recipient>, NoRecipient>,
    /// Locked while the audit log is read.
    following: tokio::sync::Mutex<Following>,
    /// When a missing key was logged last.
    logged_at: Arc<Mutex<Option<Timestamp>>>,
    /// When the use of a platform's old key was noted last.
    noted: Mutex<HashMap<PlatformId, Timestamp>>,
}

#[derive(Default)]
struct Following {
    /// The position in the audit log; `None` before the first look.
    feed: Option<Feed>,
    /// When a look-up last failed: a caller that waited for it need not retry.
    failed_at: Option<Instant>,
}

/// Known recipients. Only keys of platforms are in it, so there are at most two for each platform and change.
#[derive(Default)]
struct KnownRecipients {
    by_key: HashMap<String, Remembered>,
    /// When the audit log was read last; `None` before the first time.
    checked_at: Option<Instant>,
    /// Raised with each change: what was read before one is not remembered after it.
    changes: u64,
}

struct Remembered {
    recipient: Arc<Recipient>,
    read_at: Instant,
}

/// The stable reasons of the answers.
pub const UNKNOWN_KEY: &str = "unknown ingress key";
pub const MISSING_KEY: &str = "a key of the database is missing in this process";

/// Why there is no recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRecipient {
    /// No platform of the store has this ingress key.
    UnknownKey,
    /// No platform was found, and this process lacks a key with which ingress keys are hashed.
    MissingKey,
    /// The database does not answer, for this reason.
    Unavailable(&'static str),
}

impl From<NoRecipient> for Answer {
    /// 404 where no repetition can help.
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
    /// Returns the recipients of a store.
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

    /// Returns the platform of an ingress key, as it was within the last second, by the audit log.
    ///
    /// # Errors
    /// The key is unknown, or the database does not answer.
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

    /// Reads the platform from the database, not from memory: an approval of a topic applies at once.
    ///
    /// # Errors
    /// The key is unknown, or the database does not answer.
    pub async fn read(
        &self,
        store: &Store,
        ingress_key: &str,
        now: Timestamp,
    ) -> Result<Arc<Recipient>, NoRecipient> {
        if ingress_key.len() > MAX_INGRESS_KEY_BYTES || ingress_key.contains('\0') {
            return Err(NoRecipient::UnknownKey);
        }
        // What is found is remembered, so the audit log is followed from before on.
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

    /// Notes that a message came by the old key of a platform, without holding its answer up.
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

    /// Forgets what changed, unless that was looked up within the last second. Many that wait share one look.
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

    /// Reads the new entries of the audit log. The first time those are the newest ones.
    async fn read_changes(&self, store: &Store, feed: &mut Option<Feed>) -> Result<(), Error> {
        let now = Instant::now();
        // What is visible before the first recipient is remembered is seen at once: it outdates none later.
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

/// A look-up of keys, and what it updates.
struct Search<'a> {
    /// The store whose platforms are looked up.
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

/// Returns the refusal of a process that lacks these keys.
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

/// Returns a recipient whose key has not ended.
fn unended(recipient: Arc<Recipient>, now: Timestamp) -> Result<Arc<Recipient>, NoRecipient> {
    let is_over = recipient.ends_at.is_some_and(|end| end <= now);
    if is_over {
        Err(NoRecipient::UnknownKey)
    } else {
        Ok(recipient)
    }
}
