//! `/v1/check`: checks whether the tables are consistent, and compares the revenue sent with the ledger.

use super::query::Listed;
use crate::checking::Findings;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::{Page, RevenueCheck, RevenueFilter, RuleFindings};
use tokio::time::Instant;

/// Maximum number of rows that one query checks.
const ROWS_PER_QUERY: i64 = 1000;
/// Maximum duration of a check in one request; after that, the response has the cursor to continue from.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Beginning and size of a check.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CheckQuery {
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Number of rows of one table to check; by default, as many as fit in a few seconds.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<i64>,
}

/// Findings of a partial consistency check.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    /// Number of violations of all rules.
    violations: i64,
    /// Number of rows checked.
    checked: i64,
    /// All rules, violated or not.
    rules: Vec<RuleFindings>,
    /// Cursor of the next page; null on the last page.
    next_cursor: Option<String>,
}

/// `GET /v1/check`: checks rows for a few seconds, or `limit` rows of one table, and lists every rule with its number
/// of violations. `next_cursor` continues the check until every row was covered.
pub async fn show(
    State(edge): State<Shared>,
    Query(query): Query<CheckQuery>,
) -> Result<Json<Check>, Error> {
    let CheckQuery { mut cursor, limit } = query;
    let began = Instant::now();
    let mut findings = Findings::default();
    loop {
        let page = Page {
            cursor,
            limit: limit.unwrap_or(ROWS_PER_QUERY),
        };
        let checked = edge.store.check(page).await?;
        cursor = checked.next_cursor.clone();
        findings.add(checked);
        if cursor.is_none() || limit.is_some() || began.elapsed() > TIME_LIMIT {
            break;
        }
    }
    let violations = findings.violations();
    Ok(Json(Check {
        violations,
        checked: findings.checked,
        rules: findings.rules,
        next_cursor: cursor,
    }))
}

/// `GET /v1/check/revenue`: compares, for a page of purchases, every ledger entry with the revenue sent for it to each
/// integration that counts revenue, and gives the reason for each difference. `next_cursor` continues.
pub async fn revenue(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<RevenueFilter>>,
) -> Result<Json<RevenueCheck>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(edge.store.check_revenue(filter, page.page()).await?))
}
