//! Admin actions on one purchase. Each sends a signal to the purchase's workflow, starts a run if none is open, and
//! responds with 202.

use super::newest;
use crate::answer::Accepted;
use crate::edge::Edge;
use crate::error::Error;
use crate::extract::{Body, Draft, Id};
use crate::keys::Acting;
use crate::resources::signals::{Action, taken};
use domain::{CollapseKey, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use workflows::signal::{Discard, Signal};

/// A signal that a purchase's workflow accepted. Its effect follows later.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignaledPurchase {
    /// Key of the purchase.
    collapse_key: CollapseKey,
    /// Name of the signal.
    signal: &'static str,
}

/// A hold on a purchase.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "until": "2126-01-31T12:00:00Z", "by": "anna", "reason": "ticket 4711" }]))]
pub struct Hold {
    /// When the hold ends; seven days from now by default.
    until: Option<Timestamp>,
    /// Author of the hold and reason.
    #[serde(flatten)]
    action: Action,
}

type ActionResponse = Result<Accepted<SignaledPurchase>, Error>;

/// `POST …/flush`: settles the purchase now, unless it is held.
pub async fn flush(
    edge: Acting,
    Id(key): Id<CollapseKey>,
    Body(action): Body<Action>,
) -> ActionResponse {
    newest(&edge, key).await?;
    send(&edge, key, Signal::Flush(action.admin(&edge))).await
}

/// `POST …/hold`: stops settling the purchase until the hold ends.
pub async fn hold(
    edge: Acting,
    Id(key): Id<CollapseKey>,
    mut draft: Draft<Hold>,
) -> ActionResponse {
    if draft
        .body
        .until
        .is_some_and(|until| until <= (edge.clock)())
    {
        draft.wrong.add("until", "a time in the future");
    }
    let Hold { until, action } = draft.finish()?;
    let admin = action.admin(&edge);
    newest(&edge, key).await?;
    let until = until.map(|until| until.to_string());
    send(
        &edge,
        key,
        Signal::Hold(workflows::signal::Hold { until, admin }),
    )
    .await
}

/// `POST …/release`: ends a hold.
pub async fn release(
    edge: Acting,
    Id(key): Id<CollapseKey>,
    Body(action): Body<Action>,
) -> ActionResponse {
    newest(&edge, key).await?;
    send(&edge, key, Signal::Release(action.admin(&edge))).await
}

/// `POST …/discard`: gives the notifications accepted so far the outcome `discarded`, without settling them.
pub async fn discard(
    edge: Acting,
    Id(key): Id<CollapseKey>,
    Body(action): Body<Action>,
) -> ActionResponse {
    let admin = action.admin(&edge);
    let through = Some(newest(&edge, key).await?);
    send(&edge, key, Signal::Discard(Discard { through, admin })).await
}

async fn send(edge: &Edge, collapse_key: CollapseKey, signal: Signal) -> ActionResponse {
    let name = signal.name();
    taken(edge.dispatch.engine().signal(collapse_key, signal)).await?;
    Ok(Accepted(SignaledPurchase {
        collapse_key,
        signal: name,
    }))
}
