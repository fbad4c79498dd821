//! `/v1/audit-log`: changes with their author, time and reason.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use protocols::destinations::shown_entry;
use storage::{AuditEntryView, AuditLogFilter, Paged};

/// Prefix of the names of operations on destinations.
const OF_DESTINATIONS: &str = "destination.";

/// `GET /v1/audit-log`, newest first. Old entries may contain URLs that are secrets, for instance those of an earlier
/// release; the response hides them.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<AuditLogFilter>>,
) -> Result<Json<Paged<AuditEntryView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    let mut entries = edge.store.audit_log(filter, page.page()).await?;
    for entry in entries
        .items
        .iter_mut()
        .filter(|entry| entry.operation.starts_with(OF_DESTINATIONS))
    {
        for fields in [&mut entry.old_fields, &mut entry.new_fields] {
            *fields = shown_entry(fields);
        }
    }
    Ok(Json(entries))
}
