//! `/v1/apps/{app_id}/sales`: what a store's sales report says was paid and given back.

use super::input::unreadable;
use super::{Id, Query};
use crate::edge::Shared;
use crate::error::{Error, Field};
use crate::stores;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::header;
use domain::AppId;
use serde_json::{Value, json};
use storage::Run;

/// So many lines are taken at a time.
pub const MOST: usize = 2_000;
/// So many wrong places are named.
const MOST_NAMED: usize = 100;

/// `POST /v1/apps/{app_id}/sales?dry_run=true`, with a report as CSV: all of it, or nothing when a line is wrong.
pub async fn import(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Query(mut fields): Query,
    request: Request,
) -> Result<Json<Value>, Error> {
    let run = match fields.text("dry_run").as_deref() {
        None | Some("false") => Run::Real,
        Some("true") => Run::Dry,
        Some(other) => {
            fields.wrong("dry_run", format!("`true` or `false`, and it is `{other}`"));
            Run::Dry
        }
    };
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_csv = kind.to_ascii_lowercase().starts_with("text/csv");
    if !is_csv {
        fields.wrong("content-type", format!("`text/csv`, and it is `{kind}`"));
    }
    edge.store.app(app).await?;
    fields.finish()?;
    let body = Bytes::from_request(request, &edge).await.map_err(|rejection| unreadable(&rejection))?;
    let report = stores::sales_report(&body).map_err(|wrong| {
        let field = |one: &stores::WrongSale| Field { field: place(one), expected: one.expected.clone() };
        Error::Invalid(wrong.iter().take(MOST_NAMED).map(field).collect())
    })?;
    if report.sales.len() > MOST {
        return Err(Error::invalid("body", format!("at most {MOST} transactions at a time: send the lines in parts")));
    }
    let sales = report.sales.into_iter().map(|(_, sale)| sale).collect();
    let imported = edge.store.import_sales(app, sales, run).await?;
    let mut answer = json!(imported);
    answer["trials"] = json!(report.trials);
    answer["without_receipt"] = json!(report.without_receipt);
    answer["dry_run"] = json!(run == Run::Dry);
    Ok(Json(answer))
}

fn place(wrong: &stores::WrongSale) -> String {
    match wrong.column {
        "" => format!("line {}", wrong.line),
        column => format!("line {}, column {column}", wrong.line),
    }
}
