//! `/v1/deliveries`: one event on its way to one destination, with its attempts.

use super::query::Listed;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Id, Query};
use crate::keys::Caller;
use axum::Json;
use axum::extract::State;
use domain::{DeliveryId, DestinationId, EventId};
use protocols::destinations;
use schemars::JsonSchema;
use serde::Serialize;
use storage::{AttemptView, DeliveryFilter, DeliveryStatus, DeliveryView, Paged};

/// Header with the id of a delivery, for kinds of destinations that send it.
const WEBHOOK_ID: &str = "webhook-id";
/// Header with the trace context.
const TRACEPARENT: &str = "traceparent";

/// The request of a delivery, without its signature and secret values.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SentRequest {
    /// Id of the delivery.
    id: DeliveryId,
    /// Id of the destination.
    destination_id: DestinationId,
    /// Id of the event.
    event_id: EventId,
    /// Type of the event.
    event_type: String,
    /// Value of the `webhook-id` header, the same in every attempt; null if this kind of destination has none.
    pub webhook_id: Option<DeliveryId>,
    /// Names of the request headers; empty if the destination no longer has usable settings.
    pub header_names: Vec<String>,
    /// Body, byte for byte as sent. For a kind that batches events, only this event. Null before the first attempt and
    /// after the delivery has finished.
    pub body: Option<String>,
    /// Why there is no body.
    pub note: Option<&'static str>,
}

/// Returns the name of a status for display.
pub const fn status_for_people(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Delivered => "delivered",
        DeliveryStatus::Pending => "pending",
        DeliveryStatus::Waiting => "waiting for login",
        DeliveryStatus::Superseded => "superseded",
        DeliveryStatus::Skipped => "not sent",
        DeliveryStatus::Failed => "failed",
    }
}

/// `GET /v1/deliveries`, newest first.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(Listed { mut filter, page }): Query<Listed<DeliveryFilter>>,
) -> Result<Json<Paged<DeliveryView>>, Error> {
    filter.app_id = caller.app(&edge, filter.app_id).await?;
    Ok(Json(edge.store.deliveries(filter, page.page()).await?))
}

/// `GET /v1/deliveries/{delivery_id}`
pub async fn show(
    State(edge): State<Shared>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<DeliveryView>, Error> {
    Ok(Json(edge.store.delivery(id).await?))
}

/// `GET /v1/deliveries/{delivery_id}/attempts`, oldest first.
pub async fn attempts(
    State(edge): State<Shared>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<Paged<AttemptView>>, Error> {
    edge.store.delivery(id).await?;
    Ok(Json(Paged {
        items: edge.store.attempts(id).await?,
        next_cursor: None,
    }))
}

/// `GET /v1/deliveries/{delivery_id}/request`: for the role `support` and above, because the body contains customer
/// data.
pub async fn request(
    State(edge): State<Shared>,
    Id(id): Id<DeliveryId>,
) -> Result<Json<SentRequest>, Error> {
    let sent = edge.store.sent_body(id).await?;
    let (kind, header_names): (String, Vec<String>) =
        match edge.store.destination(sent.destination_id).await {
            Ok(destination) => {
                let secret = edge.store.destination_secret(destination.id).await?;
                let connector = destinations::ready(&destination, &secret, &edge.allowed).ok();
                let trace = connector
                    .as_ref()
                    .is_some_and(|connector| connector.takes_trace())
                    .then(|| TRACEPARENT.to_owned());
                let names = connector.map_or_else(Vec::new, |connector| connector.header_names());
                (destination.kind, names.into_iter().chain(trace).collect())
            }
            Err(storage::Error::Missing { .. }) => (String::new(), Vec::new()),
            Err(error) => return Err(error.into()),
        };
    let note = match (&sent.body, sent.status) {
        (Some(_), _) => None,
        (None, DeliveryStatus::Pending | DeliveryStatus::Waiting) => Some(
            "Not attempted yet: the first attempt renders the body, which never changes afterwards.",
        ),
        (None, _) => Some(
            "The body is stored only while the delivery is pending. The event still has the data that it was rendered \
             from.",
        ),
    };
    Ok(Json(SentRequest {
        id,
        destination_id: sent.destination_id,
        event_id: sent.event_id,
        event_type: sent.event_type,
        webhook_id: header_names
            .iter()
            .any(|name| name == WEBHOOK_ID)
            .then_some(id),
        header_names,
        body: sent.body.map(|frozen| match destinations::kind(&kind) {
            Ok(kind) => kind.sent_body(frozen),
            Err(_) => frozen,
        }),
        note,
    }))
}
