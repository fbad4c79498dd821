//! `/v1/apps/{app_id}/customers/{user_id}`: one customer for display, with current access, purchases and payments, and
//! the state of each purchase.

use super::access::{UnlistedProduct, no_access, unlisted_products};
use super::charges::{charged_after_erasing, next_charge};
use super::customers::{Customer, unknown_customer};
use super::erasing::ErasureNotes;
use super::standing::{Known, Standing, product, renewing_together};
use super::statement::{self, PaidTotal, StatementLine};
use super::transfers::{self, Transfer, moves};
use super::undelivered::{CustomerWarning, Undelivered};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use crate::extract::Ids;
use axum::Json;
use axum::extract::State;
use domain::user::{ActiveEntitlement, CustomerDevice, CustomerPurchase, CustomerState, Journey};
use domain::{AppId, CollapseKey, Environment, Timestamp, UserId};
use protocols::destinations::shown;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeSet;
use storage::{
    CustomerName, CustomerStatus, DeliveryView, Destination, Page, Paged, PaymentSubject,
    PaymentView, PurchaseFilter, PurchaseView, UnchosenPayment,
};

/// Maximum number of purchases described in sentences: the most recently settled ones.
const STANDINGS: i64 = 50;
/// Maximum number of payments that are read: the latest ones.
const PAYMENTS: i64 = 100;
/// Maximum number of destinations of an app.
const DESTINATIONS: i64 = 1000;
/// Maximum number of transferred purchases that are read: those of the latest transfers.
const MOVED: usize = 50;
/// Maximum number of payments that are read for purchases that moved away: the latest ones.
const MOVED_PAYMENTS: i64 = 200;

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
    /// Warnings about the customer, such as destinations that do not have the customer's events.
    pub warnings: Vec<CustomerWarning>,
    /// Total that the customer paid for purchases that they own now; null if no amount is known.
    pub paid: Option<PaidTotal>,
    /// Total that the customer paid for purchases that belong to another customer now; null if no amount is known.
    pub paid_before_moves: Option<PaidTotal>,
    /// Latest payments and refunds in words, newest first.
    pub payments: Vec<StatementLine>,
    /// Latest transfers from or to the customer, newest first.
    pub transfers: Vec<CustomerTransfer>,
    /// Information for erasing the customer.
    pub erasure: ErasureNotes,
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
    /// When the customer is next charged, in a sentence; null if not known, and for test purchases.
    pub next_charge: Option<String>,
    /// Bought products that give no access because they are not in the catalogue, without duplicates.
    pub unlisted: Vec<UnlistedProduct>,
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

/// A transfer from or to a customer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CustomerTransfer {
    /// Data of the transfer.
    #[serde(flatten)]
    pub transfer: Transfer,
    /// Moved purchases that gave access; for the latest transfers only.
    pub products: Vec<MovedPurchase>,
}

/// A purchase that moved in a transfer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MovedPurchase {
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// Display name of the product.
    pub product: String,
}

