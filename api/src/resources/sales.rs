//! `/v1/apps/{app_id}/sales`: payments and refunds of a store's sales report.

use crate::edge::Shared;
use crate::error::{Error, Field};
use crate::extract::{Csv, Query, Stored};
use crate::stores;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{App, ImportedSales, Run};

/// Maximum number of lines in one request.
pub const MOST: usize = 2_000;
/// Maximum number of wrong places that are named.
const MOST_NAMED: usize = 100;

/// Whether it is a dry run.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RunQuery {
    /// Changes nothing, and counts what a change would concern.
    dry_run: Option<bool>,
}

impl RunQuery {
    /// Whether the change is made or only counted.
    #[must_use]
    pub fn run(&self) -> Run {
        if self.dry_run.unwrap_or(false) { Run::Dry } else { Run::Real }
    }
}

/// The result of a sales import.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SalesImport {
    /// The result for its payments and refunds.
    #[serde(flatten)]
    imported: ImportedSales,
    /// Number of lines that are trials.
    trials: u64,
    /// Number of lines without a receipt.
    without_receipt: u64,
    /// Whether nothing was changed.
    dry_run: bool,
}

/// `POST /v1/apps/{app_id}/sales?dry_run=true`, with a report as CSV: all of it, or nothing when a line is wrong.
pub async fn import(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<RunQuery>,
    Csv(body): Csv,
) -> Result<Json<SalesImport>, Error> {
    let report = stores::sales_report(&body).map_err(|wrong| {
        let field = |one: &stores::WrongSale| Field { field: place(one), expected: one.expected.clone() };
        Error::Invalid(wrong.iter().take(MOST_NAMED).map(field).collect())
    })?;
    if report.sales.len() > MOST {
        return Err(Error::invalid("body", format!("at most {MOST} transactions at a time: send the lines in parts")));
    }
    let (trials, without_receipt) = (report.trials, report.without_receipt);
    let sales = report.sales.into_iter().map(|(_, sale)| sale).collect();
    let imported = edge.store.import_sales(app.id, sales, query.run()).await?;
    Ok(Json(SalesImport { imported, trials, without_receipt, dry_run: query.run() == Run::Dry }))
}

fn place(wrong: &stores::WrongSale) -> String {
    match wrong.column {
        "" => format!("line {}", wrong.line),
        column => format!("line {}, column {column}", wrong.line),
    }
}
