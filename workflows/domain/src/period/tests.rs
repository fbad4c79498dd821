//! Periods of Google's orders and Apple's transactions: each payment, refund and reversal is recorded once, in any
//! order.

use super::{
    MAX_PERIODS, OfferPhase, Period, PeriodEntry, PeriodRefund, Periods, RefundExtent,
    RefundedPayment, missing_entries, missing_tax,
};
use crate::event::tests::day;
use crate::payment::EntryKind;
use crate::stores::google;
use crate::time::{MINUTE, Timestamp};
use rust_decimal::Decimal;
use std::collections::BTreeMap;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Returns a Google Play order of 4.99 dollars: the purchase, renewal 1, 2 and so on.
fn order(renewal: u32) -> Period {
    let id = match renewal.checked_sub(1) {
        None => "GPA.1".to_owned(),
        Some(suffix) => format!("GPA.1..{suffix}"),
    };
    Period {
        transaction_id: id,
        as_of: day(0),
        product: "gold".to_owned(),
        plan: Some("monthly".to_owned()),
        begins_at: day(30 * i64::from(renewal)),
        ends_at: Some(day(30 * i64::from(renewal) + 30)),
        phase: OfferPhase::Base,
        price: google::amount(Some("4"), Some(990_000_000)),
        currency: Some("USD".to_owned()),
        tax: google::amount(None, Some(800_000_000)),
        country: Some("US".to_owned()),
        quantity: 1,
        refund: None,
        refunded_tax: None,
        voided_at: None,
        cause: None,
    }
}

/// Returns an App Store transaction. Its price is in thousandths, even in a currency without decimals.
fn transaction(id: &str, price_millis: i64, currency: &str) -> Period {
    Period {
        transaction_id: id.to_owned(),
        plan: None,
        price: Some(Decimal::new(price_millis, 3).normalize()),
        currency: Some(currency.to_owned()),
        tax: None,
        ..order(0)
    }
}

fn refund(at: Timestamp, extent: RefundExtent) -> PeriodRefund {
    PeriodRefund { at, extent }
}

fn refunded(id: &str, refund: PeriodRefund) -> RefundedPayment {
    RefundedPayment {
        transaction_id: id.to_owned(),
        refund,
        tax: None,
    }
}

/// A ledger, by transaction.
#[derive(Default)]
struct Ledger(BTreeMap<String, Vec<PeriodEntry>>);

impl Ledger {
    /// Records the missing entries, and returns them.
    fn record(&mut self, periods: &Periods) -> Vec<PeriodEntry> {
        let mut added = Vec::new();
        for period in periods.iter() {
            let recorded = self.0.entry(period.transaction_id.clone()).or_default();
            let missing = missing_entries(period, EntryKind::Renewal, recorded);
            recorded.extend(&missing);
            added.extend(missing);
        }
        added
    }

    fn sum(&self) -> Decimal {
        let all = self.0.values().flatten();
        all.filter_map(|entry| entry.amount).sum()
    }
}

fn entry(kind: EntryKind, amount: &str) -> PeriodEntry {
    PeriodEntry {
        kind,
        amount: Some(decimal(amount)),
    }
}

fn added(all: &[Period]) -> Periods {
    let mut periods = Periods::default();
    all.iter().for_each(|one| periods.add(one));
    periods
}

/// Returns all permutations of `count` indices.
fn permutations(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let shorter = permutations(count - 1);
    let insert = |at: usize| {
        shorter.iter().map(move |one| {
            let mut longer = one.clone();
            longer.insert(at, count - 1);
            longer
        })
    };
    (0..count).flat_map(insert).collect()
}

#[test]
fn a_refund_of_an_older_period_returns_its_price_once() {
    let orders: Vec<_> = (0..5).map(order).collect();
    let mut periods = added(&orders);
    let mut ledger = Ledger::default();
    let paid = vec![entry(EntryKind::Renewal, "4.99"); 5];
    assert_eq!(ledger.record(&periods), paid);
    // The third of five.
    let full = refund(day(140), RefundExtent::Full);
    for _ in 0..2 {
        assert!(periods.refund(&refunded("GPA.1..1", full)));
    }
    assert_eq!(ledger.record(&periods), [entry(EntryKind::Refund, "-4.99")]);
    assert_eq!(ledger.record(&periods), []);
    assert_eq!(ledger.sum(), decimal("19.96"));
    assert!(
        !periods.refund(&refunded("GPA.2", full)),
        "of another purchase"
    );
    assert_eq!(periods.newest().map(|one| one.refund), Some(None));
}

