//! State of every request handler, created once by the commands that serve HTTP.

pub mod hosts;
pub mod live;
pub mod pages;
mod test_quota;

use crate::devices::Devices;
use crate::dispatch::Dispatch;
use crate::figures::Figures;
use crate::keyring::Keys;
use crate::metrics::Metrics;
use crate::stores::StoreEntry;
use crate::stores::ingress::{Answer, Ingresses, StoreRequest, Topics};
use crate::stores::intake::Intake;
use crate::stores::samples::{NoSample, SampleSettings, Samples, SentSample};
use crate::workers::Workers;
use axum::http::HeaderMap;
use domain::Timestamp;
use futures::future::BoxFuture;
use pages::Pages;
use protocols::destinations::Allowed;
use protocols::outgoing::{Incoming, Outgoing};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use storage::{Platform, Store, chain};
use test_quota::TestQuota;
use tokio::sync::{Mutex, Semaphore};
use url::Url;
use workflows::signal::Signal;

/// Maximum number of a platform's purchases that are woken after a person's change.
const MAX_WOKEN: i64 = 20;

/// Sends one request to a URL that a user of settle entered.
pub type Sender = Arc<dyn Fn(Outgoing) -> BoxFuture<'static, Incoming> + Send + Sync>;

/// State of the HTTP edge, shared as `Arc<Edge>`.
pub struct Edge {
    pub store: Store,
    pub dispatch: Dispatch,
    /// Ingress of each store.
    pub stores: Ingresses,
    /// Stores that platforms can be connected to.
    pub known: Vec<&'static StoreEntry>,
    pub devices: Devices,
    /// Networks and schemes that the settings allow for destinations.
    pub allowed: Allowed,
    /// Sends a request to a destination, to test the connection.
    pub send: Sender,
    pub test_quota: TestQuota,
    /// Bearer token that acts as a key for all apps with the role `admin`.
    pub admin_token: SecretString,
    pub keys: Keys,
    /// Base URL of every `notification_url`.
    pub public_url: Url,
    /// Default quiet window of platforms.
    pub default_window: Duration,
    pub metrics: Metrics,
    /// Metrics that are read from the database.
    pub figures: Figures,
    pub clock: fn() -> Timestamp,
    /// Random bytes for ingress keys and secrets.
    pub random: fn() -> [u8; 32],
    /// Limits the concurrent passes that wake purchases.
    pub waking: Waking,
    pub pages: Pages,
    /// Number of workers that poll Temporal.
    pub workers: Workers,
}

/// Allows one pass at a time to wake purchases: two concurrent passes would read the same purchases and signal each
/// twice. One more pass may wait, and then covers all changes until its turn; further ones are not needed.
#[derive(Debug)]
pub struct Waking {
    places: Semaphore,
    turn: Mutex<()>,
}

impl Default for Waking {
    fn default() -> Self {
        Self {
            places: Semaphore::new(2),
            turn: Mutex::default(),
        }
    }
}

impl Waking {
    /// Runs a pass when it is its turn; `None`, without running it, if another pass is already waiting.
    async fn pass<T>(&self, pass: impl Future<Output = T>) -> Option<T> {
        let _place = self.places.try_acquire().ok()?;
        let _turn = self.turn.lock().await;
        Some(pass.await)
    }
}

/// The edge as handlers receive it.
pub type Shared = Arc<Edge>;

impl Edge {
    /// Returns the public URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Returns the hash of the admin token. Sign-ins made with the token end when the token changes.
    pub fn admin_token_hash(&self) -> String {
        self.store.token_hash(&self.admin_token)
    }

    /// Wakes purchases that a person is waiting for, after a change that rechecks a few of them. The sweep wakes the
    /// rest.
    pub fn wake_for_persons(self: &Arc<Self>) {
        let edge = self.clone();
        tokio::spawn(async move {
            if let Some(Err(error)) = edge.waking.pass(edge.wake_all_for_persons()).await {
                tracing::debug!(
                    error = chain(&error),
                    "rechecked purchases were not woken; the sweep wakes them"
                );
            }
        });
    }

