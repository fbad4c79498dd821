//! The orders that a pass reads: young ones in each pass, older ones once a week. So the number of orders per day grows
//! with the number of payments per day, and not with the age of the installation.

use domain::Timestamp;
use domain::time::DAY;
use std::ops::Range;

/// The age in days up to which orders are read in each pass.
const YOUNG: i64 = 14;
/// The age in days from which orders are not read any more.
const OLD: i64 = 90;
const WEEK: i64 = 7;

/// Returns the ranges of time whose orders a pass reads, the oldest first. `through` is the beginning of the last
/// complete pass: an older order is read if its day of the week has come since then.
pub fn of_pass(began_at: Timestamp, through: Option<Timestamp>) -> Vec<Range<Timestamp>> {
    let today = day(began_at);
    let last = through.map_or(i64::MIN, day);
    let since = last.saturating_add(1).max(today - (WEEK - 1)).min(today);
    let is_due = |one: i64| (since..=today).any(|passed| (passed - one) % WEEK == 0);
    let young = today - YOUNG;
    let older = (today - OLD..young).filter(|one| is_due(*one));
    let older = older.map(|one| start(one)..start(one + 1));
    older
        .chain(std::iter::once(start(young)..began_at))
        .collect()
}

fn micros_of_a_day() -> i64 {
    i64::try_from(DAY.as_micros()).unwrap_or(1)
}

/// Returns the number of a time's day since 1970.
fn day(at: Timestamp) -> i64 {
    at.micros().div_euclid(micros_of_a_day())
}

/// Returns the beginning of a day.
fn start(day: i64) -> Timestamp {
    Timestamp::from_micros(day.saturating_mul(micros_of_a_day()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::time::HOUR;

    fn now() -> Timestamp {
        Timestamp::from_millis(1_800_000_000_000)
    }

    fn is_read(pass: &[Range<Timestamp>], order: Timestamp) -> bool {
        pass.iter().any(|range| range.contains(&order))
    }

    #[test]
    fn a_young_order_is_read_in_each_pass_and_an_old_one_weekly() {
        let passes: Vec<_> = (0..21)
            .map(|number| {
                let began_at = now().plus(DAY * number);
                of_pass(began_at, Some(began_at.minus(DAY)))
            })
            .collect();
        let count = |age: u32| {
            let order = now().minus(DAY * age + HOUR);
            let read = passes.iter().filter(|pass| is_read(pass, order));
            read.count()
        };
        assert_eq!((count(0), count(30), count(60)), (15, 3, 3));
        assert_eq!(count(100), 0);
    }

    #[test]
    fn the_first_pass_reads_all_and_later_ones_a_bounded_part() {
        let days = |pass: Vec<Range<Timestamp>>| {
            let all = pass.iter().map(|range| range.end.since(range.start));
            all.sum::<std::time::Duration>().as_secs() / 86_400
        };
        assert_eq!(days(of_pass(now(), None)), 90);
        let daily = days(of_pass(now(), Some(now().minus(DAY))));
        assert!((24..=26).contains(&daily), "{daily}");
        let again = of_pass(now(), Some(now()));
        assert_eq!(again, of_pass(now(), Some(now().minus(DAY))));
    }

    #[test]
    fn a_pass_after_an_outage_reads_what_the_missed_ones_would_have() {
        let outage = of_pass(now(), Some(now().minus(DAY * 3)));
        for missed in 0..3 {
            let began_at = now().minus(DAY * missed);
            for range in of_pass(began_at, Some(began_at.minus(DAY))) {
                let is_old = range.end <= now().minus(DAY * 20);
                let is_still = range.start >= now().minus(DAY * 88);
                assert!(
                    !is_old || !is_still || is_read(&outage, range.start),
                    "{range:?}"
                );
            }
        }
        let long = of_pass(now(), Some(now().minus(DAY * 40)));
        assert_eq!(long, of_pass(now(), None));
    }

    #[test]
    fn the_ranges_of_a_pass_are_in_order_and_do_not_overlap() {
        for through in [None, Some(now().minus(DAY)), Some(now().plus(DAY))] {
            let pass = of_pass(now(), through);
            let mut pairs = pass.windows(2);
            assert!(pairs.all(|pair| pair[0].end <= pair[1].start), "{pass:?}");
            assert_eq!(pass.last().map(|range| range.end), Some(now()));
        }
    }
}
