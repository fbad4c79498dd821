//! Sales reports: columns are found by name, and every invalid cell is reported by line and column.

use crate::stores::amazon::report::{Report, read};
use domain::payment::SaleKind;

const HEADER: &str = "Marketplace,Country/Region Code,Invoice Id,Transaction Id,Transaction Time,Transaction Type,\
    Adjustment,ASIN,Vendor SKU,Title,Item Name,Item Type,In-App Subscription Term,\
    In-App Subscription Status (Trial / Paid),Units,Usage Time,Marketplace Currency,\
    Sales Price (Marketplace Currency),Estimated Earnings (Marketplace Currency),App User ID,Receipt ID,Digital Order ID";

fn line(time: &str, kind: &str, price: &str) -> String {
    format!(
        "Amazon.de,DE,I1,T1,{time},{kind},No,B0,gold.monthly,\"Game, the\",\"Gold \"\"M\"\"\",Subscription,1 Month,\
         Paid,1,,EUR,{price},3.49,u1,r1=:3:11,D01"
    )
}

fn report(lines: &[String]) -> Result<Report, Vec<String>> {
    let text = format!("\u{feff}{HEADER}\r\n{}\r\n", lines.join("\r\n"));
    read(text.as_bytes()).map_err(|wrong| wrong.iter().map(ToString::to_string).collect())
}

#[test]
fn a_report_of_the_console_is_read_by_the_names_of_its_columns() {
    let all = [
        line("2026-11-10 12:00:00 UTC", "Charge", "4.99"),
        line("2026-11-12T00:00:00Z", "Refund", "-4.99"),
        line("2026-11-13 00:00:00 CET", "CHARGEBACK", "4.9900"),
    ];
    let report = report(&all).unwrap();
    let shown = |(line, sale): &(u64, storage::NewSale)| {
        (*line, sale.kind, sale.at.to_string(), sale.price.clone())
    };
    let expected = [
        (
            2,
            SaleKind::Charge,
            "2026-11-10T12:00:00.000000Z".to_owned(),
            "4.99".to_owned(),
        ),
        (
            3,
            SaleKind::Refund,
            "2026-11-12T00:00:00.000000Z".to_owned(),
            "4.99".to_owned(),
        ),
        (
            4,
            SaleKind::Chargeback,
            "2026-11-12T23:00:00.000000Z".to_owned(),
            "4.9900".to_owned(),
        ),
    ];
    assert_eq!(report.sales.iter().map(shown).collect::<Vec<_>>(), expected);
    let (_, first) = &report.sales[0];
    let texts = [
        &first.transaction_id,
        &first.receipt_id,
        &first.sku,
        &first.currency,
    ];
    assert_eq!(texts, ["T1", "r1=:3:11", "gold.monthly", "EUR"]);
}

#[test]
fn times_are_read_in_the_zone_of_the_marketplace() {
    for (time, expected) in [
        ("2026-11-10 12:00:00", "2026-11-10T12:00:00.000000Z"),
        ("2026-11-10 12:00:00 PST", "2026-11-10T20:00:00.000000Z"),
        ("2026-07-10 12:00:00 PDT", "2026-07-10T19:00:00.000000Z"),
        ("2026-11-10 12:00:00 JST", "2026-11-10T03:00:00.000000Z"),
        ("2026-11-10 12:00:00 IST", "2026-11-10T06:30:00.000000Z"),
        ("11/10/2026 14:23:11 PST", "2026-11-10T22:23:11.000000Z"),
        ("11/10/2026 02:23:11 PM", "2026-11-10T14:23:11.000000Z"),
        ("2026-11-10T12:00:00+01:00", "2026-11-10T11:00:00.000000Z"),
        ("2026-11-10", "2026-11-10T00:00:00.000000Z"),
        ("11/10/2026", "2026-11-10T00:00:00.000000Z"),
    ] {
        let report = report(&[line(time, "Charge", "1")]).unwrap();
        assert_eq!(report.sales[0].1.at.to_string(), expected, "{time}");
    }
}

#[test]
fn every_wrong_cell_is_named_and_nothing_is_used() {
    let rows = [
        (
            line("yesterday", "Charge", "1"),
            "line 3, column `Transaction Time`: expected a time such as",
        ),
        (
            line("2026-11-10 12:00:00 XXT", "Charge", "1"),
            "line 3, column `Transaction Time`: expected a time such as",
        ),
        (
            line("2026-11-10", "Gift", "1"),
            "line 3, column `Transaction Type`: expected `charge`, `refund` or",
        ),
        (
            line("2026-11-10", "Charge", "1 EUR"),
            "line 3, column `Sales Price`: expected a decimal such as 9.99",
        ),
        (
            line("2026-11-10", "Charge", "1e3"),
            "line 3, column `Sales Price`: expected a decimal such as 9.99",
        ),
        (
            line("2026-11-10", "Charge", "1").replace(",EUR,", ",Euro,"),
            "line 3, column `Marketplace Currency`: expected",
        ),
        (
            line("2026-11-10", "Charge", "1").replace(",T1,", ",,"),
            "line 3, column `Transaction Id`: expected text",
        ),
        (
            line("2026-11-10", "Charge", "1").replace("gold.monthly", ""),
            "line 3, column `Vendor SKU`: expected text",
        ),
    ];
    let good = line("2026-11-10", "Charge", "1");
    for (bad, expected) in rows {
        let wrong = report(&[good.clone(), bad]).unwrap_err();
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with(expected), "{wrong:?}");
    }
}

#[test]
fn what_was_not_paid_or_has_no_receipt_is_counted_and_left_out() {
    let trial = line("2026-11-10", "Charge", "0").replace(",Paid,", ",Trial,");
    let app = line("2026-11-10", "Charge", "1").replace("r1=:3:11", "");
    let found = report(&[trial, app, String::new(), line("2026-11-10", "Charge", "1")]).unwrap();
    assert_eq!(
        (found.trials, found.without_receipt, found.sales.len()),
        (1, 1, 1)
    );
    // Without a column that marks trials, a charge of zero counts as a trial.
    let unnamed =
        |kind: &str, amount: &str| line("2026-11-10", kind, amount).replace(",Paid,", ",,");
    let found = report(&[
        unnamed("Charge", "0.00"),
        unnamed("Charge", "1"),
        unnamed("Refund", "0"),
    ])
    .unwrap();
    assert_eq!((found.trials, found.sales.len()), (1, 2));
}

#[test]
fn what_is_no_report_is_refused_with_what_to_do() {
    let errors = |bytes: &[u8]| {
        read(bytes)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(errors(b"PK\x03\x04rest").contains("compressed: unpack it first"));
    assert!(errors(&[0x1f, 0x8b, 8]).contains("compressed"));
    assert!(errors(b"").contains("the file is empty"));
    assert!(errors(&[0xff, 0xfe, 0x41]).contains("UTF-8"));
    let summary = errors(b"Marketplace,ASIN,Units,Sales Price,Marketplace Currency\nx,y,1,2,EUR\n");
    for column in [
        "Transaction Id",
        "Transaction Time",
        "Transaction Type",
        "Vendor SKU",
        "Receipt ID",
    ] {
        assert!(
            summary.contains(&format!("line 1, column `{column}`")),
            "{summary}"
        );
    }
    assert!(
        !summary.contains("`Sales Price`") && !summary.contains("Subscription Status"),
        "{summary}"
    );
}
