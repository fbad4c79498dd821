//! The operator's settings for a store, which the store's folder reads, validates and displays.

use super::ingress::Ingress;
use super::samples::SampleKey;
use protocols::stores::{Simulated, StoreProtocol};
use std::fmt::Debug;
use std::sync::Arc;

/// Settings for a store, and what is built from them.
pub trait StoreConfig: Debug + Send + Sync {
    /// Returns the value of a setting for display; `None` if the store has no such setting.
    fn shown(&self, field: &str) -> Option<String>;

    /// Builds the ingress, which accepts samples if `samples` has their key. The process must have installed its TLS
    /// provider before.
    ///
    /// # Errors
    /// A setting is invalid, or a file that it names cannot be read.
    fn ingress(&self, samples: Option<&SampleKey>) -> anyhow::Result<Arc<dyn Ingress>>;

    /// Returns the protocol that verifies purchases, with a simulated store alongside the real one if there is one.
    fn protocol(&self, simulated: Option<Simulated>) -> Arc<dyn StoreProtocol>;
}
