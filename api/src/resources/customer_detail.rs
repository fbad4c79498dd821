//! `/v1/apps/{app_id}/customers/{user_id}`: one customer for display, with what they may use, what they bought, and the
//! state of each purchase.

use super::access::no_access;
use super::customers::{Customer, unknown_customer};
use super::standing::{Known, Standing};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Ids;
use axum::Json;
use axum::extract::State;
use domain::user::{ActiveEntitlement, CustomerDevice, CustomerPurchase, CustomerState, Journey};
use domain::{AppId, CollapseKey, Environment, UserId};
use protocols::destinations::shown;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use storage::{
    CustomerName, DeliveryView, Destination, Page, Paged, PaymentSubject, PaymentView,
    PurchaseFilter, PurchaseView,
};

/// Maximum number of purchases that are put into words: those that were settled last.
const STANDINGS: i64 = 50;
/// Maximum number of payments that are read: the latest ones.
const PAYMENTS: i64 = 100;
/// Maximum number of destinations of an app.
const DESTINATIONS: i64 = 1000;

/// A customer with current access, in production and in the store's sandbox.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CustomerDetail {
    /// The customer.
    #[serde(flatten)]
    pub customer: Customer,
    /// Number that increases with each announcement of the user's state; 0 before the first.
    pub user_revision: i64,
    /// Access granted by production purchases.
    pub production: Access,
    /// Access granted by sandbox purchases.
    pub sandbox: Access,
    /// Devices of the customer, most recently seen first.
    pub devices: Vec<CustomerDevice>,
    /// Purchases in both environments. Of more than 1,000, the most recently settled.
    pub purchases: Vec<CustomerPurchase>,
    /// Descriptions of the most recently settled purchases: at most 50, those with access first.
    pub standings: Vec<PurchaseStanding>,
}

/// Access granted by the purchases of one environment.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Access {
    /// Active entitlements, each listed once with the purchase that grants it longest.
    pub active_entitlements: Vec<ActiveEntitlement>,
    /// SKUs of all purchases that grant an active entitlement, without duplicates.
    pub active_skus: Vec<String>,
    /// Journey state of the customer; null if nothing is known.
    pub customer_journey_state: Option<Journey>,
    /// Total paid in USD to date, less refunds; null if no amount is known, and for test purchases.
    pub paid_usd: Option<String>,
    /// Why there is no active entitlement, in a sentence; null if there is one.
    pub no_access: Option<String>,
}

/// Description of a purchase in sentences.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PurchaseStanding {
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// State of the purchase in sentences.
    #[serde(flatten)]
    pub standing: Standing,
}

/// A customer, and what the detail is put into words from.
pub struct ReadCustomer {
    pub detail: CustomerDetail,
    /// The purchases that were settled last, latest first.
    pub purchases: Paged<PurchaseView>,
    /// The latest payments and their changes, newest first.
    pub payments: Paged<PaymentView>,
    pub destinations: Vec<Destination>,
    /// The newest delivery of each type of event of those purchases to each destination, oldest first.
    pub deliveries: Vec<DeliveryView>,
    /// The active purchases whose product is not in the catalogue.
    pub unlisted: BTreeSet<CollapseKey>,
}

/// `GET /v1/apps/{app_id}/customers/{user_id}`
pub async fn detail(
    State(edge): State<Shared>,
    Ids(app, user): Ids<AppId, UserId>,
) -> Result<Json<CustomerDetail>, Error> {
    ReadCustomer::of(&edge, app, user)
        .await
        .map(|found| Json(found.detail))
}

/// The destinations of an app; those that fail have their first failure as `since`.
pub async fn destinations_of(edge: &Edge, app: AppId) -> Result<Vec<Destination>, Error> {
    let all = Page {
        cursor: None,
        limit: DESTINATIONS,
    };
    let found = edge.store.destinations(app, all).await?;
    Ok(found.map(|one| shown(one.since_first_failure())).items)
}

