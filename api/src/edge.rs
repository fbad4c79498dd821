//! The state of every request handler, created once by the commands that serve HTTP.

use crate::dispatch::Dispatch;
use crate::metrics::Metrics;
use crate::stores::amazon::{self, Amazon, Answer};
use domain::Timestamp;
use futures::future::BoxFuture;
use protocols::destinations::Allowed;
use protocols::http::{Reply, Request};
use secrecy::SecretString;
use std::sync::Arc;
use std::time::Duration;
use storage::Store;
use url::Url;

/// The stores that a platform can be of, by the name in their URL. Each has its arm in [`Edge::receive`].
pub const STORES: &[&str] = &[amazon::STORE];

/// Sends one request to an address that others chose.
pub type Sender = Arc<dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync>;

/// The state of the HTTP edge; shared as `Arc<Edge>`.
pub struct Edge {
    /// The database.
    pub store: Store,
    /// The dispatcher, which signals the engine.
    pub dispatch: Dispatch,
    /// The ingress of the Amazon Appstore.
    pub amazon: Arc<Amazon>,
    /// What the operator allows destinations to be.
    pub allowed: Allowed,
    /// Sends a request to a destination, to test the connection.
    pub send: Sender,
    /// The bearer token of the admin part.
    pub admin_token: SecretString,
    /// The base of every `notification_url`.
    pub public_url: Url,
    /// The default window of a platform.
    pub default_window: Duration,
    /// The metrics of this process.
    pub metrics: Metrics,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// Random bytes for ingress keys and secrets.
    pub random: fn() -> [u8; 32],
}

/// The edge as handlers see it.
pub type Shared = Arc<Edge>;

impl Edge {
    /// The public URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Passes a message to its store; `None` when there is no such store.
    pub async fn receive(&self, store: &str, ingress_key: &str, body: &[u8]) -> Option<Answer> {
        match store {
            amazon::STORE => Some(self.amazon.receive(&self.store, &self.dispatch, ingress_key, body).await),
            _ => None,
        }
    }

    /// Confirms a topic's subscription at the store that it is of.
    ///
    /// # Errors
    /// The reason, without the URL, which is a secret.
    pub async fn confirm(&self, store: &str, subscribe_url: &SecretString) -> Result<(), String> {
        match store {
            amazon::STORE => self.amazon.visit(subscribe_url).await.map_err(|error| error.to_string()),
            other => Err(format!("there is no store `{other}`")),
        }
    }

    /// Whether a store has topics of this name.
    ///
    /// # Errors
    /// What that store expects instead.
    pub fn check_topic(&self, store: &str, name: &str) -> Result<(), String> {
        match store {
            amazon::STORE => self.amazon.check_topic(name),
            other => Err(format!("no topic: there is no store `{other}`")),
        }
    }
}
