//! `/v1/stores`: where a store's messages come in. What they mean is in that store's folder.

use super::Ids;
use super::input::unreadable;
use crate::edge::Shared;
use crate::error::Error;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;

/// `POST /v1/stores/{store}/{ingress_key}`
pub async fn receive(
    State(edge): State<Shared>,
    Ids(store, ingress_key): Ids<String, String>,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, String), Error> {
    let body = body.map_err(|rejection| unreadable(&rejection))?;
    let Some(answer) = edge.receive(&store, &ingress_key, &body).await else {
        return Err(Error::missing("store", store));
    };
    match StatusCode::from_u16(answer.status) {
        Ok(status) if status.is_success() => Ok((status, answer.reason.to_owned())),
        _ => Err(Error::Store { status: answer.status, reason: answer.reason.to_owned() }),
    }
}