#[test]
fn a_part_the_rest_and_a_reversal_are_booked_by_difference() {
    let mut periods = added(&[order(0)]);
    let mut ledger = Ledger::default();
    ledger.record(&periods);
    for (at, extent, expected) in [
        (
            1,
            RefundExtent::Amount(decimal("1.50")),
            Some((EntryKind::Refund, "-1.50")),
        ),
        (2, RefundExtent::Full, Some((EntryKind::Refund, "-3.49"))),
        (
            3,
            RefundExtent::Reversed,
            Some((EntryKind::Restored, "4.99")),
        ),
        // An older report that arrives late.
        (2, RefundExtent::Full, None),
        (
            4,
            RefundExtent::Mille(500),
            Some((EntryKind::Refund, "-2.495")),
        ),
    ] {
        periods.refund(&refunded("GPA.1", refund(day(at), extent)));
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(kind, amount)| entry(kind, amount))
            .collect();
        assert_eq!(ledger.record(&periods), expected, "{extent:?}");
    }
    assert_eq!(ledger.sum(), decimal("2.495"));
}

#[test]
fn the_tax_of_refunds_adds_up_and_comes_back_with_a_reversal() {
    let returned = |extent, tax: Option<&str>| Period {
        refund: Some(refund(day(1), extent)),
        refunded_tax: tax.map(decimal),
        ..order(0)
    };
    let part = RefundExtent::Amount(decimal("1.50"));
    for (shown, recorded, expected) in [
        (returned(part, Some("0.24")), None, Some("-0.24")),
        (
            returned(RefundExtent::Full, Some("0.80")),
            Some("-0.24"),
            Some("-0.56"),
        ),
        (
            returned(RefundExtent::Reversed, Some("0.80")),
            Some("-0.80"),
            Some("0.80"),
        ),
        (returned(RefundExtent::Full, None), None, None),
        (returned(RefundExtent::Reversed, None), None, None),
    ] {
        let tax = missing_tax(&shown, recorded.map(decimal));
        assert_eq!(tax, expected.map(decimal), "{shown:?}");
    }
    // Whichever answer shows it: what is returned grows.
    let (less, more) = (
        returned(part, Some("0.24")),
        returned(RefundExtent::Full, Some("0.80")),
    );
    for shown in [[&less, &more], [&more, &less]] {
        let periods = added(&shown.map(Clone::clone));
        let tax = periods.newest().and_then(|one| one.refunded_tax);
        assert_eq!(tax, Some(decimal("0.80")));
    }
}

#[test]
fn g29_a_refund_of_an_older_order() {
    let mut periods = added(&[order(1), order(3)]);
    let mut ledger = Ledger::default();
    ledger.record(&periods);
    periods.refund(&refunded("GPA.1..0", refund(day(100), RefundExtent::Full)));
    assert_eq!(ledger.record(&periods), [entry(EntryKind::Refund, "-4.99")]);
    let newest = periods.newest().unwrap();
    assert_eq!(
        (newest.transaction_id.as_str(), newest.refund),
        ("GPA.1..2", None)
    );
}

#[test]
fn g31_an_order_alone_shows_a_refund() {
    let mut periods = added(&[order(0)]);
    let mut ledger = Ledger::default();
    ledger.record(&periods);
    let swept = |state, returned: Option<Decimal>| Period {
        as_of: day(2),
        refund: google::refund_extent(google::OrderState::of(state), returned)
            .map(|extent| refund(day(1), extent)),
        ..order(0)
    };
    periods.add(&swept("PROCESSED", None));
    assert_eq!(ledger.record(&periods), []);
    periods.add(&swept("REFUNDED", None));
    periods.add(&swept("REFUNDED", None));
    assert_eq!(ledger.record(&periods), [entry(EntryKind::Refund, "-4.99")]);
}

#[test]
fn g33_units_are_returned_once_each() {
    let bought = Period {
        ends_at: None,
        quantity: 3,
        price: Some(decimal("9")),
        ..order(0)
    };
    let mut periods = added(&[bought]);
    let mut ledger = Ledger::default();
    ledger.record(&periods);
    for (at, extent, expected) in [
        (1, RefundExtent::Units(2), Some("-6")),
        (1, RefundExtent::Units(2), None),
        (2, RefundExtent::Full, Some("-3")),
    ] {
        periods.refund(&refunded("GPA.1", refund(day(at), extent)));
        let expected: Vec<_> = expected
            .map(|amount| entry(EntryKind::Refund, amount))
            .into_iter()
            .collect();
        assert_eq!(ledger.record(&periods), expected, "{extent:?}");
    }
    assert_eq!(ledger.sum(), Decimal::ZERO);
}

#[test]
fn g34_payments_minutes_apart_are_all_counted() {
    let minutes = |count: u32| day(0).plus(MINUTE * count);
    let orders: Vec<_> = (0..7)
        .map(|renewal| Period {
            begins_at: minutes(5 * renewal),
            ends_at: Some(minutes(5 * renewal + 5)),
            ..order(renewal)
        })
        .collect();
    let mut periods = added(&orders[..4]);
    let mut ledger = Ledger::default();
    assert_eq!(ledger.record(&periods).len(), 4);
    // Three within one window.
    orders[4..].iter().for_each(|one| periods.add(one));
    assert_eq!(ledger.record(&periods).len(), 3);
    let last = periods.newest().map(|one| one.transaction_id.as_str());
    assert_eq!(google::billing_cycles(last), Some(7));
}

