//! `/v1/apps/{app_id}/customers/erase`: erases a customer, and reports what was done.

use super::customers::{Customer, STORE_ALONE, unknown_customer};
use super::sales::RunQuery;
use crate::answer::Accepted;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Draft, Ids, Query, Stored};
use crate::keys::Acting;
use crate::operation::{Operation, Output, Schemas};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use domain::{AppId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use storage::{App, CustomerName, Erase, Erasure, Run};
use tokio::time::Instant;
use uuid::Uuid;

/// Maximum number of rows that one step changes per table.
const ROWS: i64 = 200;
/// Time after which a request takes no further step; the sweep continues.
const BUDGET: Duration = Duration::from_secs(5);

/// A customer to erase, by exactly one of `external_id`, `app_user_id` and `user_id`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "external_id": "anna@example.com", "by": "support@example.com", "reason": "request 4711" }]))]
pub struct ErasedCustomer {
    /// The customer's external id.
    #[schemars(length(min = 1, max = 512))]
    external_id: Option<String>,
    /// The store's id for the customer.
    #[schemars(length(min = 1, max = 512))]
    app_user_id: Option<String>,
    /// settle's id for the customer.
    user_id: Option<UserId>,
    /// Name of the store of `app_user_id`. Required if customers of several stores have this id.
    #[schemars(length(min = 1, max = 64))]
    store: Option<String>,
    /// Name of the person who requests the erasure. Stored in the report, so it must not identify the customer.
    #[schemars(length(min = 1, max = 200))]
    by: String,
    /// Reason for the erasure. Stored in the report, so it must not identify the customer.
    #[schemars(length(min = 1, max = 1000))]
    reason: String,
}

/// Data stored about a customer to erase.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ErasurePreview {
    /// The customer.
    #[serde(flatten)]
    customer: Customer,
    /// Number of purchases. They remain, without names.
    purchases: i64,
    /// Number of events. They remain, without names.
    events: i64,
    /// Number of devices. They remain, without logins and analytics ids.
    devices: i64,
    /// Number of destinations that would receive a request to delete the user.
    deletion_requests: usize,
}

impl From<storage::ErasurePreview> for ErasurePreview {
    fn from(preview: storage::ErasurePreview) -> Self {
        let storage::ErasurePreview {
            customer,
            purchases,
            events,
            devices,
            deletions,
        } = preview;
        Self {
            customer: customer.into(),
            purchases,
            events,
            devices,
            deletion_requests: deletions,
        }
    }
}

/// Result of an erasure. A dry run responds with 200.
pub enum Erased {
    Dry(Box<ErasurePreview>),
    Begun(Box<Erasure>),
}

impl IntoResponse for Erased {
    fn into_response(self) -> Response {
        match self {
            Self::Dry(preview) => Json(preview).into_response(),
            Self::Begun(report) => Accepted(report).into_response(),
        }
    }
}

impl Output for Erased {
    fn describe(operation: &mut Operation, schemas: &mut Schemas) {
        Json::<ErasurePreview>::describe(operation, schemas);
        Accepted::<Erasure>::describe(operation, schemas);
    }
}

/// `POST /v1/apps/{app_id}/customers/erase`. Later records contain none of the customer's names. Names in earlier records
/// are removed step by step, waiting events first, the rest by the sweeps; until then, those are sent with names. A
/// repeated request returns the report of the first one. With `?dry_run=true`, the response only counts what is stored.
///
/// An `app_user_id` is assigned by a store: two stores may assign the same one to two users. Then the request requires
/// `store`, and nothing is erased without it. A user known to several stores is erased as a whole.
pub async fn erase(
    edge: Acting,
    Stored(app): Stored<App>,
    Query(query): Query<RunQuery>,
    mut draft: Draft<ErasedCustomer>,
) -> Result<Erased, Error> {
    let ErasedCustomer {
        external_id,
        app_user_id,
        user_id,
        store,
        ..
    } = &mut draft.body;
    let (app_user_id, store) = (app_user_id.take(), store.take());
    if store.is_some() && app_user_id.is_none() {
        draft.wrong.add("store", STORE_ALONE);
    }
    let of_store = |app_user_id| CustomerName::of_store(store, app_user_id);
    let external = external_id.take().map(CustomerName::ExternalId).into_iter();
    let mut names = external
        .chain(app_user_id.map(of_store))
        .chain(user_id.map(CustomerName::User));
    let (first, second) = (names.next(), names.next());
    drop(names);
    if first.is_none() || second.is_some() {
        draft.wrong.add(
            "external_id",
            "exactly one of `external_id`, `app_user_id` and `user_id`",
        );
    }
    let ErasedCustomer { by, reason, .. } = draft.finish()?;
    let Some(name) = first else {
        return Err(Error::Internal);
    };
    if query.run() == Run::Dry {
        let preview = edge
            .store
            .preview_erasure(app.id, name)
            .await
            .map_err(unknown_customer)?;
        return Ok(Erased::Dry(Box::new(preview.into())));
    }
    let edge = edge.named(Some(by.clone()), Some(reason.clone()));
    let begun = edge
        .store
        .erase_customer(Erase {
            app: app.id,
            name,
            by,
            reason,
        })
        .await
        .map_err(unknown)?;
    edge.wake_for_persons();
    let began = Instant::now();
    while began.elapsed() < BUDGET && edge.store.continue_erasure(ROWS).await? {
        fail::fail_point!("erase.after_step", |_| std::process::abort());
    }
    Ok(Erased::Begun(Box::new(
        edge.store.erasure(app.id, begun.id).await?,
    )))
}

/// `GET /v1/apps/{app_id}/customers/erase/{erasure_id}`
pub async fn show(
    State(edge): State<Shared>,
    Ids(app, id): Ids<AppId, Uuid>,
) -> Result<Json<Erasure>, Error> {
    match edge.store.erasure(app, id).await {
        Err(storage::Error::Missing { .. }) => {
            Err(Error::missing("request to erase a customer", id))
        }
        found => Ok(Json(found?)),
    }
}

fn unknown(error: storage::Error) -> Error {
    match error {
        storage::Error::Missing { .. } => Error::Missing(
            "there is no such customer, and no customer with this id was erased: try another of their ids".to_owned(),
        ),
        other => other.into(),
    }
}