/// A customer's detail, and the data from which its sentences are written.
pub struct ReadCustomer {
    pub detail: CustomerDetail,
    /// The most recently settled purchases, latest first.
    pub purchases: Paged<PurchaseView>,
    /// Whether there are earlier payments than those in the detail.
    pub has_more_payments: bool,
    pub destinations: Vec<Destination>,
    /// For each of these purchases, event types and destinations, the newest delivery; oldest first.
    pub deliveries: Vec<DeliveryView>,
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

/// Returns an app's destinations. For a failing one, `since` is its first failure.
pub async fn destinations_of(edge: &Edge, app: AppId) -> Result<Vec<Destination>, Error> {
    let found = edge.store.destinations(app, first(DESTINATIONS)).await?;
    Ok(found.map(|one| shown(one.since_first_failure())).items)
}

/// A customer's state in both environments.
struct ReadStates {
    real: CustomerStatus,
    test: CustomerStatus,
    /// Total that the customer paid in production to date.
    paid_usd: Option<String>,
}

impl ReadStates {
    async fn of(edge: &Edge, app: AppId, user: UserId) -> Result<Self, Error> {
        let of = async |environment| {
            let state = edge
                .store
                .customer_state(app, CustomerName::User(user), environment)
                .await;
            state.map_err(unknown_customer)
        };
        Ok(Self {
            real: of(Environment::Production).await?,
            test: of(Environment::Sandbox).await?,
            paid_usd: edge.store.paid_usd(user, Environment::Production).await?,
        })
    }
}

/// The transfers from and to a customer, with the purchases that moved.
struct ReadMoves {
    transfers: Vec<Transfer>,
    /// Purchases that moved in the transfers.
    purchases: Vec<PurchaseView>,
    /// Payments for purchases that now belong to another customer, newest first.
    payments: Vec<PaymentView>,
    /// Whether all payments for purchases that moved away were read.
    has_all: bool,
}

impl ReadMoves {
    /// Reads a customer's transfers. `counted` are the purchases that the customer has now.
    async fn of(
        edge: &Edge,
        app: AppId,
        user: UserId,
        counted: &[CustomerPurchase],
    ) -> Result<Self, Error> {
        let transfers = transfers::of_user(edge, Some(app), user).await?;
        let mut keys = moves::keys(&transfers);
        keys.truncate(MOVED);
        let purchases = edge.store.purchases_of(keys).await?;
        let is_own = |key: &CollapseKey| counted.iter().any(|one| one.collapse_key == *key);
        let (away, is_whole) = moves::away(&transfers, is_own, MOVED);
        let payments = edge
            .store
            .payments(
                Some(app),
                PaymentSubject::Purchases(away),
                first(MOVED_PAYMENTS),
            )
            .await?;
        Ok(Self {
            transfers,
            purchases,
            has_all: is_whole && payments.next_cursor.is_none(),
            payments: payments.items,
        })
    }

    /// Returns the transfers, each with the products that moved in it.
    fn with_products(self) -> Vec<CustomerTransfer> {
        let purchases = self.purchases;
        let products = |transfer: &Transfer| {
            let moved = purchases
                .iter()
                .filter(|known| transfer.announced.contains(&known.collapse_key));
            let moved = moved.map(|known| MovedPurchase {
                collapse_key: known.collapse_key,
                product: product(known),
            });
            moved.collect()
        };
        self.transfers
            .into_iter()
            .map(|transfer| CustomerTransfer {
                products: products(&transfer),
                transfer,
            })
            .collect()
    }
}

/// Finds the destinations that do not have the customer's events about these purchases.
async fn undelivered(
    edge: &Edge,
    user: UserId,
    purchases: &Paged<PurchaseView>,
    moved: &[PurchaseView],
) -> Result<Undelivered, Error> {
    let keys: BTreeSet<CollapseKey> = purchases
        .items
        .iter()
        .chain(moved)
        .map(|one| one.collapse_key)
        .collect();
    let keys: Vec<CollapseKey> = keys.into_iter().collect();
    let newest = edge.store.newest_deliveries(keys.clone()).await?;
    Ok(Undelivered {
        failed: edge.store.failed_deliveries(user, newest).await?,
        pending: edge.store.pending_deliveries(user, keys).await?,
        is_all: purchases.next_cursor.is_none(),
    })
}

const fn first(limit: i64) -> Page {
    Page {
        cursor: None,
        limit,
    }
}

/// Stored data about a customer, without the customer's ids.
struct CustomerFacts {
    states: ReadStates,
    purchases: Paged<PurchaseView>,
    payments: Paged<PaymentView>,
    destinations: Vec<Destination>,
    deliveries: Vec<DeliveryView>,
    unchosen: Vec<UnchosenPayment>,
    /// Active purchases whose product is not in the catalogue.
    unlisted: BTreeSet<CollapseKey>,
    /// The customer's purchases in both environments.
    counted: Vec<CustomerPurchase>,
    moves: ReadMoves,
    undelivered: Undelivered,
}

impl CustomerFacts {
    async fn of(edge: &Edge, app: AppId, user: UserId) -> Result<Self, Error> {
        let states = ReadStates::of(edge, app, user).await?;
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
        let counted = [&states.real.purchases[..], &states.test.purchases[..]].concat();
        let active = purchases
            .items
            .iter()
            .map(|view| view.collapse_key)
            .filter(|key| is_active(&counted, *key) == Some(true))
            .collect();
        let unlisted = edge.store.unlisted(active).await?;
        let moves = ReadMoves::of(edge, app, user, &counted).await?;
        let undelivered = undelivered(edge, user, &purchases, &moves.purchases).await?;
        Ok(Self {
            states,
            purchases,
            payments,
            destinations,
            deliveries,
            unchosen,
            unlisted,
            counted,
            moves,
            undelivered,
        })
    }

