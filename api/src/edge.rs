//! What every request handler is given. Made once by the commands that serve HTTP.

use crate::dispatch::Dispatch;
use crate::error::Field;
use crate::metrics::Metrics;
use crate::stores::amazon::{self, Amazon, Answer};
use domain::Timestamp;
use secrecy::SecretString;
use serde_json::Value;
use std::sync::Arc;
use storage::Store;
use url::Url;

/// The stores that a platform can be of, by the name in their URL. Each has its arm in [`Edge::receive`].
pub const STORES: &[&str] = &[amazon::STORE];

/// What a kind of destination asks of its settings, and how its secrets are made, as those who send to it know it.
#[derive(Clone, Copy)]
pub struct Kinds {
    /// The first wrong field of the settings of the named kind. The last argument: whether plain HTTP is allowed.
    pub check: fn(&str, &Value, bool) -> Result<(), Field>,
    /// A new secret for the named kind, made of random bytes.
    pub secret: fn(&str, [u8; 32]) -> Result<String, Field>,
}

/// The state of the HTTP edge; shared as `Arc<Edge>`.
pub struct Edge {
    /// What is remembered.
    pub store: Store,
    /// Who tells the engine.
    pub dispatch: Dispatch,
    /// The store that we hear.
    pub amazon: Arc<Amazon>,
    /// The kinds of destinations.
    pub kinds: Kinds,
    /// The bearer token of the admin part.
    pub admin_token: SecretString,
    /// What `notification_url` is built from.
    pub public_url: Url,
    /// Whether a destination's URL may be `http://` (development).
    pub allow_http: bool,
    /// The window of a platform that names none.
    pub default_window_ms: i64,
    /// What `/metrics` shows.
    pub metrics: Metrics,
    /// The clock.
    pub clock: fn() -> Timestamp,
    /// Random bytes for ingress keys and secrets.
    pub random: fn() -> [u8; 32],
}

/// The edge as handlers see it.
pub type Shared = Arc<Edge>;

impl Edge {
    /// A path of ours as others reach it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }

    /// Gives a message to the store that it is for; `None` when there is no such store.
    pub async fn receive(&self, store: &str, ingress_key: &str, body: &[u8]) -> Option<Answer> {
        match store {
            amazon::STORE => Some(self.amazon.receive(&self.store, &self.dispatch, ingress_key, body).await),
            _ => None,
        }
    }

    /// Confirms a topic's subscription at the store that it is of.
    ///
    /// # Errors
    /// What stood against it, without the URL, which is a secret.
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
