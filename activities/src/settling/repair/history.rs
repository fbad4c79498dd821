//! The part of a store's history of notifications that a pass reads: what the store could not deliver, and all of it
//! after a gap, since what was delivered meanwhile may be lost too.

use domain::Timestamp;
use domain::time::{DAY, HOUR};
use std::time::Duration;

/// Maximum time between two passes.
const EVERY: Duration = HOUR;
/// Time between the beginnings of two passes from which on there is a gap.
const GAP: Duration = HOUR.saturating_mul(2);
/// How far a pass goes back before the beginning of the last one, because the failure of a delivery is listed late.
const OVERLAP: Duration = HOUR.saturating_mul(3);
/// How far the first pass goes back.
const REACH: Duration = DAY.saturating_mul(30);

/// A part of a store's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub since: Timestamp,
    /// Whether only notifications are read that the store could not deliver.
    pub only_failures: bool,
}

/// Returns the part that a pass reads. `through` is the beginning of the last complete pass. The first pass reads
/// failures alone, since what was delivered before was delivered to another server.
pub fn of_pass(began_at: Timestamp, through: Option<Timestamp>) -> Part {
    match through {
        None => Part {
            since: began_at.minus(REACH),
            only_failures: true,
        },
        Some(through) => Part {
            since: through.minus(OVERLAP),
            only_failures: began_at.since(through) < GAP,
        },
    }
}

/// Returns how long until the pass after this one begins: none after a pass that was interrupted for long, because it
/// reads nothing of that time.
pub fn wait(began_at: Timestamp, now: Timestamp) -> Duration {
    if now.since(began_at) < GAP {
        EVERY
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::time::MINUTE;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    #[test]
    fn failures_are_read_hourly_and_everything_after_a_gap() {
        let hourly = of_pass(now(), Some(now().minus(HOUR + MINUTE)));
        assert!(hourly.only_failures);
        assert_eq!(hourly.since, now().minus(HOUR * 4 + MINUTE));
        for gap in [HOUR * 2, DAY * 3] {
            let after = of_pass(now(), Some(now().minus(gap)));
            assert!(!after.only_failures);
            assert_eq!(after.since, now().minus(gap + HOUR * 3));
        }
    }

    #[test]
    fn the_first_pass_reads_failures_alone() {
        let first = of_pass(now(), None);
        assert!(first.only_failures);
        assert_eq!(first.since, now().minus(DAY * 30));
    }

    #[test]
    fn a_pass_that_was_interrupted_for_long_is_followed_at_once() {
        let waits = [MINUTE, HOUR * 2, DAY].map(|passed| wait(now(), now().plus(passed)));
        assert_eq!(waits, [HOUR, Duration::ZERO, Duration::ZERO]);
        let next = of_pass(now().plus(DAY), Some(now()));
        assert!(!next.only_failures);
    }
}
