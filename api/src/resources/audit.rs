//! `/v1/audit`: whether the tables agree with each other, and what was told of money with the ledger.

use super::Query;
use crate::auditing::Findings;
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use serde_json::{Value, json};
use std::time::Duration;
use storage::{Page, RevenueFilter};
use tokio::time::Instant;

/// Rows of one look into storage.
const ROWS: i64 = 1000;
/// After so long an answer is given, and names where to go on.
const ENOUGH: Duration = Duration::from_secs(5);

/// `GET /v1/audit`: looks at rows for some seconds, or at `limit` rows of one table, and names every rule with how many
/// of them break it. `next_cursor` leads on until everything was looked at.
pub async fn show(State(edge): State<Shared>, Query(mut fields): Query) -> Result<Json<Value>, Error> {
    let mut cursor = fields.text("cursor");
    let limit = fields.text("limit").map(|text| text.parse().unwrap_or(0));
    if limit.is_some_and(|limit| !(1..=ROWS).contains(&limit)) {
        fields.wrong("limit", format!("a whole number from 1 to {ROWS}"));
    }
    fields.finish()?;
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
    Ok(Json(json!({
        "violations": findings.violations(),
        "looked_at": findings.looked_at(),
        "rules": findings.rules(),
        "next_cursor": cursor,
    })))
}

/// `GET /v1/audit/revenue`: every payment and change of one at every integration that counts, of the next purchases:
/// what the ledger has, what was told of it, and why that is not the same. `next_cursor` leads on.
pub async fn revenue(State(edge): State<Shared>, Query(mut fields): Query) -> Result<Json<Value>, Error> {
    let app_id: Option<AppId> = fields.parsed("app_id", "the id of an app");
    let month = fields.text("month");
    let is_month = |month: &String| month.len() == 7 && format!("{month}-01").parse::<jiff::civil::Date>().is_ok();
    if month.as_ref().is_some_and(|month| !is_month(month)) {
        fields.wrong("month", "a month such as 2026-11");
    }
    let page = fields.page();
    fields.finish()?;
    if let Some(app) = app_id {
        edge.store.app(app).await?;
    }
    let found = edge.store.audit_revenue(RevenueFilter { app_id, month }, page).await?;
    Ok(Json(json!({
        "purchases": found.purchases,
        "integrations": found.integrations,
        "lines": found.lines,
        "unexplained": found.lines.iter().filter(|line| line.is_unexplained()).count(),
        "next_cursor": found.next_cursor,
    })))
}
