//! The state of every request handler, created once by the commands that serve HTTP.

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

/// Maximum number of purchases of a platform that are woken after a change by a person.
const MAX_WOKEN: i64 = 20;

/// Sends one request to a URL that a user of settle entered.
pub type Sender = Arc<dyn Fn(Outgoing) -> BoxFuture<'static, Incoming> + Send + Sync>;

/// The state of the HTTP edge; shared as `Arc<Edge>`.
pub struct Edge {
    pub store: Store,
    pub dispatch: Dispatch,
    /// The ingress of each store.
    pub stores: Ingresses,
    /// The stores that platforms can be connected to.
    pub known: Vec<&'static StoreEntry>,
    pub devices: Devices,
    /// The networks and schemes that the settings allow for destinations.
    pub allowed: Allowed,
    /// Sends a request to a destination, to test the connection.
    pub send: Sender,
    pub test_quota: TestQuota,
    /// The bearer token that is a key of all apps with the role `admin`.
    pub admin_token: SecretString,
    pub keys: Keys,
    /// Base URL of every `notification_url`.
    pub public_url: Url,
    /// The default window of a platform.
    pub default_window: Duration,
    pub metrics: Metrics,
    /// The figures of the database among them.
    pub figures: Figures,
    pub clock: fn() -> Timestamp,
    /// Random bytes for ingress keys and secrets.
    pub random: fn() -> [u8; 32],
    /// Wakes the purchases that a person waits for.
    pub waking: Waking,
    pub pages: Pages,
    /// Number of workers that poll Temporal.
    pub workers: Workers,
}

/// One pass at a time wakes purchases: two would read those that neither has noted yet, and signal all of them twice.
/// Another one waits, and reads what was changed until its turn; more are not needed.
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
    /// Runs a pass at its turn; `None` without it if one waits already.
    async fn pass<T>(&self, pass: impl Future<Output = T>) -> Option<T> {
        let _place = self.places.try_acquire().ok()?;
        let _turn = self.turn.lock().await;
        Some(pass.await)
    }
}

/// The edge, as handlers receive it.
pub type Shared = Arc<Edge>;

impl Edge {
    /// Returns the public URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Returns the hash of the admin token: sign-ins that it began end with it.
    pub fn admin_token_hash(&self) -> String {
        self.store.token_hash(&self.admin_token)
    }

    /// Wakes the purchases that a person waits for, after a change that rechecks few. What is not woken here is woken by
    /// the sweep.
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

    /// Returns the part of the state that stores notifications.
    fn intake(&self) -> Intake<'_> {
        Intake {
            store: &self.store,
            dispatch: &self.dispatch,
        }
    }

    /// Checks ingress key and headers of a message before its body is read; `None` when there is no such store.
    ///
    /// # Errors
    /// No platform has the key, the store did not send the message, or the database does not answer.
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

    /// Passes a message to the ingress of its store; `None` when there is no such store.
    pub async fn receive(&self, store: &str, request: StoreRequest<'_>) -> Option<Answer> {
        let ingress = self.stores.of(store)?;
        Some(ingress.receive(self.intake(), request).await)
    }

    /// Returns the topics of a store; `None` if it has none, or there is no such store.
    pub fn topics(&self, store: &str) -> Option<&dyn Topics> {
        self.stores.of(store)?.topics()
    }

    /// Returns the samples that this process takes to a platform.
    ///
    /// # Errors
    /// It takes none.
    pub fn samples(&self, platform: &Platform) -> Result<&dyn Samples, NoSample> {
        let samples = self.samples_of(platform).ok_or(NoSample::NotTrusted)?;
        samples.are_taken().map(|()| samples)
    }

    /// Sends a sample to a platform.
    ///
    /// # Errors
    /// The platform takes none, or it was refused.
    pub async fn sample(
        &self,
        platform: &Platform,
        wanted: SampleSettings,
    ) -> Result<SentSample, NoSample> {
        let samples = self.samples(platform)?;
        samples.send(self.intake(), platform, wanted).await
    }

    /// Returns the types of the samples of a platform's store, by the store's names, each with its meaning.
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
