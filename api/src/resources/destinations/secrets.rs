//! A destination's secrets: replacing what requests are signed with, and trying whether the connection works.

use super::{detail, made_of, remade, show_once};
use crate::clock;
use crate::edge::{Rotation, Shared, Tested};
use crate::error::{Error, Field};
use crate::resources::{Body, Id};
use axum::Json;
use axum::extract::State;
use domain::DestinationId;
use secrecy::SecretString;
use serde_json::{Value, json};
use storage::DestinationPatch;

/// For how many hours the old secret is used too: seven days at most.
const MOST_HOURS: i64 = 7 * 24;
/// The same, when the request does not say.
const HOURS: i64 = 24;
const HOUR_MS: i64 = 3600 * 1000;

/// `POST …/rotate-secret`: another signing secret, shown in this answer only. The old one signs beside it for a while.
pub async fn rotate(
    State(edge): State<Shared>,
    Id(id): Id<DestinationId>,
    Body(mut fields): Body,
) -> Result<Json<Value>, Error> {
    let destination = edge.store.destination(id).await?;
    let given = fields.text("secret").map(SecretString::from);
    let hours = fields.integer("overlap_hours", 0..=MOST_HOURS).unwrap_or(HOURS);
    let now = (edge.clock)();
    let rotation = Rotation { given, until: now.plus_millis(hours * HOUR_MS), now, random: (edge.random)() };
    let secret = edge.store.destination_secret(id).await?;
    let rotated = edge.kinds.rotate(&destination, &secret, rotation);
    if let Some(wrong) = rotated.as_ref().err().and_then(|wrong| wrong.iter().find(|wrong| wrong.field == "kind")) {
        return Err(Error::Unsuitable(format!("expected a destination of kind {}", wrong.expected)));
    }
    let rotated = made_of(rotated, &mut fields);
    fields.finish()?;
    let mut patch = DestinationPatch::default();
    let shown = rotated.map(|made| remade(&mut patch, &destination, (secret, made))).unwrap_or_default();
    let after = edge.store.update_destination(id, patch).await?;
    let mut view = detail(&edge, &after).await?;
    show_once(&mut view, shown);
    Ok(Json(view))
}

/// `POST …/test`: one request that tells no event and is kept nowhere. 200 whether it works or not, with what was said.
pub async fn test(
    State(edge): State<Shared>,
    Id(id): Id<DestinationId>,
    Body(fields): Body,
) -> Result<Json<Value>, Error> {
    fields.finish()?;
    let destination = edge.store.destination(id).await?;
    let secret = edge.store.destination_secret(id).await?;
    let tested = edge.kinds.test(destination, secret, clock::random_uuid().to_string()).await;
    let missing =
        |field: Field| Error::Conflict(format!("nothing was sent; `{}`: expected {}", field.field, field.expected));
    let Tested { ok, says } = tested.map_err(missing)?;
    Ok(Json(json!({ "ok": ok, "says": says })))
}
