//! What a program adds to the kinds of destinations of a release, and to the protocols that they are reached by.

use activities::http::{self, Transport};
use anyhow::ensure;
use protocols::destinations::{self, Kind};

/// The kinds and transports that a program adds to those of the release. `settle` adds none.
#[derive(Clone, Copy, Default)]
pub struct Additions {
    pub kinds: &'static [&'static dyn Kind],
    /// The transports of protocols other than HTTP and SMTP.
    pub transports: &'static [&'static dyn Transport],
}

impl Additions {
    /// Adds them, before anything asks for the kinds.
    pub fn add(self) -> anyhow::Result<()> {
        let are_added = destinations::add(self.kinds) && http::add(self.transports);
        ensure!(
            are_added,
            "kinds of destinations are added once, each with a name of its own"
        );
        Ok(())
    }
}
