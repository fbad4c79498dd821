//! `/v1/audit-log`: who changed what, when and why.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use storage::{AuditEntryView, AuditLogFilter, Paged};

/// `GET /v1/audit-log`, the newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<AuditLogFilter>>,
) -> Result<Json<Paged<AuditEntryView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(edge.store.audit_log(filter, page.page()).await?))
}
