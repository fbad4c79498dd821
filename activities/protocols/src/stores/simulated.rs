//! A simulated store that runs alongside a real one.

use super::check::Subject;
use super::mint::Mint;
use domain::PlatformId;
use url::Url;

/// A simulated store. It replaces a platform's store: for everything on one platform, and for samples on all others.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// The platform that has no other store.
    pub platform: PlatformId,
    /// Recognizes samples.
    pub mint: Mint,
    /// Scheme, host and port of the simulated store.
    pub base: Url,
}

impl Simulated {
    /// Returns whether the simulated store verifies the purchase.
    pub fn verifies(&self, subject: &Subject) -> bool {
        self.platform == subject.platform || self.mint.is_minted(&subject.receipt_id)
    }
}
