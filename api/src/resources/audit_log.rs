//! `/v1/audit-log`: who changed what, when and why.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::Query;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use protocols::destinations::shown_entry;
use std::collections::BTreeMap;
use storage::{AuditEntryView, AuditLogFilter, Destination, Paged};

/// What the operations on destinations begin with.
const OF_DESTINATIONS: &str = "destination.";

/// `GET /v1/audit-log`, the newest first. Entries of an earlier release have URLs that are secrets: no answer shows them.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<AuditLogFilter>>,
) -> Result<Json<Paged<AuditEntryView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    let mut entries = edge.store.audit_log(filter, page.page()).await?;
    let mut known = BTreeMap::new();
    for entry in entries.items.iter_mut().filter(|entry| entry.operation.starts_with(OF_DESTINATIONS)) {
        if !known.contains_key(&entry.subject) {
            known.insert(entry.subject.clone(), destination(&edge, &entry.subject).await?);
        }
        let now = known.get(&entry.subject).and_then(Option::as_ref);
        for fields in [&mut entry.old_fields, &mut entry.new_fields] {
            *fields = shown_entry(fields, now);
        }
    }
    Ok(Json(entries))
}

/// The destination that an entry is about; `None` once it is deleted.
async fn destination(edge: &Shared, subject: &str) -> Result<Option<Destination>, Error> {
    let Ok(id) = subject.parse() else { return Ok(None) };
    match edge.store.destination(id).await {
        Ok(destination) => Ok(Some(destination)),
        Err(storage::Error::Missing { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
