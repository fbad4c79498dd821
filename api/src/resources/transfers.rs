//! `/v1/transfers` and `POST /v1/apps/{app_id}/customers/move`: purchases that move from one user to another.

use super::customers::{CustomerChoice, unknown_customer};
use super::naming::{MergedCustomer, twin_warnings};
use crate::answer::short_digest;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Body, Draft, Id, Query, Stored};
use crate::keys::{Acting, Caller};
use axum::Json;
use axum::extract::State;
use domain::user::{TRANSFERRED_FROM, TRANSFERRED_TO};
use domain::{AppId, CollapseKey, Timestamp, TransferId, UserId, event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::{
    App, Author, CustomerMove, CustomerPurchases, MoveCondition, Paged, PlannedMove, TransferCause,
};

/// What names the customer who moves.
const ONE_OF_THREE: &str = "exactly one of `external_id`, `app_user_id` and `receipt_id`";

/// A customer who is to belong to another user.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "from": { "app_user_id": "u1" }, "external_id": "otto@example.com", "by": "anna", "reason": "ticket 4711",
}]))]
pub struct MovedCustomer {
    /// The customer: all that a user has by `external_id`, or one customer of the store.
    from: CustomerChoice,
    /// The external id of the new owner, who need not exist.
    #[schemars(length(min = 1, max = 512), extend("x-identifies" = true))]
    external_id: String,
    /// Whether a customer is created where nobody has that id; true when absent. False: 409 in that case.
    create: Option<bool>,
    /// The id of the preview of this move: 409 when the call would do something else by now.
    #[schemars(length(min = 1, max = 64))]
    preview: Option<String>,
    /// The author and the reason.
    #[serde(flatten)]
    author: TransferAuthor,
}

/// A move that is to be previewed.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "from": { "app_user_id": "u1" }, "external_id": "otto@example.com" }]))]
pub struct WantedMove {
    /// The customer: all that a user has by `external_id`, or one customer of the store.
    from: CustomerChoice,
    /// The external id of the new owner, who need not exist.
    #[schemars(length(min = 1, max = 512), extend("x-identifies" = true))]
    external_id: String,
}

/// What a move would do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MovePreview {
    /// Stands for all of this; sent as `preview`, it lets exactly this happen.
    pub id: String,
    /// The customer who loses the purchases.
    pub from: MergedCustomer,
    /// The customer who gets them; null when nobody has the id: then a customer is created.
    pub to: Option<MergedCustomer>,
    /// Number of purchases that move.
    pub purchases: usize,
    /// The moved purchases that are announced by two events: those that give access.
    pub announced: Vec<CollapseKey>,
    /// The events that follow, and at most how many of each.
    pub events: BTreeMap<&'static str, usize>,
}

impl From<&PlannedMove> for MovePreview {
    fn from(planned: &PlannedMove) -> Self {
        let PlannedMove {
            from,
            to,
            purchases,
            announced,
        } = planned;
        let of = |one: &CustomerPurchases| json!([one.customer.user_id, one.purchases]);
        let facts = json!([of(from), to.as_ref().map(of), purchases, announced]);
        let all = [
            (event::PURCHASE_UPDATED, purchases.len()),
            (TRANSFERRED_FROM, announced.len()),
            (TRANSFERRED_TO, announced.len()),
        ];
        Self {
            id: short_digest(facts.to_string().as_bytes()),
            from: from.into(),
            to: to.as_ref().map(MergedCustomer::from),
            purchases: purchases.len(),
            announced: announced.clone(),
            events: all.into_iter().filter(|(_, number)| *number > 0).collect(),
        }
    }
}

impl MovedCustomer {
    /// What the request requires of what it does.
    fn condition(&self) -> Option<MoveCondition> {
        let (may_create, preview) = (self.create.unwrap_or(true), self.preview.clone());
        if may_create && preview.is_none() {
            return None;
        }
        let external_id = self.external_id.clone();
        Some(Arc::new(move |planned| {
            if planned.to.is_none() && !may_create {
                return Err(format!(
                    "nobody has the id `{external_id}`, and `create` is false"
                ));
            }
            if preview
                .as_ref()
                .is_some_and(|shown| *shown != MovePreview::from(planned).id)
            {
                return Err(
                    "one of the customers has changed since the preview: preview the move again"
                        .to_owned(),
                );
            }
            Ok(())
        }))
    }
}

/// Who moves purchases, and why.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "by": "anna", "reason": "ticket 4711" }]))]
pub struct TransferAuthor {
    /// Who does this, noted beside the key.
    #[schemars(length(min = 1, max = 200))]
    by: Option<String>,
    /// The reason.
    #[schemars(length(min = 1, max = 1000))]
    reason: String,
}

impl TransferAuthor {
    /// The author, and the edge in whose audit entries they stand.
    pub fn acting(self, edge: Acting) -> (Acting, Author) {
        let author = Author {
            by: edge.name(self.by.clone()),
            reason: Some(self.reason.clone()),
        };
        (edge.named(self.by, Some(self.reason)), author)
    }
}

/// Whose transfers are listed.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TransferQuery {
    /// The user's id, as the former or the new owner.
    user_id: UserId,
}

