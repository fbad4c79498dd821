//! `/v1/apps/{app_id}/customers`: the users who own purchases, and the app's own ids of them.

use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Draft, Query, Stored};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::UserId;
use domain::user::id_format;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{App, CustomerKey, CustomerNames, Owner};

/// A customer who is named: the customer of the store, or the owner of a receipt.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "external_id": "anna@example.com", "app_user_id": "u1", "analytics_device_id": "tv-4711"
}]))]
pub struct NamedCustomer {
    /// The customer's own id: a UUID, a SHA-256, or any other text.
    #[schemars(length(min = 1, max = 512))]
    external_id: String,
    /// The store's name of the customer; either this or a receipt.
    #[schemars(length(min = 1, max = 512))]
    app_user_id: Option<String>,
    /// A receipt that the customer owns.
    #[schemars(length(min = 1, max = 512))]
    receipt_id: Option<String>,
    /// The app's own id of the customer's device in Amplitude; absent leaves it as it is.
    #[schemars(length(min = 1, max = 128))]
    analytics_device_id: Option<String>,
}

/// Which customer: exactly one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CustomerQuery {
    /// The customer's own id.
    #[schemars(length(min = 1, max = 512))]
    external_id: Option<String>,
    /// The store's name of the customer.
    #[schemars(length(min = 1, max = 512))]
    app_user_id: Option<String>,
    /// A receipt that the customer owns.
    #[schemars(length(min = 1, max = 512))]
    receipt_id: Option<String>,
}

/// A customer: exactly one of the three.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CustomerChoice {
    /// The customer's own id.
    #[schemars(length(min = 1, max = 512))]
    external_id: Option<String>,
    /// The store's name of the customer.
    #[schemars(length(min = 1, max = 512))]
    app_user_id: Option<String>,
    /// A receipt that the customer owns.
    #[schemars(length(min = 1, max = 512))]
    receipt_id: Option<String>,
}

impl CustomerChoice {
    /// The key, if exactly one of the three is there.
    pub fn key(&self) -> Option<CustomerKey> {
        let Self { external_id, app_user_id, receipt_id } = self;
        let owner = app_user_id.clone().map(Owner::AppUser).into_iter();
        let owner = owner.chain(receipt_id.clone().map(Owner::Receipt)).map(CustomerKey::Owner);
        let mut keys = external_id.clone().map(CustomerKey::ExternalId).into_iter().chain(owner);
        keys.next().filter(|_| keys.next().is_none())
    }
}

/// A customer of an app.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Customer {
    /// The id of settle, which never changes.
    pub user_id: UserId,
    /// The customer's own id, if one was set.
    pub external_id: Option<String>,
    /// How the customer's own id is written.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["uuid", "sha256", "custom", null]))]
    pub id_type: Option<&'static str>,
    /// The id of the customer's device in Amplitude: the one that was set, else that of the device with the first verified
    /// claim before the customer's first event.
    pub analytics_device_id: Option<String>,
    /// The store's names of the customer.
    pub app_user_ids: Vec<String>,
}

impl From<storage::Customer> for Customer {
    fn from(customer: storage::Customer) -> Self {
        Self {
            user_id: customer.user_id,
            id_type: customer.external_id.as_deref().map(id_format),
            external_id: customer.external_id,
            analytics_device_id: customer.analytics_device_id,
            app_user_ids: customer.app_user_ids,
        }
    }
}

/// `PUT /v1/apps/{app_id}/customers`: sets the app's own id of a user, who is found by the store's id or by a receipt.
/// A repetition changes nothing and gets the same answer.
pub async fn name(
    edge: Acting,
    Stored(app): Stored<App>,
    mut draft: Draft<NamedCustomer>,
) -> Result<Json<Customer>, Error> {
    let NamedCustomer { app_user_id, receipt_id, .. } = &mut draft.body;
    let owner = match (app_user_id.take().map(Owner::AppUser), receipt_id.take().map(Owner::Receipt)) {
        (Some(owner), None) | (None, Some(owner)) => Some(owner),
        (None, None) => {
            draft.wrong.add("app_user_id", "the store's name of the customer, or `receipt_id` in its place");
            None
        }
        (Some(_), Some(_)) => {
            draft.wrong.add("receipt_id", "to be absent where `app_user_id` is given: exactly one of the two");
            None
        }
    };
    let NamedCustomer { external_id, analytics_device_id, .. } = draft.finish()?;
    let names = CustomerNames { external_id, analytics_device_id };
    let Some(owner) = owner else { return Err(Error::Internal) };
    let customer = edge.store.name_customer(app.id, owner, names).await.map_err(naming_error)?;
    edge.wake_for_persons();
    Ok(Json(customer.into()))
}

/// `GET /v1/apps/{app_id}/customers?external_id=`, or by `app_user_id` or `receipt_id`.
pub async fn show(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<CustomerQuery>,
) -> Result<Json<Customer>, Error> {
    let owner = query.app_user_id.map(Owner::AppUser).into_iter().chain(query.receipt_id.map(Owner::Receipt));
    let mut keys = query.external_id.map(CustomerKey::ExternalId).into_iter().chain(owner.map(CustomerKey::Owner));
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Error::invalid("external_id", "exactly one of `external_id`, `app_user_id` and `receipt_id`"));
    };
    Ok(Json(edge.store.customer(app.id, key).await.map_err(unknown_customer)?.into()))
}

/// The error of a customer who is not known.
pub fn unknown_customer(error: storage::Error) -> Error {
    match error {
        storage::Error::Missing { .. } => Error::Missing(
            "there is no such customer: no notification and no request has named them yet; PUT names them".to_owned(),
        ),
        other => other.into(),
    }
}

/// The error of setting the id: the receipt is unknown, or the user has another id.
fn naming_error(error: storage::Error) -> Error {
    match error {
        storage::Error::Missing { what } => Error::Missing(format!(
            "there is no {what}: name the owner by `app_user_id`, which may be unknown, or import the purchase first"
        )),
        storage::Error::Conflict { detail, .. } => Error::Conflict(detail),
        other => other.into(),
    }
}
