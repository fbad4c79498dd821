//! The actions of an admin on one purchase. Each sends a signal to the purchase's workflow, starts a run if none is
//! open, and answers 202.

use super::newest;
use crate::answer::Accepted;
use crate::edge::Edge;
use crate::error::Error;
use crate::extract::{Body, Draft, Id};
use crate::keys::Acting;
use crate::resources::signals::{Action, taken};
use domain::{CollapseKey, DestinationId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::Subject;
use workflows::signal::{Discard, Redeliver, Signal};

/// A signal to a purchase's workflow that the engine took. The result is seen later.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignaledPurchase {
    /// The purchase.
    collapse_key: CollapseKey,
    /// The signal's name.
    signal: &'static str,
}

/// A hold.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "until": "2126-01-31T12:00:00Z", "by": "anna", "reason": "ticket 4711" }]))]
pub struct Hold {
    /// Until when; seven days from now when absent.
    until: Option<Timestamp>,
    /// The author and the reason.
    #[serde(flatten)]
    action: Action,
}

/// A redelivery of a purchase's newest state.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "reason": "ticket 4711" }]))]
pub struct PurchaseRedelivery {
    /// Only to this destination; to all when absent.
    destination_id: Option<DestinationId>,
    /// The author and the reason.
    #[serde(flatten)]
    action: Action,
}

type Answer = Result<Accepted<SignaledPurchase>, Error>;

/// `POST …/flush`: settle now, unless the purchase is held.
pub async fn flush(edge: Acting, Id(key): Id<CollapseKey>, Body(action): Body<Action>) -> Answer {
    newest(&edge, key).await?;
    send(&edge, key, Signal::Flush(action.admin(&edge))).await
}

/// `POST …/hold`: stop settling until a time.
pub async fn hold(edge: Acting, Id(key): Id<CollapseKey>, mut draft: Draft<Hold>) -> Answer {
    if draft.body.until.is_some_and(|until| until <= (edge.clock)()) {
        draft.wrong.add("until", "a time in the future");
    }
    let Hold { until, action } = draft.finish()?;
    let admin = action.admin(&edge);
    newest(&edge, key).await?;
    let until = until.map(|until| until.to_string());
    send(&edge, key, Signal::Hold(workflows::signal::Hold { until, admin })).await
}

/// `POST …/release`: end a hold.
pub async fn release(edge: Acting, Id(key): Id<CollapseKey>, Body(action): Body<Action>) -> Answer {
    newest(&edge, key).await?;
    send(&edge, key, Signal::Release(action.admin(&edge))).await
}

/// `POST …/discard`: give the notifications accepted until now the outcome `discarded`, without settling them.
pub async fn discard(edge: Acting, Id(key): Id<CollapseKey>, Body(action): Body<Action>) -> Answer {
    let admin = action.admin(&edge);
    let through = Some(newest(&edge, key).await?);
    send(&edge, key, Signal::Discard(Discard { through, admin })).await
}

/// `POST …/redeliver`: send the newest state again, to one destination or all.
pub async fn redeliver(edge: Acting, Id(key): Id<CollapseKey>, Body(body): Body<PurchaseRedelivery>) -> Answer {
    let PurchaseRedelivery { destination_id, action } = body;
    let admin = action.admin(&edge);
    newest(&edge, key).await?;
    if let Some(id) = destination_id {
        require_destination(&edge, key, id).await?;
    }
    send(&edge, key, Signal::Redeliver(Redeliver { destination_id, admin })).await
}

/// Refuses the id of a destination that does not exist, or is of another app than the purchase.
async fn require_destination(edge: &Edge, key: CollapseKey, id: DestinationId) -> Result<(), Error> {
    let missing = || Error::invalid("destination_id", format!("the id of a destination, and there is none `{id}`"));
    match edge.store.destination(id).await {
        Ok(found) if edge.store.app_of(Subject::Purchase, &key.to_string()).await? == Some(found.app_id) => Ok(()),
        Ok(_) | Err(storage::Error::Missing { .. }) => Err(missing()),
        Err(error) => Err(error.into()),
    }
}

async fn send(edge: &Edge, collapse_key: CollapseKey, signal: Signal) -> Answer {
    let name = signal.name();
    taken(edge.dispatch.engine().signal(collapse_key, signal)).await?;
    Ok(Accepted(SignaledPurchase { collapse_key, signal: name }))
}
