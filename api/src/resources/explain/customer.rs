//! `/v1/apps/{app_id}/customers/{user_id}/explain`: why a destination did or did not receive an event about a customer.

use super::node::Node;
use super::story;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Ids, Query};
use crate::resources::customers;
use axum::Json;
use axum::extract::State;
use domain::{AppId, CollapseKey, DestinationId, EventId, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{Destination, EventFilter, Page, PurchaseFilter};

/// Maximum number of events or purchases that are explained.
const EXPLAINED: i64 = 5;

/// Destination and type of event to explain.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CustomerEventQuery {
    /// Id of the destination, which must belong to the app.
    destination_id: DestinationId,
    /// Type of the event.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 200))]
    event_type: String,
}

/// Why a destination received events of a type about a customer, or did not.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedCustomer {
    /// Id of the destination.
    pub destination_id: DestinationId,
    /// Name of the destination.
    pub destination: String,
    /// Type of the event.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Whether such an event was recorded. If not, the items are about the customer's purchases.
    pub is_recorded: bool,
    /// Latest events of the type or, if there are none, the most recently settled purchases.
    pub items: Vec<ExplainedItem>,
}

/// An event or a purchase, explained in sentences.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExplainedItem {
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// Id of the event; null for a purchase.
    pub event_id: Option<EventId>,
    /// When the event was recorded; null for a purchase.
    pub recorded_at: Option<Timestamp>,
    /// Explanation in sentences without full stops.
    pub sentences: Vec<String>,
}

/// `GET /v1/apps/{app_id}/customers/{user_id}/explain?destination_id=&type=`
pub async fn show(
    State(edge): State<Shared>,
    Ids(app, user): Ids<AppId, UserId>,
    Query(query): Query<CustomerEventQuery>,
) -> Result<Json<ExplainedCustomer>, Error> {
    customers::of(&edge, app, user).await?;
    let destination = edge.store.destination(query.destination_id).await?;
    if destination.app_id != app {
        return Err(Error::missing("destination", destination.id));
    }
    let found = explained(&edge, user, &destination, query.event_type).await?;
    Ok(Json(found))
}

/// Returns the latest events of a type about a customer, with their deliveries to a destination of the app or, if there
/// are none, the state of each purchase.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn explained(
    edge: &Edge,
    user: UserId,
    destination: &Destination,
    event_type: String,
) -> Result<ExplainedCustomer, Error> {
    let app = destination.app_id;
    let mut items = events(edge, user, destination, &event_type).await?;
    let is_recorded = !items.is_empty();
    if !is_recorded {
        items = purchases(edge, app, user).await?;
    }
    Ok(ExplainedCustomer {
        destination_id: destination.id,
        destination: destination.name.clone(),
        event_type,
        is_recorded,
        items,
    })
}

/// Returns the latest events of a type about a customer, explained.
async fn events(
    edge: &Edge,
    user: UserId,
    destination: &Destination,
    event_type: &str,
) -> Result<Vec<ExplainedItem>, Error> {
    let wanted = EventFilter {
        app_id: Some(destination.app_id),
        user_id: Some(user),
        types: vec![event_type.to_owned()],
        ..EventFilter::default()
    };
    let mut items = Vec::new();
    for event in edge.store.events(wanted, first()).await?.items {
        let tree = story::event(&edge.store.explain_event(event.id).await?);
        items.push(ExplainedItem {
            collapse_key: event.collapse_key,
            event_id: Some(event.id),
            recorded_at: Some(event.created_at),
            sentences: about(&tree, destination),
        });
    }
    Ok(items)
}

/// Returns a customer's most recently settled purchases, explained.
async fn purchases(edge: &Edge, app: AppId, user: UserId) -> Result<Vec<ExplainedItem>, Error> {
    let owned = PurchaseFilter {
        app_id: Some(app),
        user_id: Some(user),
        ..PurchaseFilter::default()
    };
    let mut items = Vec::new();
    for purchase in edge.store.purchases(owned, first()).await?.items {
        let key = purchase.collapse_key;
        let tree = story::purchase(key, &edge.store.explain_purchase(key).await?);
        items.push(ExplainedItem {
            collapse_key: key,
            event_id: None,
            recorded_at: None,
            sentences: without(&tree),
        });
    }
    Ok(items)
}

const fn first() -> Page {
    Page {
        cursor: None,
        limit: EXPLAINED,
    }
}

/// Returns the sentences about one destination from the explanation of an event.
fn about(tree: &Node, destination: &Destination) -> Vec<String> {
    let id = Value::from(destination.id.to_string());
    let of = tree
        .then
        .iter()
        .filter(|node| node.facts.get("destination_id") == Some(&id));
    let mut sentences = Vec::new();
    for node in of {
        sentences.push(node.summary.clone());
        sentences.extend(node.then.last().map(|attempt| attempt.summary.clone()));
    }
    if sentences.is_empty() {
        sentences.extend(
            tree.then
                .iter()
                .filter(|node| node.what == "nobody")
                .map(|node| node.summary.clone()),
        );
    }
    if sentences.is_empty() {
        sentences.push("the destination did not exist when the event was recorded".to_owned());
    }
    sentences
}

/// Returns the sentences about a purchase that has no such event: its state, and its newest notification.
fn without(tree: &Node) -> Vec<String> {
    let notifications = tree.then.iter().find(|node| node.what == "notifications");
    let newest = notifications
        .and_then(|node| node.then.last())
        .map(|node| node.summary.clone());
    let nothing = tree
        .then
        .iter()
        .filter(|node| node.what == "nothing")
        .map(|node| node.summary.clone());
    std::iter::once(tree.summary.clone())
        .chain(newest)
        .chain(nothing)
        .collect()
}