/// Purchases that moved from one user to another.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Transfer {
    /// Its id, as in its events.
    pub transfer_id: TransferId,
    /// The app.
    pub app_id: AppId,
    /// The former owner.
    pub from: TransferSide,
    /// Whether the former owner was erased since.
    pub is_from_erased: bool,
    /// The new owner.
    pub to: TransferSide,
    /// Why it happened.
    #[schemars(with = "String", extend("enum" = ["login", "naming", "admin", "undo"]))]
    pub cause: TransferCause,
    /// The store's names of the customers who moved.
    pub app_user_ids: Vec<String>,
    /// The purchases that were announced by two events: those that gave access.
    pub announced: Vec<CollapseKey>,
    /// The person who caused it.
    pub by: Option<String>,
    /// Why they did.
    pub reason: Option<String>,
    /// The transfer that it takes back.
    pub undoes: Option<TransferId>,
    /// The transfer that took it back.
    pub undone_by: Option<TransferId>,
    /// Whether it can be taken back: nobody did, and its customers still belong to the new owner.
    pub can_undo: bool,
    /// When it happened.
    pub created_at: Timestamp,
    /// What is probably a mistake in the request that caused it, each as a sentence; absent without any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A user of a transfer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TransferSide {
    /// The id of settle.
    pub user_id: UserId,
    /// The customer's own id now.
    pub external_id: Option<String>,
}

impl From<storage::Transfer> for Transfer {
    fn from(transfer: storage::Transfer) -> Self {
        let (by, reason) = transfer
            .author
            .map_or((None, None), |author| (Some(author.by), author.reason));
        Self {
            transfer_id: transfer.id,
            app_id: transfer.app_id,
            from: TransferSide {
                user_id: transfer.from,
                external_id: transfer.from_external_id,
            },
            is_from_erased: transfer.is_from_erased,
            to: TransferSide {
                user_id: transfer.to,
                external_id: transfer.to_external_id,
            },
            cause: transfer.cause,
            app_user_ids: transfer.moved.app_user_ids(),
            announced: transfer.moved.announced,
            by,
            reason,
            undoes: transfer.undoes,
            undone_by: transfer.undone_by,
            can_undo: transfer.can_undo,
            created_at: transfer.created_at,
            warnings: Vec::new(),
        }
    }
}

/// `POST /v1/apps/{app_id}/customers/move`: moves a customer with all purchases to the user with another external id.
pub async fn move_customer(
    edge: Acting,
    Stored(app): Stored<App>,
    mut draft: Draft<MovedCustomer>,
) -> Result<Json<Transfer>, Error> {
    let key = draft.body.from.key();
    if key.is_none() {
        draft.wrong.add("from", ONE_OF_THREE);
    }
    let wanted = draft.finish()?;
    let condition = wanted.condition();
    let MovedCustomer {
        external_id,
        author,
        ..
    } = wanted;
    let Some(customer) = key else {
        return Err(Error::Internal);
    };
    let (edge, author) = author.acting(edge);
    let warnings = twin_warnings(&edge, app.id, &external_id).await?;
    let wanted = CustomerMove {
        app: app.id,
        customer,
        to: external_id,
        author,
    };
    let transfer = edge
        .store
        .move_customer_if(wanted, condition)
        .await
        .map_err(refusal)?;
    edge.wake_for_persons();
    Ok(Json(Transfer {
        warnings,
        ..transfer.into()
    }))
}

/// `POST /v1/apps/{app_id}/customers/move/preview`: what a move would do. Changes nothing.
pub async fn preview_move(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    mut draft: Draft<WantedMove>,
) -> Result<Json<MovePreview>, Error> {
    let key = draft.body.from.key();
    if key.is_none() {
        draft.wrong.add("from", ONE_OF_THREE);
    }
    let WantedMove { external_id, .. } = draft.finish()?;
    let Some(customer) = key else {
        return Err(Error::Internal);
    };
    let planned = edge
        .store
        .plan_move(app.id, customer, external_id)
        .await
        .map_err(refusal)?;
    Ok(Json(MovePreview::from(&planned)))
}

/// `GET /v1/transfers?user_id=`: the latest transfers from and to a user.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(query): Query<TransferQuery>,
) -> Result<Json<Paged<Transfer>>, Error> {
    let mut transfers = edge.store.transfers(query.user_id).await?;
    transfers.retain(|transfer| caller.app.is_none_or(|own| own == transfer.app_id));
    Ok(Json(Paged {
        items: transfers.into_iter().map(Transfer::from).collect(),
        next_cursor: None,
    }))
}

/// `GET /v1/transfers/{transfer_id}`
pub async fn show(
    State(edge): State<Shared>,
    Id(id): Id<TransferId>,
) -> Result<Json<Transfer>, Error> {
    Ok(Json(edge.store.transfer(id).await?.into()))
}

/// `POST /v1/transfers/{transfer_id}/undo`: gives the purchases back, by another transfer.
pub async fn undo(
    edge: Acting,
    Id(id): Id<TransferId>,
    Body(author): Body<TransferAuthor>,
) -> Result<Json<Transfer>, Error> {
    let (edge, author) = author.acting(edge);
    let transfer = edge
        .store
        .undo_transfer(id, author)
        .await
        .map_err(refusal)?;
    edge.wake_for_persons();
    Ok(Json(transfer.into()))
}

/// A conflict as the API answers it.
pub fn refusal(error: storage::Error) -> Error {
    match error {
        storage::Error::Conflict { detail, .. } => Error::Conflict(detail),
        storage::Error::Missing { what: "customer" } => unknown_customer(error),
        other => other.into(),
    }
}