#[test]
fn the_signs_of_one_refund_count_once_in_any_order() {
    let full = |at| refund(day(at), RefundExtent::Full);
    let read = Period {
        as_of: day(3),
        refund: Some(full(1)),
        ..order(0)
    };
    type Sign<'a> = Box<dyn Fn(&mut Periods) + 'a>;
    let signs: [Sign<'_>; 4] = [
        Box::new(|periods| assert!(periods.refund(&refunded("GPA.1", full(1))))),
        Box::new(|periods| assert!(periods.refund(&refunded("GPA.1", full(2))))),
        Box::new(|periods| periods.add(&read)),
        Box::new(|periods| periods.add(&order(0))),
    ];
    let mut results = Vec::new();
    for sequence in permutations(signs.len()) {
        let mut periods = added(&[order(0)]);
        let mut ledger = Ledger::default();
        ledger.record(&periods);
        let mut entries = Vec::new();
        for at in &sequence {
            signs[*at](&mut periods);
            entries.extend(ledger.record(&periods));
        }
        let expected = [entry(EntryKind::Refund, "-4.99")];
        assert_eq!(entries, expected, "{sequence:?}");
        results.push(periods);
    }
    assert_eq!(results.len(), 24);
    assert!(results.iter().all(|one| *one == results[0]));
}

#[test]
fn a_price_that_is_known_later_is_booked_as_a_correction() {
    let unpriced = Period {
        price: None,
        refund: Some(refund(day(1), RefundExtent::Full)),
        ..order(0)
    };
    let mut periods = added(&[unpriced]);
    let mut ledger = Ledger::default();
    let unknown = |kind| PeriodEntry { kind, amount: None };
    let expected = [EntryKind::Renewal, EntryKind::Refund].map(unknown);
    assert_eq!(ledger.record(&periods), expected);
    assert_eq!(ledger.record(&periods), []);
    periods.add(&order(0));
    ledger.record(&periods);
    assert_eq!(ledger.sum(), Decimal::ZERO);
    assert_eq!(ledger.record(&periods), []);
    let reversed = refund(day(2), RefundExtent::Reversed);
    periods.refund(&refunded("GPA.1", reversed));
    assert_eq!(
        ledger.record(&periods),
        [entry(EntryKind::Restored, "4.99")]
    );
}

#[test]
fn a_part_of_an_unknown_amount_is_taken_back_without_one() {
    let mut periods = added(&[transaction("2000000", 300_000, "JPY")]);
    let mut ledger = Ledger::default();
    assert_eq!(ledger.record(&periods), [entry(EntryKind::Renewal, "300")]);
    periods.refund(&refunded("2000000", refund(day(1), RefundExtent::Unknown)));
    let unknown = |kind| PeriodEntry { kind, amount: None };
    assert_eq!(ledger.record(&periods), [unknown(EntryKind::Refund)]);
    assert_eq!(ledger.record(&periods), []);
    periods.refund(&refunded("2000000", refund(day(2), RefundExtent::Reversed)));
    assert_eq!(ledger.record(&periods), [unknown(EntryKind::Restored)]);
    assert_eq!(ledger.record(&periods), []);
}

#[test]
fn thousandths_are_exact_in_every_currency() {
    for (millis, currency, expected) in [
        (1_990, "USD", "1.99"),
        (300_000, "JPY", "300"),
        (1_995, "KWD", "1.995"),
        (0, "USD", "0"),
    ] {
        let period = transaction("1", millis, currency);
        assert_eq!(period.price, Some(decimal(expected)), "{currency}");
    }
}

#[test]
fn the_newest_periods_are_bounded() {
    let count = u32::try_from(MAX_PERIODS).unwrap() + 4;
    let orders: Vec<_> = (0..count).map(order).collect();
    let periods = added(&orders);
    assert_eq!(periods.iter().count(), MAX_PERIODS);
    assert_eq!(periods.newest(), orders.last());
    let reversed: Vec<_> = orders.iter().rev().cloned().collect();
    assert_eq!(added(&reversed), periods);
    let json = serde_json::to_value(&periods).unwrap();
    assert_eq!(serde_json::from_value::<Periods>(json).unwrap(), periods);
}

#[test]
fn a_later_answer_wins_and_forgets_nothing() {
    let early = Period {
        price: None,
        plan: None,
        ..order(0)
    };
    let late = Period {
        as_of: day(1),
        ends_at: Some(day(45)),
        price: None,
        ..order(0)
    };
    let expected = Period {
        price: order(0).price,
        ..late.clone()
    };
    for sequence in permutations(3) {
        let shown = [early.clone(), order(0), late.clone()];
        let shown: Vec<_> = sequence.iter().map(|at| shown[*at].clone()).collect();
        assert_eq!(added(&shown).newest(), Some(&expected), "{sequence:?}");
    }
}
