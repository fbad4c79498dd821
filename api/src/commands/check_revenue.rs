//! `settle check revenue`: compares the revenue that was sent to each integration with the ledger.

use super::client::{Client, Remote, read_as};
use super::names::NamedItem;
use super::progress::bar;
use super::{names, table};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;

/// Maximum number of differing entries that are printed.
const MAX_LISTED: usize = 100;
const COLUMNS: [&str; 9] = [
    "integration",
    "month",
    "environment",
    "sku",
    "ledger",
    "delivered",
    "pending",
    "failed",
    "difference",
];

/// Selection of the revenue to compare.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  settle check revenue --month 2026-11
  settle check revenue --app ID --json
Next: `settle explain event` with a printed event; `settle app import-sales` imports what the store charged.")]
pub struct Revenue {
    /// Only this app.
    #[arg(long, value_name = "ID")]
    app: Option<String>,
    /// Only this month, in UTC.
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<String>,
}

/// A page of the comparison.
#[derive(Debug, Deserialize)]
struct RevenuePage {
    purchases: i64,
    unexplained: i64,
    #[serde(default)]
    integrations: Vec<NamedItem>,
    lines: Vec<Line>,
    next_cursor: Option<String>,
}

/// A line of the comparison, like [`storage::RevenueLine`].
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    destination_id: String,
    month: String,
    environment: String,
    sku: Option<String>,
    collapse_key: String,
    event_id: String,
    kind: Option<String>,
    ledger: Option<String>,
    /// The amount in USD by status of the delivery.
    sent: BTreeMap<String, String>,
    /// Why the sent revenue differs; `None` if it does not.
    differs: Option<String>,
    /// Fields that this version does not know, for `--json`.
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The sums of one integration, month, environment and SKU, in USD.
#[derive(Debug, Default)]
struct Sums {
    /// The sum of the ledger's entries.
    ledger: Decimal,
    /// The sums in the bodies of deliveries, by delivery status: `delivered`, `pending` and `failed`.
    sent: BTreeMap<String, Decimal>,
}

/// Sums over all pages.
#[derive(Debug, Default)]
struct Whole {
    /// Number of purchases checked.
    purchases: i64,
    /// Number of differences without a reason.
    unexplained: i64,
    /// The names of the integrations, by id.
    names: BTreeMap<String, String>,
    /// Sums by id of the integration, month, environment and SKU.
    sums: BTreeMap<[String; 4], Sums>,
    /// Lines whose sent revenue differs from the ledger.
    differs: Vec<Line>,
}

