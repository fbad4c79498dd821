//! `/v1/audit`: whether the tables agree with each other.

use super::Query;
use crate::auditing::Findings;
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use std::time::Duration;
use storage::Page;
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
