//! `/v1/transfers` and `POST /v1/apps/{app_id}/customers/move`: purchases that move from one user to another.

pub mod moves;

use super::customers::{CustomerChoice, unknown_customer};
use super::naming::{MergedCustomer, twin_warnings};
use crate::answer::short_digest;
use crate::edge::{Edge, Shared};
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
    App, Author, CustomerKey, CustomerMove, CustomerPurchases, MoveCondition, Paged, PlannedMove,
    TransferCause,
};

/// Expected value in an error: the fields that identify the customer to move.
const ONE_OF_THREE: &str = "exactly one of `external_id`, `app_user_id` and `receipt_id`";

/// A customer to move to another user.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "from": { "app_user_id": "u1" }, "external_id": "otto@example.com", "by": "anna", "reason": "ticket 4711",
}]))]
pub struct MovedCustomer {
    /// Customer to move: everything of a user by `external_id`, or one customer of the store.
    from: CustomerChoice,
    /// External id of the new owner, who need not exist yet.
    #[schemars(length(min = 1, max = 512), extend("x-identifies" = true))]
    external_id: String,
    /// Whether to create the customer if the external id is unknown; true by default. If false, an unknown id returns
    /// 409.
    create: Option<bool>,
    /// Id of a preview of this move. 409 if the effect would now differ from it.
    #[schemars(length(min = 1, max = 64))]
    preview: Option<String>,
    /// Author of the move and reason.
    #[serde(flatten)]
    author: TransferAuthor,
}

/// A move to preview.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "from": { "app_user_id": "u1" }, "external_id": "otto@example.com" }]))]
pub struct WantedMove {
    /// Customer to move: everything of a user by `external_id`, or one customer of the store.
    from: CustomerChoice,
    /// External id of the new owner, who need not exist yet.
    #[schemars(length(min = 1, max = 512), extend("x-identifies" = true))]
    external_id: String,
}

/// Effects of a move.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MovePreview {
    /// Id of this preview. Send it as `preview` to allow only these effects.
    pub id: String,
    /// The customer who would lose the purchases.
    pub from: MergedCustomer,
    /// The customer who would receive the purchases; null if the external id is unknown and a customer would be
    /// created.
    pub to: Option<MergedCustomer>,
    /// Number of purchases that would move.
    pub purchases: usize,
    /// Keys of the moved purchases that grant access, each announced by two events.
    pub announced: Vec<CollapseKey>,
    /// Events that follow, with the maximum number of each.
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
    /// Returns the condition that the request sets on the effects; `None` if it allows any.
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

/// Author of a move and reason.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "by": "anna", "reason": "ticket 4711" }]))]
pub struct TransferAuthor {
    /// Name of the author, recorded next to the key.
    #[schemars(length(min = 1, max = 200))]
    by: Option<String>,
    /// Reason, recorded in the audit log.
    #[schemars(length(min = 1, max = 1000))]
    reason: String,
}

impl TransferAuthor {
    /// Returns the author, and the edge that records the author in audit entries.
    pub fn acting(self, edge: Acting) -> (Acting, Author) {
        let author = Author {
            by: edge.name(self.by.clone()),
            reason: Some(self.reason.clone()),
        };
        (edge.named(self.by, Some(self.reason)), author)
    }
}

/// User whose transfers are listed.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct TransferQuery {
    /// The user's id, as the former or new owner.
    user_id: UserId,
}

/// A transfer of purchases from one user to another.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Transfer {
    /// Id of the transfer, as in its events.
    pub transfer_id: TransferId,
    /// Id of the app.
    pub app_id: AppId,
    /// The former owner.
    pub from: TransferSide,
    /// Whether the former owner has since been erased.
    pub is_from_erased: bool,
    /// The new owner.
    pub to: TransferSide,
    /// Cause of the transfer.
    #[schemars(with = "String", extend("enum" = ["login", "naming", "admin", "undo"]))]
    pub cause: TransferCause,
    /// The store's ids for the moved customers.
    pub app_user_ids: Vec<String>,
    /// Keys of the moved purchases that granted access, each announced by two events.
    pub announced: Vec<CollapseKey>,
    /// Name of the person who caused the transfer.
    pub by: Option<String>,
    /// Reason of that person.
    pub reason: Option<String>,
    /// Id of the transfer that this one undoes.
    pub undoes: Option<TransferId>,
    /// Id of the transfer that undid this one.
    pub undone_by: Option<TransferId>,
    /// Whether the transfer can be undone: it has not been, and its customers still belong to the new owner.
    pub can_undo: bool,
    /// Cause of the transfer, in a sentence.
    pub summary: String,
    /// When the transfer occurred.
    pub created_at: Timestamp,
    /// Probable mistakes in the request that caused the transfer, one sentence each; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One of the two users of a transfer.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TransferSide {
    /// settle's id for the customer.
    pub user_id: UserId,
    /// The customer's current external id.
    pub external_id: Option<String>,
}

impl From<storage::Transfer> for Transfer {
    fn from(transfer: storage::Transfer) -> Self {
        let (by, reason) = transfer
            .author
            .map_or((None, None), |author| (Some(author.by), author.reason));
        let found = Self {
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
            summary: String::new(),
            created_at: transfer.created_at,
            warnings: Vec::new(),
        };
        Self {
            summary: moves::summary(&found),
            ..found
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

/// `POST /v1/apps/{app_id}/customers/move/preview`: shows what a move would do, without changing anything.
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
    Ok(Json(planned(&edge, app.id, customer, external_id).await?))
}

/// Returns the effects of moving a customer to the user with another external id.
///
/// # Errors
/// 404 if there is no such customer; 409 if nothing would move.
pub async fn planned(
    edge: &Edge,
    app: AppId,
    customer: CustomerKey,
    external_id: String,
) -> Result<MovePreview, Error> {
    let planned = edge.store.plan_move(app, customer, external_id).await;
    Ok(MovePreview::from(&planned.map_err(refusal)?))
}

/// `GET /v1/transfers?user_id=`: the latest transfers from or to a user.
pub async fn list(
    State(edge): State<Shared>,
    caller: Caller,
    Query(query): Query<TransferQuery>,
) -> Result<Json<Paged<Transfer>>, Error> {
    Ok(Json(Paged {
        items: of_user(&edge, caller.app, query.user_id).await?,
        next_cursor: None,
    }))
}

/// Returns the latest transfers from or to a user, in one app or in all, newest first.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn of_user(
    edge: &Edge,
    app: Option<AppId>,
    user: UserId,
) -> Result<Vec<Transfer>, Error> {
    let mut transfers = edge.store.transfers(user).await?;
    transfers.retain(|transfer| app.is_none_or(|own| own == transfer.app_id));
    Ok(transfers.into_iter().map(Transfer::from).collect())
}

/// `GET /v1/transfers/{transfer_id}`
pub async fn show(
    State(edge): State<Shared>,
    Id(id): Id<TransferId>,
) -> Result<Json<Transfer>, Error> {
    Ok(Json(edge.store.transfer(id).await?.into()))
}

/// `POST /v1/transfers/{transfer_id}/undo`: moves the purchases back with a new transfer.
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

/// Turns a conflict or a missing customer into a response.
pub fn refusal(error: storage::Error) -> Error {
    match error {
        storage::Error::Conflict { detail, .. } => Error::Conflict(detail),
        storage::Error::Missing { what: "customer" } => unknown_customer(error),
        other => other.into(),
    }
}
