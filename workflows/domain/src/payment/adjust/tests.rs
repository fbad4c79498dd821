//! Which payment a line of a report changes, and by how much.

use super::{
    Adjustment, ConvertedPrice, LedgerEntry, PriceReport, RefundStatus, Sale, SaleKind,
    adjustments, confirmed, confirmed_refunds, matches, reconverted,
};
use crate::event::tests::day;
use crate::payment::EntryKind::{Initial, Refund, Renewal};
use crate::payment::{Conversion, DailyRate, Day, EntryKind};
use crate::time::DAY;
use SaleKind::{Charge, Chargeback, Refund as Return};
use rust_decimal::Decimal;
use std::time::Duration;

const REACH: Duration = DAY.saturating_mul(15);
const VALID: RefundStatus = RefundStatus::Valid;

fn usd(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Returns a payment for every thirtieth day: number 1 on day 30, number 2 on day 60.
fn paid(number: i64, amount: Option<&str>) -> LedgerEntry {
    let kind = if number == 1 { Initial } else { Renewal };
    LedgerEntry {
        number,
        kind,
        at: day(number * 30),
        usd: amount.map(usd),
        transaction_id: None,
        is_by_rate: false,
    }
}

fn charge_and(number: i64, kind: SaleKind, days: i64) -> Sale {
    sale(&format!("t{number}"), kind, days, "9.99")
}

fn sale(id: &str, kind: SaleKind, days: i64, amount: &str) -> Sale {
    Sale {
        transaction_id: id.to_owned(),
        kind,
        at: day(days),
        price: usd(amount),
        currency: "USD".to_owned(),
        usd: Some(usd(amount)),
        conversion: None,
    }
}

fn in_currency(sale: Sale, currency: &str, amount: Option<&str>) -> Sale {
    Sale {
        currency: currency.to_owned(),
        usd: amount.map(usd),
        ..sale
    }
}

/// Adjusts until no entry is missing. Returns the added amounts by number, and all entries.
fn settled(
    booked: &[LedgerEntry],
    sales: &[Sale],
    refund_status: RefundStatus,
) -> (Vec<(i64, String)>, Vec<LedgerEntry>) {
    let mut entries = booked.to_vec();
    let added = adjustments(&entries, sales, refund_status, REACH);
    entries.extend(added.iter().map(|one| entry(one, false)));
    entries.sort_by_key(|entry| entry.number);
    assert_eq!(
        adjustments(&entries, sales, refund_status, REACH),
        [],
        "the same facts again"
    );
    (
        added
            .into_iter()
            .map(|one| (one.number, one.usd.to_string()))
            .collect(),
        entries,
    )
}

fn entry(adjustment: &Adjustment, is_by_rate: bool) -> LedgerEntry {
    let Adjustment {
        number,
        kind,
        at,
        usd,
        transaction_id,
        ..
    } = adjustment.clone();
    LedgerEntry {
        number,
        kind,
        at: at.unwrap_or_else(|| day(0)),
        usd: Some(usd),
        transaction_id,
        is_by_rate,
    }
}

/// Corrects a payment of 9.00 to each of these amounts in turn, as newer rates would. Returns the corrections.
fn reconvert(
    booked: &[LedgerEntry],
    sales: &[Sale],
    amounts: &[&str],
) -> (Vec<(i64, String)>, Vec<LedgerEntry>) {
    let (mut entries, mut all) = (booked.to_vec(), Vec::new());
    let on = Day::of(day(30));
    for amount in amounts {
        let conversion = Conversion {
            on,
            rate: DailyRate {
                day: on,
                usd: Decimal::ONE,
            },
        };
        let price = [ConvertedPrice {
            number: 1,
            usd: usd(amount),
            conversion,
        }];
        let corrections = reconverted(&entries, sales, &price, REACH);
        entries.extend(corrections.iter().map(|one| entry(one, true)));
        assert_eq!(
            reconverted(&entries, sales, &price, REACH),
            [],
            "the same rate again"
        );
        all.extend(
            corrections
                .iter()
                .map(|one| (one.number, one.usd.to_string())),
        );
        all.extend(settled(&entries, sales, VALID).0);
    }
    (all, entries)
}

#[test]
fn a_price_is_corrected_once_by_each_rate_that_counts_later() {
    let amounts = |amounts: &[&str]| {
        reconvert(
            &[paid(1, Some("9.00")), paid(2, Some("9.00"))],
            &[],
            amounts,
        )
        .0
    };
    assert_eq!(amounts(&["9.00"]), []);
    assert_eq!(amounts(&["9.10"]), one(1, "0.10"));
    assert_eq!(
        amounts(&["9.10", "9.10", "8.90"]),
        [one(1, "0.10"), one(1, "-0.20")].concat()
    );
    assert_eq!(
        reconvert(&[paid(1, None)], &[], &["9.10", "9.10"]).0,
        one(1, "9.10"),
        "it was not known before"
    );
}

#[test]
fn a_rate_corrects_no_price_of_a_report_and_nothing_refunded() {
    let charged = [in_currency(
        sale("t1", Charge, 30, "8.50"),
        "EUR",
        Some("9.20"),
    )];
    let (_, entries) = settled(&[paid(1, Some("9.00"))], &charged, VALID);
    assert_eq!(reconvert(&entries, &charged, &["9.10"]).0, []);
    let refund = LedgerEntry {
        kind: Refund,
        usd: Some(usd("-9.00")),
        ..paid(1, None)
    };
    let price = |amount: &str| {
        let on = Day::of(day(30));
        [ConvertedPrice {
            number: 1,
            usd: usd(amount),
            conversion: Conversion {
                on,
                rate: DailyRate {
                    day: on,
                    usd: Decimal::ONE,
                },
            },
        }]
    };
    assert_eq!(
        reconverted(&[paid(1, Some("9.00")), refund], &[], &price("9.10"), REACH),
        []
    );
}

/// The reported refund is converted by the same rate as the price.
#[test]
fn a_rate_corrects_what_a_refund_of_a_report_leaves() {
    let corrected = |euros: &str, [carried, own]: [&str; 2], price: &str| {
        let refund = |usd| [in_currency(sale("r1", Return, 35, euros), "EUR", Some(usd))];
        let (_, entries) = settled(&[paid(1, Some("9.71"))], &refund(carried), VALID);
        let (added, _) = reconvert(&entries, &refund(own), &[price]);
        let booked = entries
            .iter()
            .filter_map(|entry| entry.usd)
            .sum::<Decimal>();
        let left = booked + added.iter().map(|(_, amount)| usd(amount)).sum::<Decimal>();
        (
            added
                .into_iter()
                .map(|(_, amount)| amount)
                .collect::<Vec<_>>(),
            left,
        )
    };
    let expected = |added: &[&str], left: &str| {
        (
            added
                .iter()
                .map(|one| (*one).to_owned())
                .collect::<Vec<_>>(),
            usd(left),
        )
    };
    assert_eq!(
        corrected("8.99", ["9.71", "9.89"], "9.89"),
        expected(&[], "0"),
        "it was returned as a whole"
    );
    // At a lower rate, less was refunded than was earned, so both amounts change.
    assert_eq!(
        corrected("8.99", ["9.71", "9.44"], "9.44"),
        expected(&["-0.27", "0.27"], "0")
    );
    assert_eq!(
        corrected("4.00", ["4.32", "4.40"], "9.89"),
        expected(&["0.18", "-0.08"], "5.49")
    );
    assert_eq!(
        corrected("4.00", ["4.32", "4.20"], "9.44"),
        expected(&["-0.27", "0.12"], "5.24")
    );
}

#[test]
fn a_report_after_a_correction_by_a_rate_corrects_the_rest() {
    let (_, entries) = reconvert(&[paid(1, Some("9.00"))], &[], &["9.10"]);
    let charged = [in_currency(
        sale("t1", Charge, 30, "8.50"),
        "EUR",
        Some("9.25"),
    )];
    assert_eq!(added(&entries, &charged), one(1, "0.15"));
    let part = [sale("t1", Return, 40, "4.00")];
    assert_eq!(
        added(&entries, &part),
        one(1, "-4.00"),
        "a refund is a part of the corrected price"
    );
}

fn added(booked: &[LedgerEntry], sales: &[Sale]) -> Vec<(i64, String)> {
    settled(booked, sales, VALID).0
}

fn one(number: i64, amount: &str) -> Vec<(i64, String)> {
    vec![(number, amount.to_owned())]
}

#[test]
fn a_refund_without_a_rate_reverts_no_other_refund() {
    let euros = |sale: Sale, amount| in_currency(sale, "EUR", amount);
    let pounds = |sale: Sale| in_currency(sale, "GBP", None);
    let mut sales = vec![euros(sale("t1", Charge, 30, "9.99"), Some("10.99"))];
    sales.push(euros(sale("r1", Return, 35, "3.00"), Some("3.35")));
    let (taken, booked) = settled(&[paid(1, Some("10.99"))], &sales, VALID);
    assert_eq!(taken, one(1, "-3.30"));
    sales.push(pounds(sale("r2", Return, 36, "2.00")));
    assert_eq!(added(&booked, &sales), []);
    // An amount in the currency of the charge needs no rate.
    sales.push(euros(sale("r3", Return, 37, "2.00"), None));
    assert_eq!(added(&booked, &sales), one(1, "-2.20"));
}

#[test]
fn a_refund_stays_with_the_payment_for_which_it_was_booked() {
    // A renewal on the day after the refund, of which the report contains nothing.
    let refund = sale("own", Return, 59, "9.99");
    let (taken, mut booked) = settled(
        &[paid(1, Some("9.99"))],
        std::slice::from_ref(&refund),
        VALID,
    );
    assert_eq!(taken, one(1, "-9.99"));
    booked.push(paid(2, Some("9.99")));
    assert_eq!(added(&booked, &[refund]), []);
    // The store showed the refund first.
    let shown = RefundStatus::Refunded(day(59));
    let (taken, mut booked) = settled(&[paid(1, Some("9.99"))], &[], shown);
    assert_eq!(taken, one(1, "-9.99"));
    booked.push(paid(2, Some("9.99")));
    assert_eq!(added(&booked, &[sale("own", Return, 59, "9.99")]), []);
}

#[test]
fn a_refund_of_an_unmatched_charge_waits_for_its_payment() {
    let sales = [
        charge_and(1, Charge, 30),
        charge_and(2, Charge, 60),
        sale("own", Return, 62, "9.99"),
    ];
    let (taken, mut booked) = settled(&[paid(1, Some("9.99"))], &sales, VALID);
    assert_eq!(taken, []);
    booked.push(paid(2, Some("9.99")));
    assert_eq!(added(&booked, &sales), one(2, "-9.99"));
}

#[test]
fn a_refund_booked_for_another_payment_is_moved_once() {
    let refund = sale("t2", Return, 62, "9.99");
    let (taken, mut booked) = settled(
        &[paid(1, Some("9.99"))],
        std::slice::from_ref(&refund),
        VALID,
    );
    assert_eq!(taken, one(1, "-9.99"));
    booked.push(paid(2, Some("9.99")));
    let sales = [charge_and(2, Charge, 60), refund];
    assert_eq!(
        added(&booked, &sales),
        [(1, "9.99".to_owned()), (2, "-9.99".to_owned())]
    );
}

#[test]
fn a_refund_of_an_unknown_charge_is_taken_from_no_payment() {
    let sales = [charge_and(3, Charge, 69), charge_and(3, Return, 121)];
    let booked = [paid(4, Some("9.99"))];
    assert_eq!(matches(&booked, &sales, REACH), [None, None]);
    assert_eq!(added(&booked, &sales), []);
    // The refund was booked before the report contained its charge.
    let (taken, booked) = settled(&booked, &sales[1..], VALID);
    assert_eq!(taken, one(4, "-9.99"));
    assert_eq!(added(&booked, &sales), one(4, "9.99"));
}

#[test]
fn no_more_is_refunded_than_was_earned() {
    assert_eq!(
        added(&[paid(1, None)], &[charge_and(1, Return, 32)]),
        [],
        "it was never counted"
    );
    let twice = [
        charge_and(1, Charge, 30),
        charge_and(1, Return, 32),
        charge_and(1, Chargeback, 40),
    ];
    assert_eq!(added(&[paid(1, Some("9.99"))], &twice), one(1, "-9.99"));
    let own = [
        sale("a", Return, 62, "9.99"),
        sale("b", Return, 62, "9.99"),
        sale("c", Return, 63, "9.99"),
    ];
    let booked = [paid(1, Some("9.99")), paid(2, Some("9.99"))];
    assert_eq!(
        added(&booked, &own),
        [(1, "-9.99".to_owned()), (2, "-9.99".to_owned())]
    );
    assert_eq!(
        matches(&booked, &own, REACH),
        [Some(2), Some(1), None],
        "nothing is left for the third"
    );
    let parts = [
        sale("a", Return, 62, "4.00"),
        sale("b", Return, 62, "4.00"),
        sale("c", Return, 63, "9.99"),
    ];
    assert_eq!(
        added(&booked, &parts),
        [(1, "-9.99".to_owned()), (2, "-8.00".to_owned())]
    );
}

#[test]
fn a_refund_in_its_charges_currency_needs_no_rate() {
    let euros = |sale: Sale, amount| in_currency(sale, "EUR", amount);
    let charge = euros(charge_and(1, Charge, 30), Some("10.99"));
    let refund = |amount: &str, usd| euros(sale("t1", Return, 40, amount), usd);
    let booked = [paid(1, Some("10.99"))];
    for rate in [Some("10.49"), Some("11.50"), None] {
        assert_eq!(
            added(&booked, &[charge.clone(), refund("9.99", rate)]),
            one(1, "-10.99"),
            "{rate:?}"
        );
    }
    let thirds = || {
        (0..3)
            .map(|_| refund("3.33", Some("3.50")))
            .collect::<Vec<_>>()
    };
    let mut sales = vec![charge.clone()];
    sales.extend(thirds());
    assert_eq!(added(&booked, &sales), one(1, "-10.99"));
    assert_eq!(added(&booked, &sales[..2]), one(1, "-3.66"));
    // Without a rate for the charge's day, the earlier price remains, and a partial refund is a part of it.
    let unrated = euros(charge_and(1, Charge, 30), None);
    assert_eq!(
        added(&booked, &[unrated, refund("9.99", None)]),
        one(1, "-10.99")
    );
}

#[test]
fn a_charge_of_nothing_is_no_payment() {
    let trial = sale("t0", Charge, 25, "0.00");
    assert!(trial.is_of_trial());
    let booked = [paid(1, Some("9.99"))];
    assert_eq!(
        matches(&booked, std::slice::from_ref(&trial), REACH),
        [None]
    );
    assert_eq!(
        added(&booked, &[trial, sale("own", Return, 32, "9.99")]),
        one(1, "-9.99")
    );
}

#[test]
fn a_price_that_was_found_later_is_refunded_like_a_known_one() {
    let found = LedgerEntry {
        kind: EntryKind::Correction,
        usd: Some(usd("9.99")),
        ..paid(1, None)
    };
    let booked = [paid(1, None), found];
    assert_eq!(
        settled(&booked, &[], RefundStatus::Refunded(day(32))).0,
        one(1, "-9.99")
    );
    assert_eq!(
        added(&booked, &[sale("own", Return, 32, "4.00")]),
        one(1, "-4.00")
    );
    assert_eq!(added(&booked, &[]), []);
    let entries = settled(&booked, &[sale("t1", Charge, 30, "8.49")], VALID).1;
    assert_eq!(
        entries.iter().filter(|entry| entry.kind == Refund).count(),
        0
    );
}

#[test]
fn a_price_and_its_refund_are_two_entries_as_they_were_reported() {
    let sales = [
        sale("t1", Charge, 30, "7.99"),
        sale("t1", Return, 40, "7.99"),
    ];
    let both = |first: &str, second: &str| vec![(1, first.to_owned()), (1, second.to_owned())];
    assert_eq!(
        added(&[paid(1, Some("9.99"))], &sales),
        both("-2.00", "-7.99")
    );
    assert_eq!(
        added(&[paid(1, Some("4.99"))], &sales),
        both("3.00", "-7.99")
    );
    let part = [sales[0].clone(), sale("t1", Return, 40, "3.00")];
    assert_eq!(
        added(&[paid(1, Some("9.99"))], &part),
        both("-2.00", "-3.00")
    );
    // A booked price is not corrected again.
    let (taken, booked) = settled(&[paid(1, Some("9.99"))], &sales[..1], VALID);
    assert_eq!(taken, one(1, "-2.00"));
    assert_eq!(added(&booked, &sales), one(1, "-7.99"));
    // The store shows a refund, and the report contains only the price.
    let shown = RefundStatus::Refunded(day(40));
    assert_eq!(
        settled(&[paid(1, Some("9.99"))], &sales[..1], shown).0,
        both("-2.00", "-7.99")
    );
}

#[test]
fn a_charge_with_another_price_confirms_once_it_is_booked() {
    let booked = [
        paid(1, Some("9.99")),
        paid(2, Some("9.99")),
        paid(3, Some("9.99")),
        paid(4, Some("9.99")),
    ];
    let other = sale("t2", Charge, 60, "7.99");
    let unrated = in_currency(sale("t3", Charge, 90, "9.99"), "EUR", None);
    let sales = [sale("t1", Charge, 30, "9.990"), other, unrated];
    let transactions = |booked: &[LedgerEntry]| {
        let all = confirmed(booked, &sales, REACH).into_iter();
        let line = |(number, report): (i64, PriceReport)| {
            let what = if report.is_correction {
                "corrects"
            } else {
                "confirms"
            };
            format!("{} {what} {number}", report.transaction_id)
        };
        all.map(line).collect::<Vec<_>>()
    };
    assert_eq!(transactions(&booked), ["t1 confirms 1"]);
    let (_, corrected) = settled(&booked, &sales, VALID);
    assert_eq!(transactions(&corrected), ["t1 confirms 1", "t2 corrects 2"]);
}

#[test]
fn a_refund_by_an_early_end_is_confirmed_by_its_line_alone() {
    let (_, inferred) = settled(
        &[paid(1, Some("9.99"))],
        &[],
        RefundStatus::Refunded(day(31)),
    );
    let charge = sale("t1", Charge, 30, "9.99");
    let refunds = |sales: &[Sale]| confirmed_refunds(&inferred, sales, REACH);
    assert_eq!(
        (refunds(&[]), refunds(std::slice::from_ref(&charge))),
        ([].into(), [].into())
    );
    let report = |is_correction| {
        [(
            1,
            PriceReport {
                transaction_id: "r1".to_owned(),
                is_correction,
            },
        )]
        .into()
    };
    assert_eq!(
        refunds(&[charge.clone(), sale("r1", Return, 31, "9.99")]),
        report(false)
    );
    assert_eq!(
        refunds(&[charge.clone(), sale("r1", Return, 31, "3.34")]),
        report(true)
    );
    let (_, shown) = settled(
        &[paid(1, Some("9.99"))],
        &[charge, sale("r1", Return, 31, "9.99")],
        VALID,
    );
    assert_eq!(
        confirmed_refunds(&shown, &[], REACH),
        [].into(),
        "the report itself has it"
    );
}

#[test]
fn a_corrected_refund_leaves_the_price_confirmed() {
    let (_, refunded) = settled(
        &[paid(1, Some("9.99"))],
        &[],
        RefundStatus::Refunded(day(31)),
    );
    let sales = [
        sale("t1", Charge, 30, "9.99"),
        sale("r1", Return, 31, "3.34"),
    ];
    let (added, entries) = settled(&refunded, &sales, RefundStatus::Refunded(day(31)));
    assert_eq!(added, one(1, "6.65"));
    let report = PriceReport {
        transaction_id: "t1".to_owned(),
        is_correction: false,
    };
    assert_eq!(confirmed(&entries, &sales, REACH), [(1, report)].into());
}
