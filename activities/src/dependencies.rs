//! What the activities use.

use crate::engine::Engine;
use crate::http::Http;
use crate::share::Shares;
use crate::verifier::Verifier;
use domain::Timestamp;
use protocols::destinations::Allowed;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use storage::Store;

/// What the activities use.
#[derive(Clone)]
pub struct Context {
    /// The database.
    pub store: Store,
    /// The only sender of requests to addresses that others chose.
    pub http: Http,
    /// What the operator allows destinations to be.
    pub allowed: Allowed,
    /// Verifies purchases with their stores.
    pub verifier: Arc<Verifier>,
    /// Temporal, to wake purchases and destinations.
    pub engine: Engine,
    /// The wall clock, for a signature's timestamp alone: stored times are the database's.
    pub clock: fn() -> Timestamp,
    /// A random number in 0..1, for the jitter of retries.
    pub random: fn() -> f64,
    /// How long bodies are stored; for ever when absent.
    pub retention: Option<Duration>,
    /// The worker's slots that each destination takes.
    pub shares: Shares,
    /// Set when the worker stops: then nothing new is begun.
    pub stopping: Arc<AtomicBool>,
}
