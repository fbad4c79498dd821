//! Additions of a program to the stores and the kinds of destinations of a release, and to their protocols.

use crate::stores::{self, StoreEntry};
use activities::http::{self, Transport};
use anyhow::ensure;
use domain::stores::Policy;
use protocols::destinations::{self, Kind};

/// Additions of a program to the release. `settle` adds nothing.
#[derive(Clone, Copy, Default)]
pub struct Additions {
    pub stores: &'static [StoreEntry],
    /// The policies of these stores.
    pub policies: &'static [&'static Policy],
    pub kinds: &'static [&'static dyn Kind],
    /// The transports of protocols other than HTTP and SMTP.
    pub transports: &'static [&'static dyn Transport],
}

impl Additions {
    /// Adds them, before anything reads the lists.
    pub fn add(self) -> anyhow::Result<()> {
        let are_added = destinations::add(self.kinds)
            && http::add(self.transports)
            && domain::stores::add(self.policies)
            && stores::add(self.stores);
        ensure!(
            are_added,
            "stores and kinds of destinations are added once, each with a name of its own"
        );
        Ok(())
    }
}
