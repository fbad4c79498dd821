//! `POST /v1/destinations/{destination_id}/replay`: the newest state of each purchase, one delivery for each.

use crate::edge::Shared;
use crate::error::Error;
use crate::resources::{Body, Fields, Id, redeliveries};
use axum::Json;
use axum::extract::State;
use domain::{CollapseKey, DestinationId};
use serde_json::{Value, json};
use storage::Replay;

/// Purchases that can be named in one request.
const MOST_NAMED: usize = 500;

/// Owes a page of purchases: those that the destination is behind with, or `all`, or those that `collapse_keys` names
/// because it says that it lacks them.
pub async fn replay(
    State(edge): State<Shared>,
    Id(id): Id<DestinationId>,
    Body(mut fields): Body,
) -> Result<Json<Value>, Error> {
    edge.store.destination(id).await?;
    let what = what(&mut fields);
    let (page, how) = (redeliveries::page(&mut fields), redeliveries::how(&mut fields));
    if page.cursor.as_deref().is_some_and(|cursor| cursor.parse::<CollapseKey>().is_err()) {
        fields.wrong("cursor", "the `next_cursor` of the answer before, or nothing for the beginning");
    }
    fields.finish()?;
    let done = edge.store.replay(id, what, (page, how.clone())).await?;
    redeliveries::tell(&edge, &how, &done.owing).await;
    let mut answer = redeliveries::shown(&done.owing);
    answer["purchases"] = json!(done.purchases);
    answer["next_cursor"] = json!(done.next_cursor);
    Ok(Json(answer))
}

fn what(fields: &mut Fields) -> Replay {
    let all = fields.flag("all").unwrap_or(false);
    let Some(named) = fields.texts("collapse_keys") else { return if all { Replay::All } else { Replay::Behind } };
    if all {
        fields.wrong("all", "not to be given with `collapse_keys`");
    }
    if named.len() > MOST_NAMED {
        fields.wrong("collapse_keys", format!("at most {MOST_NAMED} collapse keys"));
    }
    let keys: Result<Vec<CollapseKey>, _> = named.iter().map(|text| text.parse()).collect();
    if let Err(error) = &keys {
        fields.wrong("collapse_keys", format!("collapse keys ({error})"));
    }
    Replay::These(keys.unwrap_or_default())
}
