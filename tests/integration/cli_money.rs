//! Sales reports and the revenue check on the command line, with a running service that never reaches Temporal.

use super::cli::{stderr_of, stdout_of};
use super::cli_settings::Desk;
use diesel::connection::SimpleConnection;
use serde_json::json;
use system_tests::rows;

const FIRST: &str = "6b275a67-0bbb-4f3a-99b9-000000000000";
const EVENT: &str = "6b275a67-0bbb-4f3a-99b9-0000000000aa";
const PURCHASED: &str = "user.subscription.purchased";
const HEADER: &str = "Marketplace,Transaction Id,Transaction Time,Transaction Type,Vendor SKU,Receipt ID,Marketplace \
    Currency,Sales Price (Marketplace Currency)";

/// Starts a service with an Amplitude integration, and a purchase with a payment of 9.99 USD.
fn desk(name: &str) -> (Desk, String) {
    let desk = Desk::open(name);
    desk.write("key", "0123456789abcdef0123456789abcdef");
    let line = format!(
        "destination create --app {} --kind amplitude --name growth --endpoint standard --api-key @key",
        desk.app
    );
    let line: Vec<&str> = line.split(' ').collect();
    let integration = desk.id(&line);
    desk.seed(2);
    let event = rows::events()
        .text("id", EVENT)
        .text("collapse_key", FIRST)
        .text("event_type", PURCHASED);
    let paid = format!(
        "{event}
         INSERT INTO payments (collapse_key, number, entry, app_id, environment, kind, event_id, occurred_at, sku, price, currency,
             usd, source, created_at) VALUES ('{FIRST}', 1, 0, '{}', 'production', 'initial', '{EVENT}', 1794312000000000, 'gold',
             '9.99', 'USD', '9.99', 'catalogue', 1);
         UPDATE purchases SET payments = 1 WHERE collapse_key = '{FIRST}'",
        desk.app
    );
    desk.beside().batch_execute(&paid).expect("a payment");
    (desk, integration)
}

fn report(lines: &[&str]) -> String {
    format!("\u{feff}{HEADER}\r\n{}\r\n", lines.join("\r\n"))
}

#[test]
fn a_sales_report_is_taken_in_whole_or_not_at_all() {
    let (desk, _) = desk("cli-sales");
    let good = "Amazon.com,T1,2026-11-10 12:00:00 UTC,Charge,gold,r0,USD,8.49";
    let import = |more: &[&str]| {
        let line: Vec<&str> = ["app", "import-sales", "sales.csv", "--app", &desk.app]
            .into_iter()
            .chain(more.iter().copied())
            .collect();
        desk.run(&line)
    };
    let wrong = "Amazon.com,T2,sometime,Charge,gold,r0,USD,free";
    desk.write("sales.csv", &report(&[good, wrong]));
    let refused = import(&[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    let printed = stderr_of(&refused);
    assert!(
        printed.contains("line 3, column `Transaction Time`: expected a time such as"),
        "{printed}"
    );
    assert!(
        printed.contains("line 3, column `Sales Price`: expected a decimal such as 9.99"),
        "{printed}"
    );
    assert!(
        printed.contains("2 errors, nothing was imported"),
        "{printed}"
    );

    desk.write("sales.csv", &report(&[good]));
    let dry = stdout_of(&import(&["--dry-run", "--json"]));
    let dry: serde_json::Value = serde_json::from_str(&dry).expect("JSON");
    assert_eq!(
        (&dry["new"], &dry["matched"], &dry["dry_run"]),
        (&json!(1), &json!(1), &json!(true)),
        "nothing was kept"
    );
    let imported = import(&[]);
    assert_eq!(imported.status.code(), Some(0), "{imported:?}");
    let printed = stdout_of(&imported);
    assert!(
        printed.contains("correction for purchase")
            && printed.contains("listed 9.99 USD, reported 8.49 USD"),
        "{printed}"
    );
    assert!(
        printed.contains("adjusted by -1.50 USD (transaction T1)"),
        "{printed}"
    );
    assert!(
        printed.contains("1 new, 0 known and 0 changed transactions, 1 matched"),
        "{printed}"
    );
    assert!(stdout_of(&import(&[])).contains("0 new, 1 known and 0 changed"));

    desk.write(
        "sales.csv",
        &report(&[
            good,
            "Amazon.com,T9,2026-11-10,Refund,gold,elsewhere,USD,-1",
        ]),
    );
    let open = import(&[]);
    assert_eq!(
        open.status.code(),
        Some(1),
        "unmatched sales have an exit code of their own"
    );
    assert!(
        stdout_of(&open).contains("refund T9 is unmatched (purchase_unknown)"),
        "{}",
        stdout_of(&open)
    );
}

#[test]
fn the_revenue_check_exits_with_1_on_unexplained_differences() {
    let (desk, integration) = desk("cli-revenue");
    let created_later = desk.run(&["check", "revenue"]);
    assert_eq!(created_later.status.code(), Some(0), "{created_later:?}");
    let printed = stdout_of(&created_later);
    assert!(
        printed.contains("created_later: purchase")
            && printed.contains("1 entries differ with a reason, 0 without"),
        "{printed}"
    );
    let events = |revenue: &str| {
        let row = rows::deliveries()
            .text("id", EVENT)
            .text("destination_id", &integration)
            .text("event_id", EVENT);
        let row = row
            .text("event_type", PURCHASED)
            .text("collapse_key", FIRST)
            .text("status", "delivered");
        let row = row.text("revenue", revenue).sql("finished_at", 1);
        desk.beside()
            .batch_execute(&format!("DELETE FROM deliveries; {row}"))
            .expect("a delivery");
        desk.run(&["check", "revenue", "--month", "2026-11", "--app", &desk.app])
    };
    let equal = events("9.99");
    assert_eq!(equal.status.code(), Some(0), "{equal:?}");
    assert!(
        stdout_of(&equal).contains("growth")
            && stdout_of(&equal).contains("0 entries differ with a reason, 0 without")
    );
    let unequal = events("19.98");
    assert_eq!(unequal.status.code(), Some(1), "{unequal:?}");
    assert!(
        stdout_of(&unequal).contains(&format!("unequal: purchase {FIRST}, initial of 9.99 USD")),
        "{}",
        stdout_of(&unequal)
    );
    let json = desk.run(&["check", "revenue", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&stdout_of(&json)).expect("JSON");
    let sums = &answer["sums"][0];
    assert_eq!(
        (&sums["ledger"], &sums["delivered"], &sums["difference"]),
        (&json!("9.99"), &json!("19.98"), &json!("-9.99"))
    );
    let other = desk.run(&["check", "revenue", "--month", "2026-10"]);
    assert!(
        stdout_of(&other).contains("No revenue for any integration."),
        "{}",
        stdout_of(&other)
    );
    let wrong = desk.run(&["check", "revenue", "--month", "November"]);
    assert!(
        stderr_of(&wrong).contains("a month such as 2026-11"),
        "{}",
        stderr_of(&wrong)
    );
    let story = stdout_of(&desk.run(&["explain", "event", EVENT]));
    assert!(
        story.contains("first payment: 9.99 USD (catalogue price)"),
        "{story}"
    );
}
