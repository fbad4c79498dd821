//! What every request handler is given. Made once by the commands that serve HTTP.

use crate::dispatch::Dispatch;
use crate::metrics::Metrics;
use crate::stores::amazon::Amazon;
use domain::Timestamp;
use secrecy::SecretString;
use std::sync::Arc;
use storage::Store;
use url::Url;

/// The state of the HTTP edge; shared as `Arc<Edge>`.
pub struct Edge {
    /// What is remembered.
    pub store: Store,
    /// Who tells the engine.
    pub dispatch: Dispatch,
    /// The store that we hear.
    pub amazon: Arc<Amazon>,
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
