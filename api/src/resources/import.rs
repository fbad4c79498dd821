//! `/v1/platforms/{platform_id}/import`: adopts purchases that were made before the platform was connected.

use super::store_customer::{self, NO_CUSTOMER, requiring_customers};
use crate::answer::Accepted;
use crate::edge::Shared;
use crate::error::Error;
use crate::extract::{Draft, Stored, Unread, drafted, drafted_by, no_id, schema};
use crate::keys::Acting;
use axum::Json;
use axum::extract::State;
use domain::notification::MAX_ID_BYTES;
use domain::stores::Proof;
use domain::{Outcome, StorePolicy};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::LazyLock;
use storage::{Adoption, Platform};

/// Maximum number of purchases in one request.
pub const MAX_PURCHASES: usize = 500;

/// Schema of an import to a platform whose store confirms pairs of customer and receipt.
static WITH_CUSTOMERS: LazyLock<Value> = LazyLock::new(requiring_customers::<Import>);
/// Schema of one purchase in such an import.
static PURCHASE_WITH_CUSTOMER: LazyLock<Value> =
    LazyLock::new(requiring_customers::<ImportedPurchase>);

/// Purchases to import.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "purchases": [{ "receipt_id": "r1", "app_user_id": "u1" }] }]))]
pub struct Import {
    /// Purchases to import, each by the store's id.
    #[schemars(extend("maxItems" = MAX_PURCHASES))]
    purchases: Vec<ImportedPurchase>,
}

/// A purchase to adopt.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct ImportedPurchase {
    /// The store's id for the purchase.
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    receipt_id: String,
    /// The store's id for the customer. Required unless the platform's store identifies a purchase by its receipt
    /// alone.
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    app_user_id: Option<String>,
    /// The customer's external id, if known. If the id stands for "no value", the purchase is imported without it.
    #[schemars(length(min = 1, max = 512))]
    external_id: Option<String>,
}

/// Result of an import.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    /// Number of new purchases. Each is settled after its window.
    pub accepted: usize,
    /// Number of purchases that were already known.
    pub known: i64,
    /// Number of purchases imported earlier that are not settled yet.
    pub waiting: i64,
    /// Purchases imported without naming their customer, because that was not possible.
    pub unnamed: Vec<Unnamed>,
}

/// A purchase imported without naming its customer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Unnamed {
    /// Field of the request.
    pub field: String,
    /// Why the customer could not be named.
    pub detail: String,
}

/// Progress of an import: the number of waiting purchases, and of the others by outcome.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ImportState {
    /// Number of purchases waiting for their window or store.
    pub waiting: i64,
    /// Number of settled purchases.
    pub settled: i64,
    /// Number of purchases settled without a change.
    pub no_change: i64,
    /// Number of purchases given up because they could not be verified.
    #[serde(rename = "given_up")]
    pub abandoned: i64,
    /// Number of purchases discarded by an admin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub discarded: Option<i64>,
    /// Number of duplicates of other notifications.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicate: Option<i64>,
    /// Number of refused purchases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<i64>,
    /// Number of purchases of an unknown type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<i64>,
}

impl From<ImportedPurchase> for Adoption {
    fn from(
        ImportedPurchase {
            receipt_id,
            app_user_id,
            external_id,
        }: ImportedPurchase,
    ) -> Self {
        Self {
            receipt_id,
            app_user_id,
            external_id,
        }
    }
}

/// `POST /v1/platforms/{platform_id}/import`: adopts purchases. Known purchases are only counted.
pub async fn start(
    edge: Acting,
    Stored(platform): Stored<Platform>,
    body: Unread<Import>,
) -> Result<Accepted<Imported>, Error> {
    let import = read(&body, store_customer::proof(&platform)?)?;
    let mut purchases: Vec<Adoption> = import.purchases.into_iter().map(Adoption::from).collect();
    let nobody = purchases
        .iter_mut()
        .enumerate()
        .filter_map(|(at, purchase)| Some((at, nobody(purchase)?)));
    let nobody: Vec<(usize, String)> = nobody.collect();
    let adopted = edge
        .store
        .adopt(&platform, purchases, (edge.clock)())
        .await?;
    for (key, seq) in &adopted.accepted {
        edge.dispatch.notify(
            *key,
            *seq,
            platform.settings.window_ms,
            platform.settings.max_wait_ms,
        );
    }
    let unnamed = adopted
        .unnamed
        .into_iter()
        .chain(nobody)
        .map(|(at, detail)| Unnamed {
            field: format!("purchases[{at}].external_id"),
            detail,
        })
        .collect();
    let (known, waiting) = (adopted.known, adopted.waiting);
    Ok(Accepted(Imported {
        accepted: adopted.accepted.len(),
        known,
        waiting,
        unnamed,
    }))
}

/// Reads an import to a platform whose store requires this proof.
fn read(body: &Unread<Import>, proof: Proof) -> Result<Import, Error> {
    if proof == Proof::Pair {
        return body.read_by(&WITH_CUSTOMERS)?.finish();
    }
    let Draft { body, mut wrong } = body.read_by(schema::<Import>())?;
    for (at, purchase) in body.purchases.iter().enumerate() {
        if purchase.app_user_id.is_some() {
            wrong.add(&format!("purchases[{at}].app_user_id"), NO_CUSTOMER);
        }
    }
    wrong.finish()?;
    Ok(body)
}

/// Checks a purchase of an import to a platform of this store. For an unknown store, checks only the rules that hold
/// for every store.
///
/// # Errors
/// 400 with each invalid field and its expected value.
pub fn check(purchase: Map<String, Value>, store: &str) -> Result<(), Error> {
    let proof = StorePolicy::of(store).map(|policy| policy.proof).ok();
    let draft = match proof {
        Some(Proof::Pair) => drafted_by(purchase, &PURCHASE_WITH_CUSTOMER),
        Some(Proof::Possession | Proof::Signed) | None => drafted::<ImportedPurchase>(purchase),
    };
    let Draft { body, mut wrong } = draft?;
    let is_pair = proof.is_none_or(|proof| proof == Proof::Pair);
    if !is_pair && body.app_user_id.is_some() {
        wrong.add("app_user_id", NO_CUSTOMER);
    }
    wrong.finish()
}

/// Removes an external id that is a placeholder, so that the purchase is imported without it. Returns the error about
/// it.
fn nobody(purchase: &mut Adoption) -> Option<String> {
    let why = no_id(purchase.external_id.as_deref()?)?;
    purchase.external_id = None;
    Some(format!("expected {why}"))
}

/// `GET /v1/platforms/{platform_id}/import`: the number of adopted purchases that are waiting, and of the others by
/// outcome.
pub async fn show(
    State(edge): State<Shared>,
    Stored(platform): Stored<Platform>,
) -> Result<Json<ImportState>, Error> {
    let mut state = ImportState::default();
    for (outcome, count) in edge.store.count_adopted(platform.id).await? {
        match outcome {
            None => state.waiting = count,
            Some(Outcome::Settled) => state.settled = count,
            Some(Outcome::NoChange) => state.no_change = count,
            Some(Outcome::Abandoned) => state.abandoned = count,
            Some(Outcome::Discarded) => state.discarded = Some(count),
            Some(Outcome::Duplicate) => state.duplicate = Some(count),
            Some(Outcome::Refused) => state.refused = Some(count),
            Some(Outcome::Unknown) => state.unknown = Some(count),
        }
    }
    Ok(Json(state))
}
