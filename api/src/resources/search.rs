//! `/v1/search`: finds resources by id. Uses POST although it changes nothing, because URLs appear in logs and browser
//! histories, where a customer's id does not belong.

use super::apps;
use super::customers::{Customer, of as customer};
use super::purchases::stored;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Body;
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::text::misread;
use domain::{AppId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use storage::{App, FoundKind, PurchaseView, SearchHit};

/// A search by id.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "q": "6b275a67-0bbb-4f3a-99b9-6600bf711993" }]))]
pub struct Search {
    /// Id of a purchase, event, delivery (`webhook-id`), destination, platform, app, user or device; a purchase or
    /// message by the store's id; or a customer by the store's or the app's own id, ignoring case. If no id matches,
    /// ids with this prefix are found: at least 3 characters, or 8 for ids of settle and devices. Messages and unsettled
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

/// Returns the existing id that was probably meant by an id without results.
pub async fn meant(edge: &Edge, q: &str, app: Option<AppId>) -> Result<Option<String>, Error> {
    for text in misread(q.trim()) {
        if !hits(edge, &text, app).await?.is_empty() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// Value of `found_by` for a result that matches by prefix.
pub const BEGINNING: &str = "beginning";

/// Returns whether the results only match by prefix.
pub fn is_beginning(found: &[SearchHit]) -> bool {
    found.iter().any(|one| one.found_by == BEGINNING)
}

/// Searches in an app, or in all apps.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn hits(edge: &Edge, q: &str, app: Option<AppId>) -> Result<Vec<SearchHit>, Error> {
    Ok(edge.store.search(q, app).await?)
}

/// Returns the purchases among the results, by the results' ids, to show the store's ids of the purchase and customer.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn purchases(
    edge: &Edge,
    found: &[SearchHit],
) -> Result<BTreeMap<String, PurchaseView>, Error> {
    let mut all = BTreeMap::new();
    for hit in found.iter().filter(|one| one.kind == FoundKind::Purchase) {
        let Some(key) = hit.collapse_key else {
            continue;
        };
        // `None`: the purchase has been removed meanwhile.
        if let Some(view) = stored(edge, key).await? {
            all.insert(hit.id.clone(), view);
        }
    }
    Ok(all)
}

/// The customers that an id identifies.
#[derive(Default)]
pub struct FoundCustomers {
    /// Customers, each with the app.
    pub all: Vec<(App, Customer)>,
    /// Whether no customer has the complete id.
    pub is_beginning: bool,
    /// Existing id that was probably meant, if there are no results.
    pub did_you_mean: Option<String>,
}

/// Returns the customers with an id in an app, or in all apps. It may be a store's id of the customer or of a purchase,
/// or an id that the search finds.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn customers(edge: &Edge, q: &str, app: Option<AppId>) -> Result<FoundCustomers, Error> {
    let of_store = edge.store.customers_of_store_id(q, app).await?;
    let mut found = hits(edge, q, app).await?;
    let is_beginning = is_beginning(&found) && of_store.is_empty();
    found.retain(|hit| {
        hit.kind == FoundKind::Customer && (of_store.is_empty() || hit.found_by != BEGINNING)
    });
    let found = found
        .into_iter()
        .filter_map(|hit| Some((hit.app_id?, hit.id.parse().ok()?)));
    let mut users: Vec<(AppId, UserId)> = found.collect();
    for one in of_store {
        if !users.contains(&(one.app_id, one.user_id)) {
            users.push((one.app_id, one.user_id));
        }
    }
    let mut all = Vec::new();
    for (app, user) in users {
        let found = async {
            Ok((
                apps::one(edge, app).await?,
                customer(edge, app, user).await?,
            ))
        };
        match found.await {
            // The app was deleted, or the customer was erased meanwhile.
            Err(Error::Missing(_)) => {}
            found => all.push(found?),
        }
    }
    let did_you_mean = if all.is_empty() {
        meant(edge, q, app).await?
    } else {
        None
    };
    Ok(FoundCustomers {
        all,
        is_beginning,
        did_you_mean,
    })
}
