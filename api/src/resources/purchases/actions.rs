//! What an admin can ask of one purchase. Each is a signal to its workflow, which starts when it sleeps; 202.

use super::newest;
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::resources::asked::{admin, taken};
use crate::resources::{Body, Id};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use domain::{CollapseKey, DestinationId, Timestamp};
use serde_json::{Value, json};
use workflows::signal::{Admin, Discard, Hold, Redeliver, Signal};

type Answer = Result<(StatusCode, Json<Value>), Error>;

/// `POST …/flush`: settle now; never through a hold.
pub async fn flush(State(edge): State<Shared>, Id(key): Id<CollapseKey>, Body(mut fields): Body) -> Answer {
    let admin = admin(&mut fields);
    fields.finish()?;
    newest(&edge, key).await?;
    ask(&edge, key, Signal::Flush(admin)).await
}

/// `POST …/hold`: stop settling until a time, seven days unless said.
pub async fn hold(State(edge): State<Shared>, Id(key): Id<CollapseKey>, Body(mut fields): Body) -> Answer {
    let Admin { by, reason } = admin(&mut fields);
    let until: Option<Timestamp> = fields.parsed("until", "a time in RFC 3339, such as 2026-01-31T12:00:00Z");
    if until.is_some_and(|until| until <= (edge.clock)()) {
        fields.wrong("until", "a time in the future");
    }
    fields.finish()?;
    newest(&edge, key).await?;
    ask(&edge, key, Signal::Hold(Hold { by, reason, until: until.map(|until| until.to_string()) })).await
}

/// `POST …/release`: end a hold.
pub async fn release(State(edge): State<Shared>, Id(key): Id<CollapseKey>, Body(mut fields): Body) -> Answer {
    let admin = admin(&mut fields);
    fields.finish()?;
    newest(&edge, key).await?;
    ask(&edge, key, Signal::Release(admin)).await
}

/// `POST …/discard`: end what was accepted until now, unrecorded.
pub async fn discard(State(edge): State<Shared>, Id(key): Id<CollapseKey>, Body(mut fields): Body) -> Answer {
    let Admin { by, reason } = admin(&mut fields);
    fields.finish()?;
    let through = Some(newest(&edge, key).await?);
    ask(&edge, key, Signal::Discard(Discard { by, reason, through })).await
}

/// `POST …/redeliver`: send the newest state again, to one destination or all.
pub async fn redeliver(State(edge): State<Shared>, Id(key): Id<CollapseKey>, Body(mut fields): Body) -> Answer {
    let Admin { by, reason } = admin(&mut fields);
    let destination_id: Option<DestinationId> = fields.parsed("destination_id", "a destination id (a UUID)");
    fields.finish()?;
    newest(&edge, key).await?;
    if let Some(id) = destination_id {
        known(&edge, id).await?;
    }
    ask(&edge, key, Signal::Redeliver(Redeliver { by, reason, destination_id })).await
}

async fn known(edge: &Edge, id: DestinationId) -> Result<(), Error> {
    match edge.store.destination(id).await {
        Ok(_) => Ok(()),
        Err(storage::Error::Missing { .. }) => {
            Err(Error::invalid("destination_id", format!("the id of a destination, and there is none `{id}`")))
        }
        Err(error) => Err(error.into()),
    }
}

async fn ask(edge: &Edge, key: CollapseKey, signal: Signal) -> Answer {
    let name = signal.name();
    taken(edge.dispatch.engine().signal(key, signal)).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "collapse_key": key, "signal": name }))))
}
