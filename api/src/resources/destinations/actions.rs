//! What an admin can ask of one destination. Each is a signal to its workflow, which starts when none is open; 202.

use super::FORGOTTEN_AT_ONCE;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::resources::asked::{admin, taken};
use crate::resources::{Body, Id};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::DestinationId;
use serde_json::{Value, json};
use workflows::signal::{DestinationSignal, Enable};

type Answer = Result<(StatusCode, Json<Value>), Error>;

/// `POST …/enable`: send what is owed again; with `newest_only` the newest state of each purchase alone. With `dry_run`
/// it only says what that would end unsent; 200.
pub async fn enable(State(edge): State<Shared>, Id(id): Id<DestinationId>, Body(mut fields): Body) -> Answer {
    let admin = admin(&mut fields);
    let newest_only = fields.flag("newest_only").unwrap_or(false);
    let dry_run = fields.flag("dry_run").unwrap_or(false);
    if dry_run && !newest_only {
        fields.wrong("dry_run", "`newest_only`: true beside it, since only that ends anything");
    }
    fields.finish()?;
    edge.store.destination(id).await?;
    if dry_run {
        let skipped = edge.store.count_user_events(id).await?;
        return Ok((StatusCode::OK, Json(json!({ "destination_id": id, "skipped": skipped }))));
    }
    // Here, so that it is refused here; what is left, its workflow ends.
    let is_left = newest_only && edge.store.forget_user_events(id, FORGOTTEN_AT_ONCE).await?.more;
    ask(&edge, id, DestinationSignal::Enable(Enable { newest_only: is_left, ..admin.into() })).await
}

/// `POST …/disable`: send nothing. Purchases settle on, and what is owed stays owed.
pub async fn disable(State(edge): State<Shared>, Id(id): Id<DestinationId>, Body(mut fields): Body) -> Answer {
    let admin = admin(&mut fields);
    fields.finish()?;
    edge.store.destination(id).await?;
    ask(&edge, id, DestinationSignal::Disable(admin)).await
}

/// `POST …/probe`: try now whether it answers again, without waiting for the next turn.
pub async fn probe(State(edge): State<Shared>, Id(id): Id<DestinationId>, Body(mut fields): Body) -> Answer {
    let admin = admin(&mut fields);
    fields.finish()?;
    enabled(&edge, id).await?;
    ask(&edge, id, DestinationSignal::Probe(admin)).await
}

/// `POST …/retry`: send what is owed now, whatever it waits for: back-offs and a pause end, and an open breaker is tried.
/// Nothing is owed anew; `owed` is what there is to send.
pub async fn retry(State(edge): State<Shared>, Id(id): Id<DestinationId>, Body(mut fields): Body) -> Answer {
    let admin = admin(&mut fields);
    fields.finish()?;
    enabled(&edge, id).await?;
    let owed = edge.store.health(id).await?.owed;
    edge.store.hasten(id).await?;
    taken(edge.dispatch.engine().destination(id, DestinationSignal::Probe(admin))).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "destination_id": id, "owed": owed }))))
}

/// `POST …/redeliver`: send again what failed for good.
pub async fn redeliver(State(edge): State<Shared>, Id(id): Id<DestinationId>, Body(mut fields): Body) -> Answer {
    let admin = admin(&mut fields);
    fields.finish()?;
    edge.store.destination(id).await?;
    ask(&edge, id, DestinationSignal::Redeliver(admin.into())).await
}

/// A disabled destination is not probed: whoever wants it to be tried enables it.
async fn enabled(edge: &Edge, id: DestinationId) -> Result<(), Error> {
    if edge.store.destination(id).await?.enabled {
        return Ok(());
    }
    Err(Error::Conflict("the destination is disabled: enable it, which sends what is owed".to_owned()))
}

async fn ask(edge: &Edge, id: DestinationId, signal: DestinationSignal) -> Answer {
    let name = signal.name();
    taken(edge.dispatch.engine().destination(id, signal)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "destination_id": id, "signal": name }))))
}
