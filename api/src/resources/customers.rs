//! `/v1/apps/{app_id}/customers`: whose purchases they are, by the customer's own id.

use super::{Body, Fields, Id, Query};
use crate::edge::Shared;
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::AppId;
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

/// What an external id looks like: a consumer may treat a hash otherwise than a name.
#[must_use]
pub fn type_of(external_id: &str) -> &'static str {
    let is_hex = external_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match external_id.len() {
        36 if uuid::Uuid::try_parse(external_id).is_ok() => "uuid",
        64 if is_hex => "sha256",
        _ => "custom",
    }
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
        "type": customer.external_id.as_deref().map(type_of),
        "app_user_ids": customer.app_user_ids,
    })
}

#[cfg(test)]
mod tests {
    use super::type_of;

    #[test]
    fn an_external_id_is_a_uuid_a_hash_or_anything() {
        assert_eq!(type_of("6b275a67-0bbb-4f3a-99b9-6600bf711993"), "uuid");
        assert_eq!(type_of(&"aB".repeat(32)), "sha256");
        for other in ["6b275a670bbb4f3a99b96600bf711993", "anna", "a@example.com", &"g".repeat(64), &"-".repeat(36)] {
            assert_eq!(type_of(other), "custom", "{other}");
        }
    }
}
