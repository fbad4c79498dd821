//! `/v1/stores`: the ingress of stores' messages. The folder of each store parses and stores them.

use crate::answer::Text;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Ids, Message};
use axum::extract::State;
use axum::http::StatusCode;
use storage::chain;
use tokio::task::JoinError;

/// `POST /v1/stores/{store}/{ingress_key}`
pub async fn receive(
    State(edge): State<Shared>,
    Ids(store, ingress_key): Ids<String, String>,
    Message(body): Message,
) -> Result<Text, Error> {
    // A task of its own ends also when the client is gone: what it stores is signalled.
    let name = store.clone();
    let receiving = tokio::spawn(async move { edge.receive(&name, &ingress_key, &body).await });
    let Some(answer) = receiving.await.map_err(|error| failed(&error))? else {
        return Err(Error::missing("store", store));
    };
    if answer.status == StatusCode::OK.as_u16() {
        return Ok(Text { media: "text/plain; charset=utf-8", text: answer.reason.to_owned() });
    }
    Err(Error::Store { status: answer.status, reason: answer.reason.to_owned() })
}

/// The answer when the task ended without one.
fn failed(error: &JoinError) -> Error {
    tracing::error!(error = chain(error), "the ingress of a store failed");
    Error::Internal
}
