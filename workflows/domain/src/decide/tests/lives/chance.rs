//! A seeded random generator: the same seed gives the same life.

use std::ops::Range;

/// Number of lives in an ordinary test run.
pub const LIVES: u64 = 1_000;

/// Returns the seeds of lives whose store lags: those of an ordinary test run, or `SETTLE_LIVES` seeds from
/// `SETTLE_TEST_SEED` on.
pub fn seeds() -> Range<u64> {
    let number = |variable: &str| {
        #[expect(clippy::disallowed_methods, reason = "seeds of the tests")]
        let text = std::env::var(variable).ok()?;
        Some(
            text.parse::<u64>()
                .unwrap_or_else(|_| panic!("{variable} is no number: {text}")),
        )
    };
    let first = number("SETTLE_TEST_SEED").unwrap_or(0);
    first..first.saturating_add(number("SETTLE_LIVES").unwrap_or(2 * LIVES))
}

#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a random number from 0 to `below`, exclusive.
    pub fn below(&mut self, below: i64) -> i64 {
        i64::try_from(self.next() % u64::try_from(below.max(1)).unwrap()).unwrap()
    }

    /// Returns a random number from `low` to `high`, exclusive.
    pub fn between(&mut self, low: i64, high: i64) -> i64 {
        low + self.below(high - low)
    }

    pub fn percent(&mut self, percent: i64) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(i64::try_from(from.len()).unwrap())).unwrap()]
    }
}
