//! Chance that can be had again: every schedule of a run follows from its seed, which is printed.

/// A small generator (Knuth's MMIX constants).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A new seed, or the one in `SETTLE_TEST_SEED`.
    #[must_use]
    pub fn seed() -> u64 {
        #[expect(clippy::disallowed_methods, reason = "a seed of the tests")]
        let given = std::env::var("SETTLE_TEST_SEED").ok().and_then(|text| text.parse().ok());
        given.unwrap_or_else(|| u64::from(u32::from_le_bytes(api::clock::random_bytes())))
    }

    /// Everything that follows from a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    /// Yes, in `percent` of the cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