impl ReadCustomer {
    /// Reads what is stored of a customer.
    ///
    /// # Errors
    /// 404 when the app has no such customer.
    pub async fn of(edge: &Shared, app: AppId, user: UserId) -> Result<Self, Error> {
        let customer = edge
            .store
            .customer_of(app, user)
            .await
            .map_err(unknown_customer)?;
        let of = async |environment| {
            let state = edge
                .store
                .customer_state(app, CustomerName::User(user), environment)
                .await;
            state.map_err(unknown_customer)
        };
        let (real, test) = (
            of(Environment::Production).await?,
            of(Environment::Sandbox).await?,
        );
        let paid = edge.store.paid_usd(user, Environment::Production).await?;
        let first = |limit| Page {
            cursor: None,
            limit,
        };
        let owned = PurchaseFilter {
            app_id: Some(app),
            user_id: Some(user),
            ..PurchaseFilter::default()
        };
        let purchases = edge.store.purchases(owned, first(STANDINGS)).await?;
        let payments = edge
            .store
            .payments(Some(app), PaymentSubject::User(user), first(PAYMENTS))
            .await?;
        let destinations = destinations_of(edge, app).await?;
        let keys: Vec<CollapseKey> = purchases.items.iter().map(|one| one.collapse_key).collect();
        let deliveries = edge.store.newest_deliveries(keys.clone()).await?;
        let unchosen = edge.store.unchosen_payments(app, keys).await?;
        let counted = [real.purchases, test.purchases].concat();
        let active = purchases
            .items
            .iter()
            .map(|view| view.collapse_key)
            .filter(|key| is_active(&counted, *key) == Some(true))
            .collect();
        let unlisted = edge.store.unlisted(active).await?;
        let known = Known {
            deliveries: &deliveries,
            destinations: &destinations,
            payments: &payments.items,
            unchosen: &unchosen,
            unlisted: &unlisted,
            now: (edge.clock)(),
        };
        let standings = standings(&purchases.items, &counted, &known);
        let detail = CustomerDetail {
            customer: customer.into(),
            user_revision: real.user_revision,
            devices: real
                .state
                .as_ref()
                .map(|state| state.devices.clone())
                .unwrap_or_default(),
            production: Access::of(real.state, paid).explained(|| {
                no_access(
                    Environment::Production,
                    &purchases.items,
                    &counted,
                    &unlisted,
                )
            }),
            sandbox: Access::of(test.state, None).explained(|| {
                no_access(Environment::Sandbox, &purchases.items, &counted, &unlisted)
            }),
            purchases: counted,
            standings,
        };
        Ok(Self {
            detail,
            purchases,
            payments,
            destinations,
            deliveries,
            unlisted,
        })
    }
}

/// Whether the purchase gives access; `None` when that is unknown.
fn is_active(counted: &[CustomerPurchase], key: CollapseKey) -> Option<bool> {
    counted
        .iter()
        .find(|one| one.collapse_key == key)
        .and_then(|one| one.is_active)
}

/// How each purchase stands, those with access in front.
fn standings(
    purchases: &[PurchaseView],
    counted: &[CustomerPurchase],
    known: &Known<'_>,
) -> Vec<PurchaseStanding> {
    let standing = |view: &PurchaseView| {
        let is_active = is_active(counted, view.collapse_key);
        let standing = PurchaseStanding {
            collapse_key: view.collapse_key,
            standing: Standing::of(view, is_active, known),
        };
        (is_active, standing)
    };
    let mut standings: Vec<_> = purchases.iter().map(standing).collect();
    standings.sort_by_key(|(is_active, _)| *is_active != Some(true));
    standings
        .into_iter()
        .map(|(_, standing)| standing)
        .collect()
}

impl Access {
    fn of(state: Option<CustomerState>, paid_usd: Option<String>) -> Self {
        state.map_or_else(Self::default, |state| Self {
            active_entitlements: state.active_entitlements,
            active_skus: state.active_skus,
            customer_journey_state: Some(state.customer_journey_state),
            paid_usd,
            no_access: None,
        })
    }

    /// Adds the reason why there is no active entitlement.
    fn explained(self, why: impl FnOnce() -> String) -> Self {
        let no_access = self.active_entitlements.is_empty().then(why);
        Self { no_access, ..self }
    }
}
