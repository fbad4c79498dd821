//! `/v1/search`: what an id names. A POST, because an id of a customer belongs in no address: those are written into
//! logs and histories. It changes nothing.

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
use storage::SearchHit;

/// What is searched.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "q": "6b275a67-0bbb-4f3a-99b9-6600bf711993" }]))]
pub struct Search {
    /// An id: of a purchase, an event, a delivery (`webhook-id`), a destination, a platform, an app, a user or a device; a
    /// receipt, a message of a store, or a customer by the store's or the app's own id, whose case does not matter. What
    /// has no such id is found by its beginning: the first 3 characters, or the first 8 of an id of settle or a device; a
    /// message and what is not settled by the whole id alone.
    #[schemars(length(min = 1, max = 2048))]
    pub q: String,
    /// Only in this app; in all that the caller can access when absent.
    pub app_id: Option<AppId>,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundThings {
    /// The things with this id, at most 50; if there are none, those whose id begins with it, at most 20 of a kind.
    pub items: Vec<SearchHit>,
    /// If there are none: the id that was probably meant, and that something has. Letters and digits that look alike are
    /// exchanged for it, such as O and 0. Absent without one.
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
    let items = edge.store.search(&q, app).await?;
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
        if !edge.store.search(&text, app).await?.is_empty() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}
