//! `/v1/apps/{app_id}/customers/state`: what a customer may use now, for servers, and what was known and announced of
//! them at an earlier time, for support.

use super::customers::unknown_customer;
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
    /// The customer's own id.
    #[schemars(length(min = 1, max = 512))]
    external_id: Option<String>,
    /// The store's id for the customer.
    #[schemars(length(min = 1, max = 512))]
    app_user_id: Option<String>,
    /// settle's id for the customer.
    user_id: Option<UserId>,
    /// The environment whose purchases count; `production` when absent.
    environment: Option<Environment>,
    /// A time in the past: shows what had been announced by then.
    at: Option<Timestamp>,
    /// `next_cursor` of the page of purchases before.
    cursor: Option<String>,
    /// Maximum number of purchases; 1000 when absent.
    #[schemars(range(min = 1, max = 1000))]
    limit: Option<i64>,
}

/// Maximum number of purchases in an answer.
const MAX_PURCHASES: i64 = 1000;

/// What a customer may use, now or at an earlier time. The four parts of the state are null where nothing is known of
/// that time.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CustomerStateShown {
    /// The user: who the customer is now, or was at that time.
    user_id: UserId,
    /// Grows each time that the user's state is announced; 0 before the first time.
    user_revision: i64,
    /// The environment whose purchases count.
    environment: Environment,
    /// The customer's names in other systems, as they are now.
    external_ids: Vec<ExternalId>,
    /// The active entitlements, each once, by the purchase that gives it longest.
    active_entitlements: Option<Vec<ActiveEntitlement>>,
    /// The SKU of every purchase that gives an active entitlement, each once.
    active_skus: Option<Vec<String>>,
    /// Where the customer stands.
    customer_journey_state: Option<Journey>,
    /// The customer's devices, the one that was seen last in front.
    devices: Option<Vec<CustomerDevice>>,
    /// The purchases, in the order of their keys: a page of them.
    purchases: Vec<CustomerPurchase>,
    /// The cursor of the next page of purchases; null at the end.
    next_cursor: Option<String>,
    /// The time that is shown; null for now.
    at: Option<Timestamp>,
    /// The announcement that the state is from; null for now.
    announcement: Option<AnnouncementShown>,
    /// The moves of purchases from or to this user after that time, the oldest first.
    moved_since: Vec<MoveSince>,
}

/// The announcement that a state in the past is from.
#[derive(Debug, Serialize, JsonSchema)]
pub struct AnnouncementShown {
    /// The event.
    #[serde(flatten)]
    announcement: Announcement,
    /// What the status means.
    note: &'static str,
}

/// `GET /v1/apps/{app_id}/customers/state?external_id=`, or by `app_user_id` or `user_id`.
pub async fn show(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<StateQuery>,
    known: IfNoneMatch,
) -> Result<Tagged<CustomerStateShown>, Error> {
    let external = query.external_id.map(CustomerName::ExternalId).into_iter();
    let mut names = external
        .chain(query.app_user_id.map(CustomerName::AppUser))
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

/// What the status of an announcement means.
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
