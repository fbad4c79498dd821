//! The signing keys: those of the settings, and fetched ones, each fetched once however many messages
//! wait for it. Failures are never cached.

use super::certificate::SigningKey;
use super::fetch::{Fetch, FetchError};
use super::refusal::Refusal;
use domain::Timestamp;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

/// Maximum number of cached keys. AWS rotates about once a year per region.
const MAX_KEYS: usize = 64;
/// Maximum number of concurrent fetches.
const MAX_FLIGHTS: usize = 16;
const BUSY: Refusal = Refusal::Unavailable("too many certificates are being fetched");
const UNREACHABLE: Refusal = Refusal::Unavailable("certificate could not be fetched");

type Fetched = Result<Arc<SigningKey>, Refusal>;
type Flight = Shared<BoxFuture<'static, Fetched>>;

/// The keys, by certificate URL. Clones share them.
#[derive(Clone)]
pub struct Keyring {
    inner: Arc<Inner>,
}

struct Inner {
    preloaded: HashMap<String, Arc<SigningKey>>,
    cached: RwLock<HashMap<String, Arc<SigningKey>>>,
    flights: Mutex<HashMap<String, Flight>>,
    fetch: Arc<dyn Fetch>,
}

impl Keyring {
    /// A keyring that holds `preloaded` for ever and fetches the rest.
    #[must_use]
    pub fn new(preloaded: HashMap<String, Arc<SigningKey>>, fetch: Arc<dyn Fetch>) -> Self {
        let inner = Inner { preloaded, cached: RwLock::default(), flights: Mutex::default(), fetch };
        Self { inner: Arc::new(inner) }
    }

    /// The key behind a URL that `certificate::check_url` has passed.
    ///
    /// # Errors
    /// 503 while the host does not answer, or with no certificate, or with one that is not valid at `now`; otherwise
    /// why the certificate never signs for the region.
    pub async fn key(&self, url: &str, region: &str, now: Timestamp) -> Fetched {
        let key = match self.at_hand(url, now) {
            Some(key) => key,
            None => self.flight(url, region, now)?.await?,
        };
        key.check_dates(now)?;
        Ok(key)
    }

    fn at_hand(&self, url: &str, now: Timestamp) -> Option<Arc<SigningKey>> {
        if let Some(key) = self.inner.preloaded.get(url) {
            return Some(key.clone());
        }
        let cached = self.inner.cached.read().unwrap_or_else(PoisonError::into_inner);
        cached.get(url).filter(|key| !key.is_over(now)).cloned()
    }

    /// Joins the fetch of this URL, or starts it as a task of its own, so that a sender that hangs up
    /// does not end it for the others.
    fn flight(&self, url: &str, region: &str, now: Timestamp) -> Result<Flight, Refusal> {
        let mut flights = self.inner.flights();
        if let Some(flight) = flights.get(url) {
            return Ok(flight.clone());
        }
        // It may have landed between the check of the keys and the lock.
        if let Some(key) = self.at_hand(url, now) {
            return Ok(futures::future::ready(Ok(key)).boxed().shared());
        }
        if flights.len() >= MAX_FLIGHTS {
            return Err(BUSY);
        }
        let task = tokio::spawn(self.inner.clone().fly(url.to_owned(), region.to_owned()));
        let flight = async move { task.await.unwrap_or(Err(UNREACHABLE)) }.boxed().shared();
        flights.insert(url.to_owned(), flight.clone());
        Ok(flight)
    }
}

impl Inner {
    fn flights(&self) -> MutexGuard<'_, HashMap<String, Flight>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fly(self: Arc<Self>, url: String, region: String) -> Fetched {
        let landing = Landing { inner: &self, url: &url };
        let fetched = match self.fetch.get(&url).await {
            Ok(pem) => SigningKey::read(&pem, &region).map(Arc::new).inspect_err(|refusal| {
                tracing::warn!(reason = refusal.reason(), url, "the fetched file is not a signing certificate");
            }),
            Err(FetchError::TooLong) => Err(Refusal::Unavailable("certificate is longer than 64 KiB")),
            Err(error) => {
                tracing::warn!(%error, url, "a signing certificate could not be fetched");
                Err(UNREACHABLE)
            }
        };
        if let Ok(key) = &fetched {
            self.cache(&url, key.clone());
        }
        drop(landing);
        fetched
    }

    fn cache(&self, url: &str, key: Arc<SigningKey>) {
        let mut cached = self.cached.write().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MAX_KEYS {
            let first_to_end = cached.iter().min_by_key(|(_, key)| key.not_after()).map(|(url, _)| url.clone());
            first_to_end.and_then(|url| cached.remove(&url));
        }
        cached.insert(url.to_owned(), key);
    }
}

/// Takes a flight off the list when it ends, also by a panic.
struct Landing<'a> {
    inner: &'a Inner,
    url: &'a str,
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        self.inner.flights().remove(self.url);
    }
}
