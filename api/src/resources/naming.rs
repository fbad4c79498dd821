//! `PUT /v1/apps/{app_id}/customers`: sets a customer's external id, and merges the customer with another one who
//! already has that id.
//!
//! A server that sends this at a login knows its customer, so by default a merge needs no confirmation. A person may
//! mistype an id: `dry_run` shows the effects, and sending its `preview` id allows exactly those effects.

use super::customers::{Customer, STORE_ALONE};
use super::sales::RunQuery;
use crate::answer::short_digest;
use crate::edge::Edge;
use crate::error::Error;
use crate::extract::{Draft, Query, Stored};
use crate::keys::Acting;
use axum::Json;
use domain::text::{hidden, is_mixed};
use domain::user::{TRANSFERRED_FROM, TRANSFERRED_TO};
use domain::{AppId, CollapseKey, UserId, event};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::Arc;
use storage::{App, CustomerNames, CustomerPurchases, Naming, NamingCondition, Owner, Run};

/// A customer to name, by the store's id of the customer or of a purchase.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "external_id": "anna@example.com", "app_user_id": "u1", "analytics_device_id": "tv-4711"
}]))]
pub struct NamedCustomer {
    /// The customer's external id: a UUID, a SHA-256 hash, or any other text.
    #[schemars(length(min = 1, max = 512), extend("x-identifies" = true))]
    external_id: String,
    /// The store's id for the customer. Cannot be combined with `receipt_id`.
    #[schemars(length(min = 1, max = 512), extend("x-identifies" = true, "x-trimmed" = true))]
    app_user_id: Option<String>,
    /// The store's id of a purchase that the customer owns.
    #[schemars(length(min = 1, max = 512), extend("x-trimmed" = true))]
    receipt_id: Option<String>,
    /// Name of the store of `app_user_id`. Required if the app has platforms of several stores.
    #[schemars(length(min = 1, max = 64))]
    store: Option<String>,
    /// The app's own id for the customer's device in analytics; unchanged if absent.
    #[schemars(length(min = 1, max = 128))]
    analytics_device_id: Option<String>,
    /// Whether to merge with another customer who already has the id; true by default. If false, such a conflict
    /// returns 409.
    merge: Option<bool>,
    /// Id of the preview returned by a dry run. 409 if the effect would now differ from it.
    #[schemars(length(min = 1, max = 64))]
    preview: Option<String>,
}

/// A customer after naming or, in a dry run, as it would be.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NamedAnswer {
    /// The customer.
    #[serde(flatten)]
    pub customer: Customer,
    /// Preview of the effects; only in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preview: Option<NamingPreview>,
    /// Probable mistakes in the request, one sentence each; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Effects of naming a customer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NamingPreview {
    /// Id of this preview. Send it as `preview` to allow only these effects.
    pub id: String,
    /// Merge with another customer; null if no other customer has the id.
    pub merge: Option<Merge>,
    /// Possible mistake in the request, for people; null if there is none.
    pub note: Option<&'static str>,
}

/// A merge of two customers.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Merge {
    /// The customer to name, whose purchases move.
    pub from: MergedCustomer,
    /// The customer who already has the id.
    pub to: MergedCustomer,
    /// Keys of the moved purchases that grant access, each announced by two events.
    pub announced: Vec<CollapseKey>,
    /// Events that follow, with the maximum number of each.
    pub events: BTreeMap<&'static str, usize>,
}

/// A customer before a merge.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct MergedCustomer {
    /// settle's id for the customer.
    pub user_id: UserId,
    /// The customer's external id, if set.
    pub external_id: Option<String>,
    /// The store's ids for the customer.
    pub app_user_ids: Vec<String>,
    /// Number of purchases.
    pub purchases: usize,
}

impl From<&CustomerPurchases> for MergedCustomer {
    fn from(of: &CustomerPurchases) -> Self {
        let Customer {
            user_id,
            external_id,
            app_user_ids,
            ..
        } = of.customer.clone().into();
        Self {
            user_id,
            external_id,
            app_user_ids,
            purchases: of.purchases.len(),
        }
    }
}

const NO_PURCHASE: &str = "No purchase of this store customer is known yet. If there should be one, check the \
     spelling, including upper and lower case.";

impl From<&Naming> for NamingPreview {
    fn from(naming: &Naming) -> Self {
        let merge = naming.other.as_ref().map(|other| {
            let announced = naming.announced.len();
            let all = [
                (event::PURCHASE_UPDATED, naming.named.purchases.len()),
                (TRANSFERRED_FROM, announced),
                (TRANSFERRED_TO, announced),
            ];
            Merge {
                from: (&naming.named).into(),
                to: other.into(),
                announced: naming.announced.clone(),
                events: all.into_iter().filter(|(_, number)| *number > 0).collect(),
            }
        });
        let of = |one: &CustomerPurchases| json!([one.customer.user_id, one.purchases]);
        let facts = json!([
            of(&naming.named),
            naming.other.as_ref().map(of),
            naming.announced
        ]);
        let is_unknown = naming.named.purchases.is_empty();
        Self {
            id: short_digest(facts.to_string().as_bytes()),
            merge,
            note: is_unknown.then_some(NO_PURCHASE),
        }
    }
}

