//! `/v1/apps/{app_id}/customers/state`: a customer's current access, for servers, and the access that had been
//! announced by an earlier time, for support.

use super::customers::{STORE_ALONE, unknown_customer};
use crate::answer::{IfNoneMatch, Tagged};
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Query, Stored};
use axum::extract::State;
use domain::user::{
    ActiveEntitlement, CustomerDevice, CustomerPurchase, ExternalId, Journey, customer_ids,
};
use domain::{Environment, Timestamp, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use storage::{
    Announcement, AnnouncementStatus, App, CustomerName, CustomerStatus, MoveSince, Page, Past,
};

/// Which customer, and when: exactly one of `external_id`, `app_user_id` and `user_id`.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct StateQuery {
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
    /// Environment of the purchases to count; `production` by default.
    environment: Option<Environment>,
    /// Past time. Shows what had been announced by then.
    at: Option<Timestamp>,
    /// `next_cursor` of the previous page of purchases.
    cursor: Option<String>,
    /// Maximum number of purchases; 1,000 by default.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<i64>,
}

/// Maximum number of purchases in a response.
const MAX_PURCHASES: i64 = 1000;

/// Access of a customer, now or at an earlier time. The four parts of the state are null where nothing is known about
/// that time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CustomerStateShown {
    /// Id of the user that the customer belongs to, now or at that time.
    user_id: UserId,
    /// Number that increases with each announcement of the user's state; 0 before the first.
    user_revision: i64,
    /// Environment of the counted purchases.
    environment: Environment,
    /// Current external ids of the customer.
    external_ids: Vec<ExternalId>,
    /// Active entitlements, each listed once with the purchase that grants it longest.
    active_entitlements: Option<Vec<ActiveEntitlement>>,
    /// SKUs of all purchases that grant an active entitlement, without duplicates.
    active_skus: Option<Vec<String>>,
    /// Journey state of the customer.
    customer_journey_state: Option<Journey>,
    /// Devices of the customer, most recently seen first.
    devices: Option<Vec<CustomerDevice>>,
    /// One page of the purchases, ordered by key.
    purchases: Vec<CustomerPurchase>,
    /// Cursor of the next page of purchases; null on the last page.
    next_cursor: Option<String>,
    /// Time of the state; null for now.
    at: Option<Timestamp>,
    /// Announcement that the state is taken from; null for now.
    announcement: Option<AnnouncementShown>,
    /// Moves of purchases from or to this user after that time, oldest first.
    moved_since: Vec<MoveSince>,
}

/// The announcement that a past state is taken from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnnouncementShown {
    /// The event.
    #[serde(flatten)]
    announcement: Announcement,
    /// Meaning of the status, in a sentence.
    note: &'static str,
}

/// `GET /v1/apps/{app_id}/customers/state?external_id=`, or by `app_user_id` or `user_id`. Without `store`, an
/// `app_user_id` that two stores gave to two users is refused.
pub async fn show(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<StateQuery>,
    known: IfNoneMatch,
) -> Result<Tagged<CustomerStateShown>, Error> {
    let store = query.store;
    if store.is_some() && query.app_user_id.is_none() {
        return Err(Error::invalid("store", STORE_ALONE));
    }
    let of_store = |app_user_id| CustomerName::of_store(store, app_user_id);
    let external = query.external_id.map(CustomerName::ExternalId).into_iter();
    let mut names = external
        .chain(query.app_user_id.map(of_store))
        .chain(query.user_id.map(CustomerName::User));
    let (Some(name), None) = (names.next(), names.next()) else {
        return Err(Error::invalid(
            "external_id",
            "exactly one of `external_id`, `app_user_id` and `user_id`",
        ));
    };
    let environment = query.environment.unwrap_or_default();
    let page = Page {
        cursor: query.cursor,
        limit: query.limit.unwrap_or(MAX_PURCHASES),
    };
    let status = match query.at {
        Some(at) => {
            edge.store
                .customer_state_at(app.id, name, Past { at, environment }, page)
                .await
        }
        None => {
            edge.store
                .customer_state_page(app.id, name, environment, page)
                .await
        }
    };
    let status = status.map_err(unknown_customer)?;
    let revision = status.user_revision;
    Ok(Tagged {
        revision: Some(revision),
        body: CustomerStateShown::of(status, environment, query.at),
        known,
    })
}

impl CustomerStateShown {
    fn of(status: CustomerStatus, environment: Environment, at: Option<Timestamp>) -> Self {
        let (entitlements, skus, journey, devices) =
            status.state.map_or((None, None, None, None), |state| {
                let journey = Some(state.customer_journey_state);
                (
                    Some(state.active_entitlements),
                    Some(state.active_skus),
                    journey,
                    Some(state.devices),
                )
            });
        Self {
            user_id: status.user_id,
            user_revision: status.user_revision,
            environment,
            external_ids: customer_ids(status.external_id.as_deref(), &status.app_user_ids),
            active_entitlements: entitlements,
            active_skus: skus,
            customer_journey_state: journey,
            devices,
            purchases: status.purchases,
            next_cursor: status.next_cursor,
            at,
            announcement: status.announcement.map(AnnouncementShown::from),
            moved_since: status.moved_since,
        }
    }
}

impl From<Announcement> for AnnouncementShown {
    fn from(announcement: Announcement) -> Self {
        Self {
            note: note(announcement.status),
            announcement,
        }
    }
}

/// Returns the meaning of an announcement's status, in a sentence.
pub const fn note(status: AnnouncementStatus) -> &'static str {
    match status {
        AnnouncementStatus::Announced => "The state is the one that this event announced.",
        AnnouncementStatus::Pruned => {
            "This event announced the state, but retention removed its body: the state at that time is no longer known."
        }
        AnnouncementStatus::NothingAnnounced => {
            "No state of this user had been announced in this environment by then."
        }
    }
}
