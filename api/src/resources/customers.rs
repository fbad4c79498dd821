//! `/v1/apps/{app_id}/customers`: whose purchases they are, by the customer's own id.

use super::{Body, Fields, Id, Query};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use domain::user::written_as;
use serde_json::{Value, json};
use storage::{Customer, CustomerKey, Owner};

/// The longest id of a customer, in characters.
pub const LONGEST: usize = 512;

/// `PUT /v1/apps/{app_id}/customers`: names a customer of the store, or the owner of a receipt. The same again is the
/// same answer.
pub async fn name(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Body(mut fields): Body,
) -> Result<Json<Value>, Error> {
    edge.store.app(app).await?;
    let external_id = external_id(&mut fields, true);
    let owner = owner(&mut fields);
    match &owner[..] {
        [_] => {}
        [] => fields.wrong("app_user_id", "the store's name of the customer, or `receipt_id` in its place"),
        _ => fields.wrong("receipt_id", "to be absent where `app_user_id` is given: exactly one of the two"),
    }
    fields.finish()?;
    let (Some(external_id), Some(owner)) = (external_id, owner.into_iter().next()) else { return Err(Error::Internal) };
    let named = edge.store.name_customer(app, owner, &external_id).await.map_err(unknown)?;
    Ok(Json(view(&named)))
}

/// `GET /v1/apps/{app_id}/customers?external_id=`, or by `app_user_id` or `receipt_id`.
pub async fn show(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Query(mut fields): Query,
) -> Result<Json<Value>, Error> {
    edge.store.app(app).await?;
    let mut keys: Vec<CustomerKey> = external_id(&mut fields, false).map(CustomerKey::ExternalId).into_iter().collect();
    keys.extend(owner(&mut fields).into_iter().map(CustomerKey::Owner));
    if keys.len() != 1 {
        fields.wrong("external_id", "exactly one of `external_id`, `app_user_id` and `receipt_id`");
    }
    fields.finish()?;
    let Some(key) = keys.pop() else { return Err(Error::Internal) };
    Ok(Json(view(&edge.store.customer(app, key).await.map_err(unknown)?)))
}

/// The customer's own id: a UUID, a SHA-256, or any text of the customer's own.
pub fn external_id(fields: &mut Fields, is_required: bool) -> Option<String> {
    let is_given = fields.has("external_id");
    let id = fields.short_text("external_id", LONGEST);
    if is_required && !is_given {
        fields.wrong(
            "external_id",
            format!("the customer's own id, a text of 1 to {LONGEST} characters; it is required"),
        );
    }
    id
}

fn owner(fields: &mut Fields) -> Vec<Owner> {
    let app_user = fields.short_text("app_user_id", LONGEST).map(Owner::AppUser);
    let receipt = fields.short_text("receipt_id", LONGEST).map(Owner::Receipt);
    app_user.into_iter().chain(receipt).collect()
}

fn unknown(error: storage::Error) -> Error {
    match error {
        storage::Error::Missing { what: "customer" } => Error::Missing(
            "there is no such customer: nothing was told of them yet, and nobody named them; PUT names them".to_owned(),
        ),
        storage::Error::Missing { what } if what.contains("receipt_id") => Error::Missing(format!(
            "there is no {what}: name the owner by `app_user_id`, which may be unknown, or import the purchase first"
        )),
        storage::Error::Conflict { detail, .. } => Error::Conflict(detail),
        other => other.into(),
    }
}

fn view(customer: &Customer) -> Value {
    json!({
        "user_id": customer.user_id,
        "external_id": customer.external_id,
        "type": customer.external_id.as_deref().map(written_as),
        "app_user_ids": customer.app_user_ids,
    })
}
