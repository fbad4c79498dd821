//! Which rate applies on a day.

use super::{Conversion, DailyRate, Day, changed_days, converted_days, days_of};
use proptest::prelude::*;
use rust_decimal::Decimal;
use std::collections::{BTreeMap, BTreeSet};

fn day(text: &str) -> Day {
    text.parse().unwrap()
}

fn rates(days: &[&str]) -> Vec<DailyRate> {
    days.iter()
        .map(|text| DailyRate {
            day: day(text),
            usd: Decimal::ONE,
        })
        .collect()
}

/// Returns the day of the rate that converts an amount of the day `on`.
fn rate_day(on: &str, days: &[&str]) -> Option<String> {
    Conversion::on(day(on), rates(days)).map(|found| found.rate.day.to_string())
}

#[test]
fn a_rate_counts_until_the_next_one_and_for_at_most_a_week() {
    let working_days = ["2026-11-19", "2026-11-20", "2026-11-23"];
    for (on, expected) in [
        ("2026-11-18", None),
        ("2026-11-19", Some("2026-11-19")),
        ("2026-11-20", Some("2026-11-20")),
        ("2026-11-21", Some("2026-11-20")),
        ("2026-11-22", Some("2026-11-20")),
        ("2026-11-23", Some("2026-11-23")),
        ("2026-11-30", Some("2026-11-23")),
        ("2026-12-01", None),
        ("2027-11-23", None),
    ] {
        assert_eq!(rate_day(on, &working_days).as_deref(), expected, "{on}");
    }
    assert_eq!(
        rate_day("2026-11-22", &["2026-11-23"]),
        None,
        "the rate of tomorrow"
    );
}

#[test]
fn a_day_is_written_as_it_is_read() {
    for text in [
        "0000-01-01",
        "0001-01-01",
        "1969-12-31",
        "1970-01-01",
        "2024-02-29",
        "2026-11-22",
        "9999-12-31",
    ] {
        assert_eq!(day(text).to_string(), text);
    }
    for text in [
        "",
        "2026-02-30",
        "2026-1-1",
        "20260101",
        "2026-01-01T00:00:00Z",
        "02026-01-01",
    ] {
        assert!(text.parse::<Day>().is_err(), "{text}");
    }
    assert_eq!(
        Day::of("1969-12-31T23:59:59Z".parse().unwrap()),
        day("1969-12-31")
    );
    assert_eq!(
        Day::of("2026-11-22T23:59:59Z".parse().unwrap()),
        day("2026-11-22")
    );
}

/// Returns a day of 2026 or 2027 by its number.
fn nth(number: i64) -> Day {
    day("2026-12-01").plus(number)
}

fn conversion(rates: &BTreeMap<Day, Decimal>, on: Day) -> Option<Conversion> {
    Conversion::on(
        on,
        rates.iter().map(|(day, usd)| DailyRate {
            day: *day,
            usd: *usd,
        }),
    )
}

/// Returns the stored rates that an import of the new ones reads; `None` if there are no new ones.
fn near(
    stored: &BTreeMap<Day, Decimal>,
    new: &BTreeMap<Day, Decimal>,
) -> Option<BTreeMap<Day, Decimal>> {
    let days = days_of(new)?;
    Some(
        stored
            .iter()
            .filter(|(day, _)| days.contains(day))
            .map(|(day, usd)| (*day, *usd))
            .collect(),
    )
}

fn some_rates() -> impl Strategy<Value = BTreeMap<Day, Decimal>> {
    prop::collection::btree_map(
        (0_i64..50).prop_map(nth),
        (1_i64..4).prop_map(Decimal::from),
        0..12,
    )
}

proptest! {
    /// By definition: the newest rate of the day and the seven days before it.
    #[test]
    fn the_newest_of_the_last_week_counts(days in prop::collection::vec(0_i64..40, 0..12), on in 0_i64..50) {
        let rates = days.iter().map(|day| DailyRate { day: nth(*day), usd: Decimal::from(*day) });
        let found = Conversion::on(nth(on), rates).map(|found| found.rate.day);
        prop_assert_eq!(found, days.iter().copied().filter(|day| (on - 7..=on).contains(day)).max().map(nth));
    }

    /// The days on which a rate applies are exactly those that it converts: changing the rate affects no other day.
    #[test]
    fn a_rate_counts_on_its_days_only(days in prop::collection::btree_set(0_i64..40, 1..12), on in 0_i64..50) {
        let days: BTreeSet<Day> = days.into_iter().map(nth).collect();
        let rates: Vec<DailyRate> = days.iter().map(|day| DailyRate { day: *day, usd: Decimal::ONE }).collect();
        let found = Conversion::on(nth(on), rates.iter().copied()).map(|found| found.rate.day);
        for rate in &rates {
            let next = days.range(rate.day.plus(1)..).next().copied();
            prop_assert_eq!(found == Some(rate.day), rate.days(next).contains(&nth(on)));
        }
    }

    /// Storing a rate again affects these days and no others.
    #[test]
    fn the_new_rates_convert_on_their_days_only(stored in some_rates(), new in some_rates()) {
        let all: BTreeMap<Day, Decimal> = stored.iter().chain(&new).map(|(day, usd)| (*day, *usd)).collect();
        let ranges = near(&stored, &new).map_or_else(Vec::new, |near| converted_days(&near, &new));
        for day in (0..60).map(nth) {
            let is_by_new = conversion(&all, day).is_some_and(|found| new.contains_key(&found.rate.day));
            let is_in_one = ranges.iter().filter(|days| days.contains(&day)).count() == 1;
            prop_assert_eq!(is_by_new, is_in_one, "{:?}: {:?}", day, &ranges);
        }
    }

    /// Amounts are converted again on exactly these days, whatever was stored and whatever is added.
    #[test]
    fn another_rate_converts_on_the_changed_days_only(stored in some_rates(), new in some_rates()) {
        let all: BTreeMap<Day, Decimal> = stored.iter().chain(&new).map(|(day, usd)| (*day, *usd)).collect();
        let ranges = near(&stored, &new).map_or_else(Vec::new, |near| changed_days(&near, &new));
        for day in (0..60).map(nth) {
            let is_in_one = ranges.iter().filter(|days| days.contains(&day)).count() == 1;
            prop_assert_eq!(conversion(&stored, day) != conversion(&all, day), is_in_one, "{:?}: {:?}", day, &ranges);
        }
        let mut follows = ranges.iter().zip(ranges.iter().skip(1));
        prop_assert!(follows.all(|(one, next)| one.end().plus(1) < *next.start()), "{:?}", ranges);
    }
}
