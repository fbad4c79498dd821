//! `/v1/search`: finds resources by id. A POST, because a customer's id does not belong in an address, which appears in
//! logs and histories. It changes nothing.

use super::purchases::stored;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Body;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use domain::text::misread;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use storage::{FoundKind, PurchaseView, SearchHit};

/// A search by id.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "q": "6b275a67-0bbb-4f3a-99b9-6600bf711993" }]))]
pub struct Search {
    /// Id of a purchase, event, delivery (`webhook-id`), destination, platform, app, user or device; a receipt; a
    /// store's message; or a customer by the store's or the app's own id, ignoring case. If no id matches, ids with
    /// this prefix are found: at least 3 characters, or 8 for ids of settle and devices. Messages and unsettled
    /// purchases need the complete id.
    #[schemars(length(min = 1, max = 2048))]
    pub q: String,
    /// Only results in this app; by default, in all apps that the caller can access.
    pub app_id: Option<AppId>,
}

/// Results of a search.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundThings {
    /// Matches of the complete id, at most 50; if there are none, matches of the prefix, at most 20 of each kind.
    pub items: Vec<SearchHit>,
    /// Suggestion if there are no results: an existing id that differs only in characters that look alike, such as O
    /// and 0. Absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub did_you_mean: Option<String>,
}

/// `POST /v1/search`
pub async fn find(
    State(edge): State<Shared>,
    caller: Caller,
    Body(Search { q, app_id }): Body<Search>,
) -> Result<Json<FoundThings>, Error> {
    let app = caller.app(&edge, app_id).await?;
    let items = hits(&edge, &q, app).await?;
    let did_you_mean = if items.is_empty() {
        meant(&edge, &q, app).await?
    } else {
        None
    };
    Ok(Json(FoundThings {
        items,
        did_you_mean,
    }))
}

/// The id that was probably meant by one that nothing has.
pub async fn meant(edge: &Edge, q: &str, app: Option<AppId>) -> Result<Option<String>, Error> {
    for text in misread(q.trim()) {
        if !hits(edge, &text, app).await?.is_empty() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// How a hit was found whose id only begins with what was searched.
pub const BEGINNING: &str = "beginning";

/// Whether nothing has the whole id that was searched.
pub fn is_beginning(found: &[SearchHit]) -> bool {
    found.iter().any(|one| one.found_by == BEGINNING)
}

/// The things with an id in an app, or in all.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn hits(edge: &Edge, q: &str, app: Option<AppId>) -> Result<Vec<SearchHit>, Error> {
    Ok(edge.store.search(q, app).await?)
}

/// The purchases among what was found, by their ids: people know them by receipt and customer.
///
/// # Errors
/// 503 when the database does not answer.
pub async fn purchases(
    edge: &Edge,
    found: &[SearchHit],
) -> Result<BTreeMap<String, PurchaseView>, Error> {
    let mut all = BTreeMap::new();
    for hit in found.iter().filter(|one| one.kind == FoundKind::Purchase) {
        let Some(key) = hit.collapse_key else {
            continue;
        };
        // `None`: it was removed since.
        if let Some(view) = stored(edge, key).await? {
            all.insert(hit.id.clone(), view);
        }
    }
    Ok(all)
}
