//! `/v1/apps/{app_id}/sales`: imports payments and refunds from a store's sales report.

use crate::error::{Error, Field};
use crate::extract::{Csv, Query, Stored};
use crate::keys::Acting;
use crate::stores;
use axum::Json;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{App, ImportedSales, Run};

/// Maximum number of transactions in one request.
pub const MAX_TRANSACTIONS: usize = 2_000;
/// Maximum number of errors in one response.
const MAX_ERRORS: usize = 100;

/// Whether it is a dry run.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RunQuery {
    /// Change nothing; only count what the change would affect.
    dry_run: Option<bool>,
}

impl RunQuery {
    /// Whether the change is made or only counted.
    pub fn run(&self) -> Run {
        if self.dry_run.unwrap_or(false) {
            Run::Dry
        } else {
            Run::Real
        }
    }
}

/// Result of importing a sales report.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SalesImport {
    /// The result for its payments and refunds.
    #[serde(flatten)]
    imported: ImportedSales,
    /// Number of lines for trials.
    trials: u64,
    /// Number of lines without an id of a purchase.
    without_receipt: u64,
    /// Whether this was a dry run, which changes nothing.
    dry_run: bool,
}

/// `POST /v1/apps/{app_id}/sales?dry_run=true`, with a report as CSV. A report with an invalid line is refused as a
/// whole.
pub async fn import(
    edge: Acting,
    Stored(app): Stored<App>,
    Query(query): Query<RunQuery>,
    Csv(body): Csv,
) -> Result<Json<SalesImport>, Error> {
    let report = stores::sales_report(&body).map_err(|wrong| {
        let field = |one: &stores::WrongSale| Field {
            field: place(one),
            expected: one.expected.clone(),
        };
        Error::Invalid(wrong.iter().take(MAX_ERRORS).map(field).collect())
    })?;
    if report.sales.len() > MAX_TRANSACTIONS {
        return Err(Error::invalid(
            "body",
            format!("at most {MAX_TRANSACTIONS} transactions at a time: send the lines in parts"),
        ));
    }
    let (trials, without_receipt) = (report.trials, report.without_receipt);
    let sales = report.sales.into_iter().map(|(_, sale)| sale).collect();
    let imported = edge.store.import_sales(app.id, sales, query.run()).await?;
    Ok(Json(SalesImport {
        imported,
        trials,
        without_receipt,
        dry_run: query.run() == Run::Dry,
    }))
}

/// Returns where an error is: its line and, if known, its column.
fn place(wrong: &stores::WrongSale) -> String {
    match wrong.column {
        "" => format!("line {}", wrong.line),
        column => format!("line {}, column {column}", wrong.line),
    }
}