/// Returns warnings about a customer's id: hidden or mixed characters, and another customer of the app whose id looks
/// the same. The two customers stay separate.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn twin_warnings(
    edge: &Acting,
    app: AppId,
    external_id: &str,
) -> Result<Vec<String>, Error> {
    let other = edge.store.twin_of_id(app, external_id).await?;
    let of_other = other.map(|other| {
        if other.to_lowercase() == external_id.to_lowercase() {
            let by = "differs only by case from";
            return format!("`{external_id}` {by} `{other}`, the id of another customer; the two are not merged");
        }
        let by = "only by blanks, invisible characters, or letters that look alike; the two are not merged";
        format!("`{external_id}` differs from `{other}`, the id of another customer, {by}")
    });
    Ok(of_other.into_iter().chain(hidden_in(external_id)).collect())
}

/// Returns the warning about hidden or mixed characters in a customer's id; `None` if there are none.
pub fn hidden_in(external_id: &str) -> Option<String> {
    let mixed =
        is_mixed(external_id).then(|| "it has letters that look like plain Latin ones".to_owned());
    let why = hidden(external_id).or(mixed)?;
    Some(format!(
        "`{external_id}` is not what a reader sees: {why}; the id without that is another customer's"
    ))
}

/// `PUT /v1/apps/{app_id}/customers`: sets the external id of a user, identified by the store's id of the customer or
/// of a purchase. A repeated request changes nothing and gets the same response. `?dry_run=true` only shows the
/// effects.
pub async fn name(
    edge: Acting,
    Stored(app): Stored<App>,
    Query(query): Query<RunQuery>,
    mut draft: Draft<NamedCustomer>,
) -> Result<Json<NamedAnswer>, Error> {
    let NamedCustomer {
        app_user_id,
        receipt_id,
        store,
        ..
    } = &mut draft.body;
    let (app_user_id, store) = (app_user_id.take(), store.take());
    if store.is_some() && app_user_id.is_none() {
        draft.wrong.add("store", STORE_ALONE);
    }
    let owner = match (
        app_user_id.map(|name| Owner::of_store(store, name)),
        receipt_id.take().map(Owner::Receipt),
    ) {
        (Some(owner), None) | (None, Some(owner)) => Some(owner),
        (None, None) => {
            draft.wrong.add(
                "app_user_id",
                "the store's id for the customer, or `receipt_id` instead",
            );
            None
        }
        (Some(_), Some(_)) => {
            draft.wrong.add(
                "receipt_id",
                "to be absent where `app_user_id` is given: exactly one of the two",
            );
            None
        }
    };
    let named = draft.finish()?;
    let Some(owner) = owner else {
        return Err(Error::Internal);
    };
    let condition = named.condition();
    let NamedCustomer {
        external_id,
        analytics_device_id,
        ..
    } = named;
    let warnings = twin_warnings(&edge, app.id, &external_id).await?;
    let names = CustomerNames {
        external_id,
        analytics_device_id,
    };
    if query.run() == Run::Dry {
        let naming = planned(&edge, app.id, owner, names).await?;
        let preview = Some(NamingPreview::from(&naming));
        return Ok(Json(NamedAnswer {
            customer: naming.after.into(),
            preview,
            warnings,
        }));
    }
    let customer = edge
        .store
        .name_customer(app.id, owner, names, condition)
        .await
        .map_err(naming_error)?;
    edge.wake_for_persons();
    Ok(Json(NamedAnswer {
        customer: customer.into(),
        preview: None,
        warnings,
    }))
}

/// Returns the effects of naming a customer.
///
/// # Errors
/// 404 if the owner of the purchase is not known; 409 if the customer has a different external id.
pub async fn planned(
    edge: &Edge,
    app: AppId,
    owner: Owner,
    names: CustomerNames,
) -> Result<Naming, Error> {
    let planned = edge.store.preview_naming(app, owner, names).await;
    planned.map_err(naming_error)
}

impl NamedCustomer {
    /// Returns the condition that the request sets on the effects; `None` if it allows any.
    fn condition(&self) -> Option<NamingCondition> {
        let (may_merge, preview) = (self.merge.unwrap_or(true), self.preview.clone());
        if may_merge && preview.is_none() {
            return None;
        }
        let external_id = self.external_id.clone();
        Some(Arc::new(move |naming| {
            let now = NamingPreview::from(naming);
            if preview.as_ref().is_some_and(|shown| *shown != now.id) {
                return Err(
                    "one of the customers has changed since the preview: preview the change again"
                        .to_owned(),
                );
            }
            match now.merge {
                Some(merge) if !may_merge => Err(format!(
                    "`{external_id}` is the id of another customer with {}, and `merge` is false: a dry run shows what a \
                     merge would do",
                    counted(merge.to.purchases)
                )),
                _ => Ok(()),
            }
        }))
    }
}

/// Returns a number of purchases with its noun.
pub fn counted(purchases: usize) -> String {
    match purchases {
        0 => "no purchases".to_owned(),
        1 => "1 purchase".to_owned(),
        number => format!("{number} purchases"),
    }
}

/// Turns the error of setting the id into a response: the purchase is unknown, or the user has a different id.
pub fn naming_error(error: storage::Error) -> Error {
    match error {
        storage::Error::Missing { what } => Error::Missing(format!(
            "there is no {what}: identify the owner by `app_user_id`, which need not be known yet, or import the \
             purchase first"
        )),
        storage::Error::Conflict { detail, .. } => Error::Conflict(detail),
        other => other.into(),
    }
}
