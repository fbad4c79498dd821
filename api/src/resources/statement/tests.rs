//! Checks the lines of a statement and its totals.

use super::{PaymentMove, PaymentRow, rows};
use crate::fixtures::entry;
use crate::resources::transfers::TransferSide;
use domain::payment::{EntryKind, UnknownPrice};
use domain::{AppId, Environment, UserId};
use storage::PaymentView;
use uuid::Uuid;

fn total(usd: &str, rows: &[PaymentRow], is_whole: bool) -> String {
    super::total(usd, rows, is_whole).summary
}

fn total_before(rows: &[PaymentRow], is_whole: bool) -> Option<String> {
    super::total_before(rows, is_whole).map(|total| total.summary)
}

/// An entry of a sales report.
fn reported(number: i64, kind: EntryKind, usd: &str, id: &str) -> PaymentView {
    PaymentView {
        source: "report".to_owned(),
        transaction_id: Some(id.to_owned()),
        price: None,
        currency: None,
        ..entry(number, kind, usd)
    }
}

fn shown(row: &PaymentRow) -> (String, String, Option<&str>) {
    (
        row.amount().unwrap_or_default(),
        row.source(),
        row.transaction(),
    )
}

#[test]
fn a_correction_changes_its_payment_and_a_refund_is_a_row() {
    let all = [
        reported(1, EntryKind::Refund, "-8.49", "T-882310"),
        reported(1, EntryKind::Correction, "-1.50", "T-880141"),
        entry(1, EntryKind::Initial, "9.99"),
    ];
    let rows = rows(&all);
    let texts: Vec<_> = rows.iter().map(shown).collect();
    assert_eq!(
        texts,
        [
            (
                "\u{2212}8.49 USD refunded".to_owned(),
                "sales report".to_owned(),
                Some("T-882310")
            ),
            (
                "8.49 USD".to_owned(),
                "list price 9.99 \u{b7} sales report".to_owned(),
                Some("T-880141")
            ),
        ]
    );
    assert_eq!(
        total("0.00", &rows, true),
        "Paid 8.49, refunded 8.49; 0.00 USD remain"
    );
}

#[test]
fn a_refund_that_no_report_has_is_an_estimate() {
    let inferred = PaymentView {
        source: "store".to_owned(),
        ..entry(1, EntryKind::Refund, "-9.99")
    };
    let rows = rows(&[inferred, entry(1, EntryKind::Initial, "9.99")]);
    let (amount, source, _) = shown(&rows[0]);
    assert_eq!(amount, "\u{2212}9.99 USD estimated");
    assert!(
        source.starts_with("settle's estimate, since it ended early"),
        "{source}"
    );
    let whole = total("0.00", &rows, true);
    assert!(
        whole.starts_with("Paid 9.99, refunded by settle's estimate 9.99; 0.00 USD remain"),
        "{whole}"
    );
}

#[test]
fn a_payment_whose_list_price_a_report_has_is_confirmed() {
    let confirmed = |number: i64, kind: EntryKind, id: &str| PaymentView {
        transaction_id: Some(id.to_owned()),
        ..entry(number, kind, "9.99")
    };
    let rows = rows(&[
        confirmed(2, EntryKind::Renewal, "T-2"),
        confirmed(1, EntryKind::Initial, "T-1"),
    ]);
    let texts: Vec<_> = rows.iter().map(shown).collect();
    let row = |id| ("9.99 USD".to_owned(), "sales report".to_owned(), Some(id));
    assert_eq!(texts, [row("T-2"), row("T-1")]);
    assert_eq!(total("19.98", &rows, true), "Paid in total: 19.98 USD");
}

#[test]
fn a_correction_without_its_payment_is_a_row() {
    let all = [
        reported(1, EntryKind::Correction, "-1.50", "T-880141"),
        entry(2, EntryKind::Renewal, "9.99"),
    ];
    let texts: Vec<_> = rows(&all).iter().map(|row| shown(row).0).collect();
    assert_eq!(texts, ["\u{2212}1.50 USD", "9.99 USD"]);
}

#[test]
fn a_test_purchase_counts_as_nothing() {
    let test = PaymentView {
        environment: Environment::Sandbox,
        ..entry(1, EntryKind::Initial, "9.99")
    };
    let rows = rows(&[test]);
    let texts: Vec<_> = rows.iter().map(shown).collect();
    assert_eq!(
        texts,
        [(
            "0 USD".to_owned(),
            "test purchase, no money".to_owned(),
            None
        )]
    );
    assert_eq!(
        (total("0", &rows, true), total_before(&rows, true)),
        ("Paid in total: 0 USD".to_owned(), None)
    );
}