    async fn wake_all_for_persons(&self) -> Result<(), storage::Error> {
        let overdue = self.store.overdue_for_persons(MAX_WOKEN).await?;
        let engine = self.dispatch.engine();
        let mut woken = Vec::new();
        for due in overdue.found.clone() {
            match engine.signal(due.collapse_key, Signal::Wake).await {
                Ok(()) => woken.push(due),
                Err(error) => {
                    tracing::debug!(collapse_key = %due.collapse_key, error = chain(&error), "not woken; the sweep wakes it");
                    break;
                }
            }
        }
        self.store.note_woken(overdue, woken).await
    }

    /// Returns the database and dispatcher for storing notifications.
    fn intake(&self) -> Intake<'_> {
        Intake {
            store: &self.store,
            dispatch: &self.dispatch,
        }
    }

    /// Checks a message's ingress key and headers before its body is read; `None` if there is no such store.
    ///
    /// # Errors
    /// No platform has the key, the message is not from the store, or the database does not respond.
    pub async fn check_ingress(
        &self,
        store: &str,
        ingress_key: &str,
        headers: &HeaderMap,
    ) -> Option<Result<(), Answer>> {
        let ingress = self.stores.of(store)?;
        let checked = ingress.check_headers(self.intake(), ingress_key, headers);
        Some(checked.await)
    }

    /// Passes a message to the ingress of its store; `None` if there is no such store.
    pub async fn receive(&self, store: &str, request: StoreRequest<'_>) -> Option<Answer> {
        let ingress = self.stores.of(store)?;
        Some(ingress.receive(self.intake(), request).await)
    }

    /// Returns a store's topics; `None` if it uses none or there is no such store.
    pub fn topics(&self, store: &str) -> Option<&dyn Topics> {
        self.stores.of(store)?.topics()
    }

    /// Returns the samples that this process accepts for a platform.
    ///
    /// # Errors
    /// This process accepts no samples for the platform.
    pub fn samples(&self, platform: &Platform) -> Result<&dyn Samples, NoSample> {
        let samples = self.samples_of(platform).ok_or(NoSample::NotTrusted)?;
        samples.are_taken().map(|()| samples)
    }

    /// Sends a sample to a platform.
    ///
    /// # Errors
    /// This process accepts no samples for the platform, or the sample was refused.
    pub async fn sample(
        &self,
        platform: &Platform,
        wanted: SampleSettings,
    ) -> Result<SentSample, NoSample> {
        let samples = self.samples(platform)?;
        samples.send(self.intake(), platform, wanted).await
    }

    /// Returns the types of samples for a platform by the store's names, each with its meaning.
    pub fn sample_types(&self, platform: &Platform) -> &'static [(&'static str, &'static str)] {
        self.samples_of(platform).map_or(&[], Samples::types)
    }

    fn samples_of(&self, platform: &Platform) -> Option<&dyn Samples> {
        self.stores.of(&platform.store)?.samples()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::{join, join_all};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn one_pass_runs_one_waits_and_others_are_left_out() {
        let (waking, gate, running) = (Waking::default(), Semaphore::new(0), AtomicUsize::new(0));
        let pass = async || {
            assert_eq!(
                running.fetch_add(1, Ordering::SeqCst),
                0,
                "two read what neither has noted"
            );
            gate.acquire().await.expect("an open gate").forget();
            running.fetch_sub(1, Ordering::SeqCst);
        };
        for _ in 0..2 {
            let passes = join_all((0..5).map(|_| waking.pass(pass())));
            let (passes, ()) = join(passes, async { gate.add_permits(2) }).await;
            assert_eq!(passes.into_iter().flatten().count(), 2);
        }
    }
}
