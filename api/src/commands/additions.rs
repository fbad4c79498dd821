//! Stores, kinds of destinations and protocols that a program adds to the built-in ones.

use activities::http::{self, Transport};
use anyhow::{bail, ensure};
use api::stores::{self, StoreEntry};
use domain::stores::Policy;
use protocols::destinations::{self, Kind};
use std::collections::BTreeSet;

/// What a program adds to the built-in stores, kinds and protocols. `settle` itself adds nothing.
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
    /// Registers the additions. Must run before anything reads the lists.
    ///
    /// # Errors
    /// Fails if two of them have the same name, or one has the name of a built-in one; if a store has no policy, or a
    /// policy no store; or if the lists were already read.
    pub fn add(self) -> anyhow::Result<()> {
        self.check()?;
        let are_added = destinations::add(self.kinds)
            && http::add(self.transports)
            && domain::stores::add(self.policies)
            && stores::add(self.stores);
        ensure!(
            are_added,
            "stores and kinds of destinations are added once, before the first use of the lists"
        );
        Ok(())
    }

    /// Checks the names of the additions together with the built-in names.
    fn check(&self) -> anyhow::Result<()> {
        let stores = stores::ALL.iter().chain(self.stores);
        let stores: Vec<&str> = stores.map(|store| store.name).collect();
        let policies = domain::stores::ALL.iter().chain(self.policies);
        let policies: Vec<&str> = policies.map(|policy| policy.store).collect();
        let kinds = destinations::of_release().iter().chain(self.kinds);
        let kinds: Vec<&str> = kinds.map(|kind| kind.name()).collect();
        let transports = http::of_release().iter().chain(self.transports);
        let schemes: Vec<&str> = transports.map(|transport| transport.scheme()).collect();
        for (what, names) in [
            ("stores have the name", &stores),
            ("policies are of the store", &policies),
            ("kinds of destinations have the name", &kinds),
            ("transports have the scheme", &schemes),
        ] {
            if let Some(name) = twice(names) {
                bail!("two {what} `{name}`");
            }
        }
        if let Some(store) = stores.iter().find(|store| !policies.contains(store)) {
            bail!("the store `{store}` has no policy");
        }
        if let Some(store) = policies.iter().find(|store| !stores.contains(store)) {
            bail!("there is a policy of the store `{store}`, but no such store");
        }
        Ok(())
    }
}

/// Returns a name that occurs more than once.
fn twice<'n>(names: &[&'n str]) -> Option<&'n str> {
    let mut known = BTreeSet::new();
    names.iter().copied().find(|name| !known.insert(*name))
}
