//! Reproducible random numbers: a seed determines all of them. Each test has a fixed seed, so that all runs are equal;
//! `tests/explore` uses new seeds.

/// A linear congruential generator with Knuth's MMIX constants.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Returns a test's seed: `of_test`, unless `SETTLE_TEST_SEED` is set.
    ///
    /// # Panics
    /// When the variable is not a number.
    pub fn seed(of_test: u64) -> u64 {
        #[expect(clippy::disallowed_methods, reason = "a seed of the tests")]
        let chosen = std::env::var("SETTLE_TEST_SEED").ok();
        let number = |text: String| {
            text.parse()
                .unwrap_or_else(|_| panic!("SETTLE_TEST_SEED is no number: {text}"))
        };
        chosen.map_or(of_test, number)
    }

    /// Returns a generator that starts from this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number from 0 to `limit` - 1.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    /// Returns `true` in `percent` of all cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