#[test]
fn a_payment_in_another_currency_has_its_amount_in_usd() {
    let euro = PaymentView {
        price: Some("8.90".to_owned()),
        currency: Some("EUR".to_owned()),
        ..entry(1, EntryKind::Initial, "9.61")
    };
    let foreign = |all: &[PaymentView]| {
        let rows = rows(all);
        let row = rows.last().unwrap();
        (row.amount(), row.in_usd(), row.source())
    };
    let (amount, usd, _) = foreign(std::slice::from_ref(&euro));
    assert_eq!(
        (amount.as_deref(), usd.as_deref()),
        (Some("8.90 EUR"), Some("9.61 USD"))
    );
    let (amount, usd, source) =
        foreign(&[reported(1, EntryKind::Correction, "-1.00", "T-1"), euro]);
    assert_eq!((amount.as_deref(), usd), (Some("8.61 USD"), None));
    assert_eq!(source, "list price 8.90 EUR \u{b7} sales report");
}

#[test]
fn an_amount_that_is_not_known_has_its_reason() {
    let unlisted = PaymentView {
        price: None,
        currency: None,
        usd: None,
        unknown_because: Some(UnknownPrice::NotListed),
        is_unlisted: true,
        ..entry(1, EntryKind::Initial, "9.99")
    };
    let rows = rows(&[unlisted]);
    assert_eq!((rows[0].amount(), rows[0].source()), (None, String::new()));
    assert_eq!(
        rows[0].unknown().as_deref(),
        Some("not known: the product is not in the catalogue")
    );
}

#[test]
fn a_total_names_the_part_without_a_sales_report() {
    let list = entry(2, EntryKind::Renewal, "9.99");
    let both = [
        list.clone(),
        reported(1, EntryKind::Correction, "-1.50", "T-1"),
        entry(1, EntryKind::Initial, "9.99"),
    ];
    let not_yet = "list price, not confirmed by a sales report yet";
    assert_eq!(
        total("18.48", &rows(&both), true),
        format!("Paid in total: 18.48 USD (9.99 USD of it {not_yet})")
    );
    let rows = rows(&[list]);
    assert_eq!(
        total("9.99", &rows, true),
        format!("Paid in total: 9.99 USD ({not_yet})")
    );
    assert_eq!(
        total("50.00", &rows, false),
        format!("Paid in total: 50.00 USD (at least 9.99 USD of it {not_yet})")
    );
    let before = |rows: &[PaymentRow], is_whole| total_before(rows, is_whole).unwrap_or_default();
    let moved = "Paid before the purchases moved away:";
    assert_eq!(before(&rows, true), format!("{moved} 9.99 USD ({not_yet})"));
    let least = format!("{moved} at least 9.99 USD (at least 9.99 USD of it {not_yet})");
    assert_eq!(before(&rows, false), least);
}

#[test]
fn a_refund_before_a_move_is_not_taken_from_what_was_paid() {
    let refunded = [
        entry(1, EntryKind::Refund, "-9.99"),
        entry(1, EntryKind::Initial, "9.99"),
    ];
    let rows = rows(&refunded);
    let whole = "9.99 USD, refunded 9.99; 0.00 USD remain (list price, not confirmed by a sales report yet)";
    assert_eq!(
        total_before(&rows, true),
        Some(format!("Paid before the purchases moved away: {whole}"))
    );
    let part = total_before(&rows, false).unwrap();
    assert!(
        part.contains(": at least 9.99 USD, refunded at least 9.99 ("),
        "{part}"
    );
}

#[test]
fn a_total_names_what_a_former_holder_paid() {
    let moved = |entries: &[PaymentView]| {
        let quinn = || PaymentMove {
            app_id: AppId::new(Uuid::nil()),
            is_away: false,
            other: TransferSide {
                user_id: UserId::new(Uuid::nil()),
                external_id: Some("quinn@example.com".to_owned()),
            },
        };
        rows(entries)
            .into_iter()
            .map(|row| row.before(Some(quinn())))
            .collect::<Vec<_>>()
    };
    let paid = reported(1, EntryKind::Initial, "9.99", "T-1");
    let others = "9.99 USD of it paid before the purchases moved from quinn@example.com";
    let rows = moved(std::slice::from_ref(&paid));
    assert_eq!(
        total("9.99", &rows, true),
        format!("Paid in total: 9.99 USD ({others})")
    );
    assert_eq!(
        total("50.00", &rows, false),
        format!("Paid in total: 50.00 USD (at least {others})")
    );
    let refunded = moved(&[reported(1, EntryKind::Refund, "-9.99", "T-2"), paid]);
    let remain = "Paid 9.99, refunded 9.99; 0.00 USD remain";
    assert_eq!(
        total("0.00", &refunded, true),
        format!("{remain} ({others})")
    );
}
