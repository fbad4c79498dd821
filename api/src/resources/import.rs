//! `/v1/platforms/{platform_id}/import`: purchases that were made before we listened.

use super::customers::{LONGEST, external_id};
use super::{Body, Fields, Id};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{Outcome, PlatformId};
use serde_json::{Map, Value, json};
use storage::Adoption;

/// So many purchases are taken at a time.
pub const MOST: usize = 500;

/// `POST /v1/platforms/{platform_id}/import`: adopts purchases. What is known already is counted and left alone.
pub async fn start(
    State(edge): State<Shared>,
    Id(id): Id<PlatformId>,
    Body(mut fields): Body,
) -> Result<(StatusCode, Json<Value>), Error> {
    let platform = edge.store.platform(id).await?;
    let purchases = fields.required_objects("purchases", MOST, purchase);
    fields.finish()?;
    let adopted = edge.store.adopt(&platform, purchases, (edge.clock)()).await?;
    for (key, seq) in &adopted.accepted {
        edge.dispatch.notify(*key, *seq, platform.window_ms, platform.max_wait_ms);
    }
    let unnamed: Vec<Value> = adopted
        .unnamed
        .iter()
        .map(|(at, why)| json!({ "field": format!("purchases[{at}].external_id"), "detail": why }))
        .collect();
    let view = json!({
        "accepted": adopted.accepted.len(),
        "known": adopted.known,
        "waiting": adopted.waiting,
        "unnamed": unnamed,
    });
    Ok((StatusCode::ACCEPTED, Json(view)))
}

/// `GET /v1/platforms/{platform_id}/import`: how many adopted purchases wait, and how many ended with which outcome.
pub async fn show(State(edge): State<Shared>, Id(id): Id<PlatformId>) -> Result<Json<Value>, Error> {
    edge.store.platform(id).await?;
    let mut counts = Map::new();
    for word in ["waiting", Outcome::Settled.as_str(), Outcome::NoChange.as_str(), Outcome::GivenUp.as_str()] {
        counts.insert(word.to_owned(), json!(0));
    }
    for (outcome, count) in edge.store.adopted(id).await? {
        counts.insert(outcome.map_or("waiting", Outcome::as_str).to_owned(), json!(count));
    }
    Ok(Json(Value::Object(counts)))
}

/// One purchase; what is wrong in it is noted.
pub fn purchase(fields: &mut Fields) -> Adoption {
    let mut required = |name: &'static str| {
        if !fields.has(name) {
            fields.wrong(name, format!("a text of 1 to {LONGEST} characters; it is required"));
        }
        fields.short_text(name, LONGEST).unwrap_or_default()
    };
    let (receipt_id, app_user_id) = (required("receipt_id"), required("app_user_id"));
    // Both are looked up by indexes, whose entries have at most so many bytes.
    for (name, text) in [("receipt_id", &receipt_id), ("app_user_id", &app_user_id)] {
        if text.len() > MOST_BYTES {
            fields.wrong(name, format!("a text of at most {MOST_BYTES} bytes, and it has {}", text.len()));
        }
    }
    Adoption { receipt_id, app_user_id, external_id: external_id(fields, false) }
}

/// With `import/` before it a receipt is a message id of at most 1,000 bytes.
const MOST_BYTES: usize = 990;