/// Reads and prints the comparison, page by page.
pub async fn revenue(
    client: &Client,
    remote: &Remote,
    options: &Revenue,
) -> anyhow::Result<ExitCode> {
    let bar = bar("purchases checked", None);
    let (mut whole, mut cursor) = (Whole::default(), None);
    let app = match &options.app {
        Some(app) => Some(names::app_id(client, app).await?),
        None => None,
    };
    loop {
        let query = [
            ("app_id", app.clone()),
            ("month", options.month.clone()),
            ("cursor", cursor),
        ];
        let page: RevenuePage = read_as(&client.get("/v1/check/revenue", &query).await?)?;
        bar.inc(page.purchases.unsigned_abs());
        cursor = page.next_cursor.clone();
        whole.add(page);
        if cursor.is_none() {
            break;
        }
    }
    bar.finish_and_clear();
    whole.print(remote);
    Ok(if whole.unexplained > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

impl Whole {
    fn add(&mut self, page: RevenuePage) {
        self.purchases += page.purchases;
        self.unexplained += page.unexplained;
        for one in page.integrations {
            self.names.insert(one.id, table::shown(&one.name));
        }
        for line in page.lines {
            let key = [
                table::shown(&line.destination_id),
                table::shown(&line.month),
                table::shown(&line.environment),
                table::shown_or_dash(line.sku.as_ref()),
            ];
            let sums = self.sums.entry(key).or_default();
            let ledger = line.ledger.as_deref().map(decimal).unwrap_or_default();
            sums.ledger = sums.ledger.saturating_add(ledger);
            for (status, usd) in &line.sent {
                let sum = sums.sent.entry(status.clone()).or_default();
                *sum = sum.saturating_add(decimal(usd));
            }
            if line.differs.is_some() {
                self.differs.push(line);
            }
        }
    }

    fn rows(&self) -> Vec<Value> {
        let row = |([id, month, environment, sku], sums): (&[String; 4], &Sums)| {
            let sent = |status: &str| sums.sent.get(status).copied().unwrap_or_default();
            json!({
                "destination_id": id, "integration": self.names.get(id), "month": month,
                "environment": environment, "sku": sku,
                "ledger": sums.ledger.to_string(), "delivered": sent("delivered").to_string(),
                "pending": sent("pending").to_string(), "failed": sent("failed").to_string(),
                "difference": sums.ledger.saturating_sub(sent("delivered")).to_string(),
            })
        };
        self.sums.iter().map(row).collect()
    }

    fn print(&self, remote: &Remote) {
        let rows = self.rows();
        if remote.json {
            return table::json(&json!({
                "purchases": self.purchases, "unexplained": self.unexplained, "sums": rows, "differs": self.differs,
            }));
        }
        table::list(
            &json!(rows),
            &COLUMNS.map(|name| (name, name)),
            "No revenue for any integration.",
        );
        for line in self.differs.iter().take(MAX_LISTED) {
            table::line(&format!(
                "{}: purchase {}, {} of {} USD, event {}",
                table::shown_or_dash(line.differs.as_ref()),
                table::shown(&line.collapse_key),
                table::shown_or_dash(line.kind.as_ref()),
                table::shown_or_dash(line.ledger.as_ref()),
                table::shown(&line.event_id),
            ));
        }
        if self.differs.len() > MAX_LISTED {
            table::line(&format!(
                "{} more: use --json to see them",
                self.differs.len() - MAX_LISTED
            ));
        }
        let differing = i64::try_from(self.differs.len()).unwrap_or(i64::MAX);
        table::line(&format!(
            "{} purchases: {} entries differ with a reason, {} without.",
            self.purchases,
            differing - self.unexplained,
            self.unexplained
        ));
    }
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{RevenuePage, Whole, read_as};
    use serde_json::json;

    #[test]
    fn pages_add_up_by_integration_month_and_sku() {
        let line = |ledger: &str, sent: &str, differs: serde_json::Value| {
            json!({"destination_id": "d", "month": "2026-11", "environment": "production", "sku": "gold", "ledger": ledger,
                "sent": {"delivered": sent}, "differs": differs, "kind": "initial", "collapse_key": "p", "event_id": "e",
                "new": 1})
        };
        let page = |page: serde_json::Value| -> RevenuePage { read_as(&page).expect("a page") };
        let mut whole = Whole::default();
        let lines = json!([
            line("9.99", "9.99", json!(null)),
            line("-9.99", "-9.99", json!(null))
        ]);
        whole.add(page(
            json!({"purchases": 2, "unexplained": 0, "integrations": [{"id": "d", "name": "A"}], "lines": lines}),
        ));
        let unequal = line("0.10", "0.20", json!("unequal"));
        whole.add(page(
            json!({"purchases": 1, "unexplained": 1, "lines": [unequal]}),
        ));
        assert_eq!(json!(whole.differs), json!([unequal]), "as it was sent");
        let rows = whole.rows();
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(
            (&row["ledger"], &row["delivered"], &row["difference"]),
            (&json!("0.10"), &json!("0.20"), &json!("-0.10"))
        );
        assert_eq!(
            (whole.purchases, whole.unexplained, whole.differs.len()),
            (3, 1, 1)
        );
        assert_eq!(row["integration"], "A");
    }
}
