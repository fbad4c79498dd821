//! `/v1/apps/{app_id}/customers`: the owners of purchases, with the app's own ids for them.

use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::{Query, Stored};
use axum::Json;
use axum::extract::State;
use domain::user::id_format;
use domain::{AppId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{App, CustomerKey, Owner};

/// Expected value of `store` in an error: it is allowed only with `app_user_id`.
pub const STORE_ALONE: &str = "to be absent without `app_user_id`";

/// Which customer: exactly one of the three ids.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct CustomerQuery {
    /// The customer's external id.
    #[schemars(length(min = 1, max = 512))]
    external_id: Option<String>,
    /// The store's id for the customer.
    #[schemars(length(min = 1, max = 512))]
    app_user_id: Option<String>,
    /// The store's id of a purchase that the customer owns.
    #[schemars(length(min = 1, max = 512))]
    receipt_id: Option<String>,
    /// Name of the store of `app_user_id`. Required if the app has platforms of several stores.
    #[schemars(length(min = 1, max = 64))]
    store: Option<String>,
}

/// A customer, by exactly one of `external_id`, `app_user_id` and `receipt_id`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct CustomerChoice {
    /// The customer's external id.
    #[schemars(length(min = 1, max = 512))]
    external_id: Option<String>,
    /// The store's id for the customer.
    #[schemars(length(min = 1, max = 512))]
    app_user_id: Option<String>,
    /// The store's id of a purchase that the customer owns.
    #[schemars(length(min = 1, max = 512))]
    receipt_id: Option<String>,
    /// Name of the store of `app_user_id`. Required if the app has platforms of several stores.
    #[schemars(length(min = 1, max = 64))]
    store: Option<String>,
}

impl CustomerChoice {
    /// Returns the customer's key if exactly one of the three ids is set, and `store` only with `app_user_id`.
    pub fn key(&self) -> Option<CustomerKey> {
        let Self {
            external_id,
            app_user_id,
            receipt_id,
            store,
        } = self.clone();
        if store.is_some() && app_user_id.is_none() {
            return None;
        }
        let owner = app_user_id.map(|name| Owner::of_store(store, name));
        let owner = owner
            .into_iter()
            .chain(receipt_id.map(Owner::Receipt))
            .map(CustomerKey::Owner);
        let mut keys = external_id
            .map(CustomerKey::ExternalId)
            .into_iter()
            .chain(owner);
        keys.next().filter(|_| keys.next().is_none())
    }
}

/// A customer of an app.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Customer {
    /// settle's id for the customer, which never changes.
    pub user_id: UserId,
    /// The customer's external id, if set.
    pub external_id: Option<String>,
    /// Format of the external id.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["uuid", "sha256", "custom", null]))]
    pub id_type: Option<&'static str>,
    /// Id of the customer's device in analytics: the configured one, or else that of the device with the first verified
    /// claim before the customer's first event.
    pub analytics_device_id: Option<String>,
    /// The store's ids for the customer.
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

/// `GET /v1/apps/{app_id}/customers?external_id=`, or by `app_user_id` or `receipt_id`.
pub async fn show(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<CustomerQuery>,
) -> Result<Json<Customer>, Error> {
    let CustomerQuery {
        external_id,
        app_user_id,
        receipt_id,
        store,
    } = query;
    if store.is_some() && app_user_id.is_none() {
        return Err(Error::invalid("store", STORE_ALONE));
    }
    let owner = app_user_id
        .map(|name| Owner::of_store(store, name))
        .into_iter()
        .chain(receipt_id.map(Owner::Receipt));
    let mut keys = external_id
        .map(CustomerKey::ExternalId)
        .into_iter()
        .chain(owner.map(CustomerKey::Owner));
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return Err(Error::invalid(
            "external_id",
            "exactly one of `external_id`, `app_user_id` and `receipt_id`",
        ));
    };
    Ok(Json(
        edge.store
            .customer(app.id, key)
            .await
            .map_err(unknown_customer)?
            .into(),
    ))
}

/// Returns an app's customer by settle's id.
///
/// # Errors
/// 404 if the app has no such customer.
pub async fn of(edge: &Edge, app: AppId, user: UserId) -> Result<Customer, Error> {
    let found = edge.store.customer_of(app, user).await;
    Ok(found.map_err(unknown_customer)?.into())
}

/// The error text about an unknown customer, or one of another app.
pub const UNKNOWN: &str = "there is no such customer: no notification or request has named them yet, or they belong to \
                           another app; `settle customer name` or PUT names one";

/// Turns the error about a missing customer into a 404 with [`UNKNOWN`].
pub fn unknown_customer(error: storage::Error) -> Error {
    match error {
        storage::Error::Missing { .. } => Error::Missing(UNKNOWN.to_owned()),
        other => other.into(),
    }
}
