//! A simulated store that runs alongside a real one.

use super::check::Subject;
use super::mint::Mint;
use domain::PlatformId;
use url::Url;

/// A simulated store. It replaces the store of one platform. Some stores also let it verify the samples on all others.
#[derive(Debug, Clone)]
pub struct Simulated {
    /// Name of the store that it replaces.
    pub store: &'static str,
    /// The platform that has no other store.
    pub platform: PlatformId,
    /// Recognizes samples.
    pub mint: Mint,
    /// Scheme, host and port of the simulated store.
    pub base: Url,
}

impl Simulated {
    /// Returns whether the purchase is on the platform that has no other store.
    pub fn has_platform_of(&self, subject: &Subject) -> bool {
        self.platform == subject.platform
    }

    /// Returns whether the purchase is a sample.
    pub fn has_minted(&self, subject: &Subject) -> bool {
        self.mint.is_minted(&subject.receipt_id)
    }

    /// Returns whether the simulated store verifies the purchase, if it also verifies the samples on other platforms.
    pub fn verifies(&self, subject: &Subject) -> bool {
        self.has_platform_of(subject) || self.has_minted(subject)
    }
}
