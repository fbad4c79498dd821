//! The operator's settings of a store, which its folder reads, checks and shows.

use super::ingress::Ingress;
use super::samples::SampleKey;
use protocols::stores::{Simulated, StoreProtocol};
use std::fmt::Debug;
use std::sync::Arc;

/// The settings of a store, and what is made with them.
pub trait StoreConfig: Debug + Send + Sync {
    /// Returns the value of one of its settings, for people; `None` if it has no such setting.
    fn shown(&self, field: &str) -> Option<String>;

    /// Returns the ingress, which takes samples too if there is a key of them. The process must have installed its TLS
    /// provider before.
    ///
    /// # Errors
    /// A setting is invalid, or a file of it cannot be read.
    fn ingress(&self, samples: Option<&SampleKey>) -> anyhow::Result<Arc<dyn Ingress>>;

    /// Returns how purchases are verified, with a simulated store beside the real one.
    fn protocol(&self, simulated: Option<Simulated>) -> Arc<dyn StoreProtocol>;
}
