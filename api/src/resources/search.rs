//! `/v1/search`: what an id names. A POST, because an id of a customer belongs in no address: those are written into
//! logs and histories. It changes nothing.

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Body;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::{AppId, CollapseKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{Found, Page};

/// Maximum number of platforms whose purchases are looked for by their keys.
const PLATFORMS: i64 = 50;

/// What is searched.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "q": "6b275a67-0bbb-4f3a-99b9-6600bf711993" }]))]
pub struct Search {
    /// An id: of a purchase, an event, a delivery (`webhook-id`), a destination, a platform, an app or a user; a
    /// receipt, a message of a store, or a customer by the store's or the app's own id.
    #[schemars(length(min = 1, max = 2048))]
    pub q: String,
    /// Only in this app; in all that the caller reaches when absent.
    pub app_id: Option<AppId>,
}

/// What was found.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FoundThings {
    /// The things with this id, at most 50.
    pub items: Vec<Found>,
}

/// `POST /v1/search`
pub async fn find(
    State(edge): State<Shared>,
    caller: Caller,
    Body(Search { q, app_id }): Body<Search>,
) -> Result<Json<FoundThings>, Error> {
    let app = caller.app(&edge, app_id).await?;
    let mut items = edge.store.search(&q, app).await?;
    if items.is_empty() {
        items = by_key(&edge, q.trim(), app).await?;
    }
    Ok(Json(FoundThings { items }))
}

/// What is known of a receipt whose notifications all ended without a purchase: no index has their receipts, but the
/// key of the purchase follows from the platform and the receipt.
async fn by_key(edge: &Edge, receipt: &str, app: Option<AppId>) -> Result<Vec<Found>, Error> {
    let page = |limit| Page { cursor: None, limit };
    let apps = match app {
        Some(app) => vec![edge.store.app(app).await?],
        None => edge.store.apps(page(PLATFORMS)).await?.items,
    };
    let (mut left, mut found) = (PLATFORMS, Vec::new());
    for app in apps {
        for platform in edge.store.platforms(app.id, page(left.max(1))).await?.items {
            if left == 0 {
                return Ok(found);
            }
            left -= 1;
            let key = CollapseKey::of(platform.id, receipt).to_string();
            let of_key = edge.store.search(&key, Some(app.id)).await?.into_iter();
            found.extend(of_key.map(|one| Found { found_by: "receipt".to_owned(), ..one }));
        }
    }
    Ok(found)
}
