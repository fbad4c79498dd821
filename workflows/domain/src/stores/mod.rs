//! The policies of the stores: one folder for each store, and an entry in the list of this file.
//!
//! A policy is stored nowhere. Rows and histories contain only the store's name, so that its rules can change while
//! runs are open.

pub mod amazon;
mod answers;
pub mod apple;
mod dates;
pub mod google;
mod policy;
mod states;

#[cfg(test)]
pub(crate) mod tests;

pub use answers::Answers;
pub use policy::{
    CustomerSource, Evidence, Gone, Policy, Proof, RECEIPT_ID, Schedules, wake_by_dates,
};

pub(crate) use answers::{AnswerRules, Occurrence};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::Deref;
use std::sync::OnceLock;

/// The stores that settle knows.
pub const ALL: &[&Policy] = &[&amazon::POLICY, &google::POLICY, &apple::POLICY];

/// The store of records without a store's name, which version 0.1 wrote when it knew no other store.
const UNNAMED: &Policy = &amazon::POLICY;

/// The stores that a program adds to [`ALL`].
static ADDED: OnceLock<&'static [&'static Policy]> = OnceLock::new();

/// Adds stores to [`ALL`] before the first purchase is loaded. Returns whether they were added: only the first call
/// adds any.
pub fn add(policies: &'static [&'static Policy]) -> bool {
    ADDED.set(policies).is_ok()
}

/// The policy of a purchase's store.
#[derive(Debug, Clone, Copy)]
pub struct StorePolicy(&'static Policy);

/// A store that this version does not know: a later one connected its platform, and settles its purchases.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store `{0}` is not known to this version of settle")]
pub struct UnknownStore(pub String);

impl StorePolicy {
    /// Returns the policy of the store with this name.
    ///
    /// # Errors
    /// [`UnknownStore`] if this version does not know it.
    pub fn of(store: &str) -> Result<Self, UnknownStore> {
        let added = ADDED.get().copied().unwrap_or_default();
        let mut all = ALL.iter().chain(added);
        let known = all.find(|policy| policy.store == store);
        known
            .map(|policy| Self(policy))
            .ok_or_else(|| UnknownStore(store.to_owned()))
    }

    /// Reads the name of a store in a record. A store that this version does not know is read as the first store: its
    /// purchases can be listed but are not settled.
    pub(crate) fn of_record<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let store = String::deserialize(deserializer)?;
        Ok(Self::of(&store).unwrap_or_default())
    }

    /// Whether records leave out the name of the store.
    pub fn is_unnamed(&self) -> bool {
        self.store == UNNAMED.store
    }
}

impl Default for StorePolicy {
    /// Returns the store of records without a store's name.
    fn default() -> Self {
        Self(UNNAMED)
    }
}

impl Deref for StorePolicy {
    type Target = Policy;

    fn deref(&self) -> &Policy {
        self.0
    }
}

impl PartialEq for StorePolicy {
    fn eq(&self, other: &Self) -> bool {
        self.store == other.store
    }
}

impl Eq for StorePolicy {}

impl Serialize for StorePolicy {
    /// Serializes as the store's name.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.store)
    }
}

impl<'de> Deserialize<'de> for StorePolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let store = String::deserialize(deserializer)?;
        Self::of(&store).map_err(serde::de::Error::custom)
    }
}
