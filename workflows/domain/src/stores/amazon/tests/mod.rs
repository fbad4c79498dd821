//! Terms by the calendar, anchors and revocations.

mod anchor;
mod revocation;
mod terms;

use crate::purchase::{Origin, Purchase, Terms};
use crate::time::Timestamp;
use crate::verification::{Term, Unit};

/// Purchases as stored by release 0.1.0.
const STORED: &str =
    include_str!("../../../../../../tests/released/0.1.0/samples/purchases.purchase.jsonl");

fn time(date: &str) -> Timestamp {
    format!("{date}T00:00:00Z").parse().unwrap()
}

#[test]
fn a_missing_day_becomes_the_last_of_the_month_from_the_anchor() {
    let terms = |anchor, count, unit| Terms {
        anchor: time(anchor),
        term: Term { count, unit },
        before: 0,
        origin: Origin::Seen,
    };
    let monthly = terms("2027-01-31", 1, Unit::Month);
    let ends: Vec<_> = (1..=4).map(|number| monthly.end(number).unwrap()).collect();
    assert_eq!(
        ends,
        ["2027-02-28", "2027-03-31", "2027-04-30", "2027-05-31"].map(time)
    );
    assert_eq!(monthly.end(13), Some(time("2028-02-29")));
    assert_eq!(
        terms("2028-02-29", 1, Unit::Year).end(1),
        Some(time("2029-02-28"))
    );
    assert_eq!(
        terms("2028-02-29", 1, Unit::Year).end(4),
        Some(time("2032-02-29"))
    );
    assert_eq!(
        terms("2027-01-31", 2, Unit::Week).end(3),
        Some(time("2027-03-14"))
    );
    assert_eq!(monthly.ending(time("2027-04-29")), Some(3));
    assert_eq!(monthly.ending(time("2027-02-01")), None);
    assert_eq!(monthly.begun(time("2027-02-28")), 2);
    assert_eq!(monthly.begun(time("2027-02-27")), 1);
    assert_eq!(monthly.begun(time("2027-01-30")), 0);
    assert_eq!(
        monthly.containing(time("2027-02-28").plus_millis(-11 * 3_600_000)),
        2
    );
    assert_eq!(
        monthly.containing(time("2027-02-28").plus_millis(-13 * 3_600_000)),
        1
    );
}

#[test]
fn a_purchase_that_a_release_stored_is_stored_the_same() {
    for stored in STORED.lines() {
        let purchase: Purchase = serde_json::from_str(stored).unwrap();
        assert_eq!(serde_json::to_string(&purchase).unwrap(), stored);
    }
    assert!(STORED.lines().count() > 10);
}
