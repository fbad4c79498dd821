//! Signing keys: those from the settings, and those that are fetched and cached. Messages that wait for the same key
//! share one fetch. Failures are not cached.

use super::certificate::SigningKey;
use super::fetch::{Fetch, FetchError};
use super::refusal::Refusal;
use domain::Timestamp;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Maximum number of cached keys. AWS rotates the keys about once a year in each region.
const MAX_KEYS: usize = 64;
const MAX_FETCHES: usize = 16;
const BUSY: Refusal = Refusal::TryAgain("too many certificates are being fetched");
const UNREACHABLE: Refusal = Refusal::TryAgain("certificate could not be fetched");

type Fetched = Result<Arc<SigningKey>, Refusal>;
/// A running fetch, which several messages can await.
type SharedFetch = Shared<BoxFuture<'static, Fetched>>;

/// Signing keys by certificate URL. Clones share them.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    preloaded: HashMap<String, Arc<SigningKey>>,
    cached: RwLock<HashMap<String, Arc<SigningKey>>>,
    running: Mutex<HashMap<String, SharedFetch>>,
    fetch: Arc<dyn Fetch>,
}

impl Keyring {
    /// Returns a keyring that keeps the `preloaded` keys permanently and fetches all others.
    pub fn new(preloaded: HashMap<String, Arc<SigningKey>>, fetch: Arc<dyn Fetch>) -> Self {
        let inner = Inner {
            preloaded,
            cached: RwLock::default(),
            running: Mutex::default(),
            fetch,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Returns the key for a URL that `certificate::check_url` has accepted.
    ///
    /// # Errors
    /// [`Refusal::TryAgain`] if too many fetches are running, the host does not respond or its response is not a
    /// certificate, or the certificate is not valid at `now`. [`Refusal::Invalid`] if the certificate may not sign for
    /// the region or its key is weak.
    pub async fn key(&self, url: &str, region: &str, now: Timestamp) -> Fetched {
        let key = match self.available(url, now) {
            Some(key) => key,
            None => self.join_fetch(url, region, now)?.await?,
        };
        key.check_dates(now)?;
        Ok(key)
    }

    /// Returns the key for a URL if no fetch is needed.
    fn available(&self, url: &str, now: Timestamp) -> Option<Arc<SigningKey>> {
        if let Some(key) = self.inner.preloaded.get(url) {
            return Some(key.clone());
        }
        let cached = self
            .inner
            .cached
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        cached.get(url).filter(|key| !key.has_expired(now)).cloned()
    }

    /// Joins the running fetch of this URL, or starts one. The fetch runs as a separate task, so that a sender that
    /// disconnects does not cancel it for the others.
    fn join_fetch(&self, url: &str, region: &str, now: Timestamp) -> Result<SharedFetch, Refusal> {
        let mut running = self.inner.running();
        if let Some(fetch) = running.get(url) {
            return Ok(fetch.clone());
        }
        // A fetch may have finished between the lookup of the key and the lock.
        if let Some(key) = self.available(url, now) {
            return Ok(futures::future::ready(Ok(key)).boxed().shared());
        }
        if running.len() >= MAX_FETCHES {
            return Err(BUSY);
        }
        let task = tokio::spawn(
            self.inner
                .clone()
                .fetch_key(url.to_owned(), region.to_owned()),
        );
        let fetch = async move { task.await.unwrap_or(Err(UNREACHABLE)) }
            .boxed()
            .shared();
        running.insert(url.to_owned(), fetch.clone());
        Ok(fetch)
    }
}

impl Inner {
    fn running(&self) -> MutexGuard<'_, HashMap<String, SharedFetch>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch_key(self: Arc<Self>, url: String, region: String) -> Fetched {
        let running = RunningFetch {
            inner: &self,
            url: &url,
        };
        let fetched = match self.fetch.get(&url).await {
            Ok(pem) => SigningKey::read(&pem, &region)
                .map(Arc::new)
                .inspect_err(|refusal| {
                    tracing::warn!(
                        reason = refusal.reason(),
                        url,
                        "the fetched file is not a signing certificate"
                    );
                }),
            Err(FetchError::TooLong) => Err(Refusal::TryAgain("certificate is longer than 64 KiB")),
            Err(error) => {
                tracing::warn!(%error, url, "a signing certificate could not be fetched");
                Err(UNREACHABLE)
            }
        };
        if let Ok(key) = &fetched {
            self.cache(&url, key.clone());
        }
        drop(running);
        fetched
    }

    /// Adds a key to the cache. A full cache first drops the key that expires earliest.
    fn cache(&self, url: &str, key: Arc<SigningKey>) {
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MAX_KEYS {
            let first_to_end = cached
                .iter()
                .min_by_key(|(_, key)| key.not_after())
                .map(|(url, _)| url.clone());
            first_to_end.and_then(|url| cached.remove(&url));
        }
        cached.insert(url.to_owned(), key);
    }
}

/// Removes a fetch from the running ones when it ends, even by a panic.
struct RunningFetch<'a> {
    inner: &'a Inner,
    url: &'a str,
}

impl Drop for RunningFetch<'_> {
    fn drop(&mut self) {
        self.inner.running().remove(self.url);
    }
}
