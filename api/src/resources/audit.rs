//! `/v1/audit`: whether the tables agree with each other, and the money that was sent with the ledger.

use crate::auditing::{Findings, RuleFindings};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{PageQuery, Query};
use axum::Json;
use axum::extract::State;
use domain::AppId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::{Integration, Page, RevenueFilter, RevenueLine};
use tokio::time::Instant;

/// Rows of one query.
const ROWS: i64 = 1000;
/// Time after which an audit answers with the cursor to continue from.
const ENOUGH: Duration = Duration::from_secs(5);

/// Where an audit begins, and how many rows it checks.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct AuditQuery {
    /// `next_cursor` of the answer before.
    cursor: Option<String>,
    /// Number of rows of one table to check; as many as some seconds allow when absent.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<i64>,
}

/// The findings of a part of an audit.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Audit {
    /// Number of violations, over all rules.
    violations: i64,
    /// Number of rows that were checked.
    checked: i64,
    /// Every rule, violated or not.
    rules: Vec<RuleFindings>,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// Which payments are compared.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RevenueQuery {
    /// Only those of this app.
    app_id: Option<AppId>,
    /// Only those of this month in UTC.
    #[schemars(extend("format" = "month"))]
    month: Option<String>,
    /// The page.
    #[serde(flatten)]
    page: PageQuery,
}

/// The money that was sent to the integrations that count, compared with the ledger.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RevenueAudit {
    /// Number of purchases that were checked.
    purchases: i64,
    /// The integrations of their apps.
    integrations: Vec<Integration>,
    /// Every entry of the ledger at every integration.
    lines: Vec<RevenueLine>,
    /// Number of lines that differ without a reason.
    unexplained: usize,
    /// The cursor of the next page; null at the end.
    next_cursor: Option<String>,
}

/// `GET /v1/audit`: checks rows for some seconds, or `limit` rows of one table, and lists every rule with the number of
/// violations. `next_cursor` continues until everything was checked.
pub async fn show(State(edge): State<Shared>, Query(query): Query<AuditQuery>) -> Result<Json<Audit>, Error> {
    let AuditQuery { mut cursor, limit } = query;
    let began = Instant::now();
    let mut findings = Findings::default();
    loop {
        let page = Page { cursor, limit: limit.unwrap_or(ROWS) };
        let audited = edge.store.audit(page).await?;
        cursor = audited.next_cursor.clone();
        findings.add(audited);
        if cursor.is_none() || limit.is_some() || began.elapsed() > ENOUGH {
            break;
        }
    }
    let (violations, checked) = (findings.violations(), findings.checked());
    Ok(Json(Audit { violations, checked, rules: findings.rules(), next_cursor: cursor }))
}

/// `GET /v1/audit/revenue`: every payment and change of one at every integration that counts, of the next purchases:
/// what the ledger has, what was sent of it, and why they differ. `next_cursor` continues.
pub async fn revenue(
    State(edge): State<Shared>,
    Query(query): Query<RevenueQuery>,
) -> Result<Json<RevenueAudit>, Error> {
    let RevenueQuery { app_id, month, page } = query;
    if let Some(app) = app_id {
        edge.store.app(app).await?;
    }
    let found = edge.store.audit_revenue(RevenueFilter { app_id, month }, page.page()).await?;
    Ok(Json(RevenueAudit {
        purchases: found.purchases,
        integrations: found.integrations,
        unexplained: found.lines.iter().filter(|line| line.is_unexplained()).count(),
        lines: found.lines,
        next_cursor: found.next_cursor,
    }))
}
