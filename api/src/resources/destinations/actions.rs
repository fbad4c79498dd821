//! Admin actions on one destination. Each sends a signal to the destination's workflow, starts a run if none is open,
//! and responds with 202.

use super::SKIPPED_AT_ONCE;
use crate::answer::Accepted;
use crate::edge::Edge;
use crate::error::Error;
use crate::extract::{Body, Draft, Stored};
use crate::keys::Acting;
use crate::operation::{Operation, Output, Schemas};
use crate::resources::signals::{Action, taken};
use axum::Json;
use axum::response::{IntoResponse, Response};
use domain::DestinationId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Destination;
use workflows::signal::DestinationSignal;

/// A signal that a destination's workflow accepted. Its effect follows later.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignaledDestination {
    /// Id of the destination.
    destination_id: DestinationId,
    /// Name of the signal.
    signal: &'static str,
}

/// Result of a retry request.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Retrying {
    /// Id of the destination.
    pub destination_id: DestinationId,
    /// Number of pending deliveries, counted up to 10,000.
    pub pending: i64,
}

/// Effect of `newest_only`.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Skipping {
    /// Id of the destination.
    pub destination_id: DestinationId,
    /// Number of deliveries that would be skipped.
    pub skipped: i64,
}

/// Options for enabling a destination.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "newest_only": true, "reason": "the receiver was rebuilt" }]))]
pub struct Enable {
    /// Skip pending `user.*` events.
    newest_only: Option<bool>,
    /// Only count the events that would be skipped. Requires `newest_only: true`.
    dry_run: Option<bool>,
    /// Author of the change and reason.
    #[serde(flatten)]
    action: Action,
}

/// Result of enabling a destination. A dry run responds with 200.
pub enum Enabled {
    /// Number of deliveries that would be skipped.
    Dry(Skipping),
    Signaled(SignaledDestination),
}

impl IntoResponse for Enabled {
    fn into_response(self) -> Response {
        match self {
            Self::Dry(skipping) => Json(skipping).into_response(),
            Self::Signaled(signaled) => Accepted(signaled).into_response(),
        }
    }
}

impl Output for Enabled {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Json::<Skipping>::describe(operation, schemas);
        Accepted::<SignaledDestination>::describe(operation, schemas);
    }
}

type ActionResponse = Result<Accepted<SignaledDestination>, Error>;

/// `POST …/enable`: resumes sending, beginning with pending deliveries; with `newest_only`, only the latest state of
/// each purchase. With `dry_run`, only counts the events that would be skipped, and responds with 200.
pub async fn enable(
    edge: Acting,
    Stored(Destination { id, .. }): Stored<Destination>,
    mut draft: Draft<Enable>,
) -> Result<Enabled, Error> {
    let (newest_only, dry_run) = (
        draft.body.newest_only.unwrap_or(false),
        draft.body.dry_run.unwrap_or(false),
    );
    if dry_run && !newest_only {
        draft.wrong.add(
            "dry_run",
            "`newest_only`: true as well, since nothing is skipped without it",
        );
    }
    let admin = draft.finish()?.action.admin(&edge);
    let edge = edge.signed(admin.clone());
    if dry_run {
        let skipped = edge.store.count_user_events(id).await?;
        return Ok(Enabled::Dry(Skipping {
            destination_id: id,
            skipped,
        }));
    }
    // The first part is skipped here, so that the response can report an error; the workflow skips the rest.
    let is_left = newest_only && edge.store.skip_user_events(id, SKIPPED_AT_ONCE).await?.more;
    let enable = workflows::signal::Enable {
        newest_only: is_left,
        ..admin.into()
    };
    send(&edge, id, DestinationSignal::Enable(enable))
        .await
        .map(Enabled::Signaled)
}

/// `POST …/disable`: stops sending. Purchases are still settled, and pending deliveries stay pending.
pub async fn disable(
    edge: Acting,
    Stored(destination): Stored<Destination>,
    Body(action): Body<Action>,
) -> ActionResponse {
    send(
        &edge,
        destination.id,
        DestinationSignal::Disable(action.admin(&edge)),
    )
    .await
    .map(Accepted)
}

/// `POST …/probe`: sends a probe now instead of at its scheduled time. 409 for a disabled destination.
pub async fn probe(
    edge: Acting,
    Stored(destination): Stored<Destination>,
    Body(action): Body<Action>,
) -> ActionResponse {
    if !destination.enabled {
        return Err(Error::Conflict(
            "the destination is disabled: enable it to send its pending deliveries".to_owned(),
        ));
    }
    let (app, id, admin) = (destination.app_id, destination.id, action.admin(&edge));
    let signaled = send(&edge, id, DestinationSignal::Probe(admin.clone())).await?;
    edge.signed(admin)
        .store
        .record_audit_entry("destination.probe", Some(app), id)
        .await?;
    Ok(Accepted(signaled))
}

/// `POST …/retry`: sends pending deliveries now. Back-offs and pauses end, and an open breaker is probed. Nothing new
/// is queued; `pending` is the number of deliveries to send.
pub async fn retry(
    edge: Acting,
    Stored(destination): Stored<Destination>,
    Body(action): Body<Action>,
) -> Result<Accepted<Retrying>, Error> {
    if !destination.enabled {
        return Err(Error::Conflict(
            "the destination is disabled: enable it to send its pending deliveries".to_owned(),
        ));
    }
    let id = destination.id;
    let pending = edge.store.health(id).await?.pending;
    let admin = action.admin(&edge);
    let edge = edge.signed(admin.clone());
    edge.store.retry_now(id).await?;
    taken(
        edge.dispatch
            .engine()
            .signal_destination(id, DestinationSignal::Probe(admin)),
    )
    .await?;
    Ok(Accepted(Retrying {
        destination_id: id,
        pending,
    }))
}

async fn send(
    edge: &Edge,
    destination_id: DestinationId,
    signal: DestinationSignal,
) -> Result<SignaledDestination, Error> {
    let name = signal.name();
    taken(
        edge.dispatch
            .engine()
            .signal_destination(destination_id, signal),
    )
    .await?;
    Ok(SignaledDestination {
        destination_id,
        signal: name,
    })
}