    /// Returns the access granted by the purchases of an environment.
    fn access(&self, environment: Environment, now: Timestamp) -> Access {
        let (status, paid_usd, next_charge) = match environment {
            Environment::Production => (
                &self.states.real,
                self.states.paid_usd.clone(),
                next_charge(&self.purchases, &self.counted, now),
            ),
            Environment::Sandbox => (&self.states.test, None, None),
        };
        let (views, counted) = (&self.purchases.items, &self.counted);
        let access = Access {
            next_charge,
            unlisted: unlisted_products(environment, views, counted, &self.unlisted),
            ..Access::of(status.state.clone(), paid_usd)
        };
        access.explained(|| no_access(environment, views, counted, &self.unlisted))
    }

    /// Returns the warnings about the customer.
    fn warnings(&self, now: Timestamp) -> Vec<CustomerWarning> {
        let together = renewing_together(&self.purchases.items, &self.counted);
        let undelivered = self.undelivered.warnings(&self.destinations, now);
        undelivered
            .into_iter()
            .chain(together.into_iter().map(CustomerWarning::from))
            .collect()
    }

    /// Builds the customer's detail.
    fn detail(self, customer: Customer, now: Timestamp) -> ReadCustomer {
        let user = customer.user_id;
        let known = Known {
            deliveries: &self.deliveries,
            destinations: &self.destinations,
            payments: &self.payments.items,
            unchosen: &self.unchosen,
            unlisted: &self.unlisted,
            now,
        };
        let standings = standings(&self.purchases.items, &self.counted, &known);
        let production = self.access(Environment::Production, now);
        let sandbox = self.access(Environment::Sandbox, now);
        let warnings = self.warnings(now);
        let charged = charged_after_erasing(&self.purchases.items, &self.counted, now);
        let has_more_payments = self.payments.next_cursor.is_some();
        let moves = &self.moves;
        let mut rows = statement::of_owned(&self.payments.items, &moves.transfers, user);
        let before = statement::before_moves(&moves.payments, &moves.transfers, user);
        let paid = production.paid_usd.as_ref();
        let paid = paid.map(|usd| statement::total(usd, &rows, !has_more_payments));
        let paid_before_moves = statement::total_before(&before, moves.has_all);
        rows.extend(before);
        let devices = self.states.real.state.map(|state| state.devices);
        let detail = CustomerDetail {
            customer,
            user_revision: self.states.real.user_revision,
            devices: devices.unwrap_or_default(),
            production,
            sandbox,
            purchases: self.counted,
            standings,
            warnings,
            paid,
            paid_before_moves,
            payments: statement::lines(&rows),
            transfers: self.moves.with_products(),
            erasure: ErasureNotes::new(&self.destinations, charged),
        };
        ReadCustomer {
            detail,
            purchases: self.purchases,
            has_more_payments,
            destinations: self.destinations,
            deliveries: self.deliveries,
        }
    }
}

impl ReadCustomer {
    /// Reads a customer's stored data.
    ///
    /// # Errors
    /// 404 if the app has no such customer.
    pub async fn of(edge: &Edge, app: AppId, user: UserId) -> Result<Self, Error> {
        let customer = edge.store.customer_of(app, user).await;
        let customer = customer.map_err(unknown_customer)?.into();
        let facts = CustomerFacts::of(edge, app, user).await?;
        Ok(facts.detail(customer, (edge.clock)()))
    }
}

/// Returns whether the purchase gives access; `None` if not known.
fn is_active(counted: &[CustomerPurchase], key: CollapseKey) -> Option<bool> {
    counted
        .iter()
        .find(|one| one.collapse_key == key)
        .and_then(|one| one.is_active)
}

/// Describes the state of each purchase, those with access first.
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
            ..Self::default()
        })
    }

    /// Adds the reason if there is no active entitlement.
    fn explained(self, why: impl FnOnce() -> String) -> Self {
        let no_access = self.active_entitlements.is_empty().then(why);
        Self { no_access, ..self }
    }
}
