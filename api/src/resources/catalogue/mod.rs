//! `/v1/apps/{app_id}/catalogue` and its parts: entitlements, and products with their prices.
//!
//! With `?dry_run=true`, a change is not made: the response counts the purchases that it would affect.

mod currencies;
mod fields;
mod references;

pub use fields::{Catalogue, Product, Sku};

use super::apps;
use super::sales::RunQuery;
use crate::edge::{Edge, Shared};
use crate::error::{Error, Field};
use crate::extract::{Body, Draft, Ids, PageQuery, Query, Stored, drafted};
use crate::keys::Acting;
use crate::near::did_you_mean;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use std::sync::Arc;
use storage::{App, Change, Condition, EntitlementText, Page, Paged, Run, UnmappedSku};
use uuid::Uuid;

/// Field with the name of an entitlement that is added together with a product.
pub const NEW_NAME: &str = "new_entitlement_name";
/// Maximum length of a reference id in characters.
const MAX_REFERENCE: usize = 200;

/// Effect of a catalogue change.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Concerned {
    /// Number of affected purchases. They are re-settled gradually.
    pub purchases: i64,
    /// Probable mistakes in the change, one sentence each; absent if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Something that a purchase grants to its owner.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entitlement {
    /// settle's id for the entitlement, which stays the same as long as the reference id does.
    id: Uuid,
    /// Reference id: the entitlement's name in your own system.
    #[serde(rename = "ref")]
    reference: String,
    /// Display name.
    name: String,
    /// Further details, for display.
    description: Option<String>,
}

/// `PUT /v1/apps/{app_id}/entitlements/{ref}`
pub async fn set_entitlement(
    edge: Acting,
    Ids(app, Sku(id)): Ids<AppId, Sku>,
    Query(query): Query<RunQuery>,
    Body(new): Body<EntitlementText>,
) -> Result<Json<Concerned>, Error> {
    change(&edge, app, &query, Change::SetEntitlement(id, new)).await
}

/// `DELETE /v1/apps/{app_id}/entitlements/{ref}`: also removes the entitlement from all products.
pub async fn delete_entitlement(
    edge: Acting,
    Ids(app, Sku(id)): Ids<AppId, Sku>,
    Query(query): Query<RunQuery>,
) -> Result<Json<Concerned>, Error> {
    change(&edge, app, &query, Change::DeleteEntitlement(id)).await
}

/// `GET /v1/apps/{app_id}/entitlements`
pub async fn entitlements(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<Entitlement>>, Error> {
    let catalogue = stored(&edge, app.id).await?;
    let all = catalogue
        .entitlements
        .keys()
        .filter_map(|id| Some((id, shown(app.id, &catalogue, id)?)));
    Ok(Json(paged(query.page(), all)))
}

/// `GET /v1/apps/{app_id}/entitlements/{ref}`
pub async fn entitlement(
    State(edge): State<Shared>,
    Ids(app, Sku(id)): Ids<AppId, Sku>,
) -> Result<Json<Entitlement>, Error> {
    let catalogue = of_app(&edge, app).await?;
    shown(app, &catalogue, &id)
        .map(Json)
        .ok_or_else(|| Error::missing("entitlement", &id))
}

/// `PUT /v1/apps/{app_id}/products/{sku}`
pub async fn set_product(
    edge: Acting,
    Ids(app, Sku(sku)): Ids<AppId, Sku>,
    Query(query): Query<RunQuery>,
    draft: Draft<storage::Product>,
) -> Result<Json<Concerned>, Error> {
    change(&edge, app, &query, product(sku, draft)?).await
}

/// Returns the change that sets a product.
///
/// # Errors
/// 400 with each invalid field.
pub fn product(sku: String, mut draft: Draft<storage::Product>) -> Result<Change, Error> {
    fields::check(&draft.body, "", &mut draft.wrong);
    Ok(Change::SetProduct(sku, draft.finish()?))
}

/// Returns the change that sets a product and also adds an entitlement with this name, or with its reference id as its
/// name.
///
/// # Errors
/// 400 with each invalid field.
pub fn with_entitlement(change: Change, ref_id: &str, name: Option<&str>) -> Result<Change, Error> {
    let Change::SetProduct(sku, product) = change else {
        return Ok(change);
    };
    if ref_id.chars().count() > MAX_REFERENCE {
        return Err(Error::invalid(
            storage::NEW_ENTITLEMENT,
            "text of at most 200 characters",
        ));
    }
    let body = [("name".to_owned(), json!(name.unwrap_or(ref_id)))]
        .into_iter()
        .collect();
    let of_name = |one: Field| Field {
        field: NEW_NAME.to_owned(),
        ..one
    };
    let text = drafted(body)
        .and_then(Draft::finish)
        .map_err(|error| match error {
            Error::Invalid(wrong) => Error::Invalid(wrong.into_iter().map(of_name).collect()),
            other => other,
        })?;
    Ok(Change::SetProductWith {
        sku,
        product,
        ref_id: ref_id.to_owned(),
        text,
    })
}

/// `DELETE /v1/apps/{app_id}/products/{sku}`
pub async fn delete_product(
    edge: Acting,
    Ids(app, Sku(sku)): Ids<AppId, Sku>,
    Query(query): Query<RunQuery>,
) -> Result<Json<Concerned>, Error> {
    change(&edge, app, &query, Change::DeleteProduct(sku)).await
}

/// `GET /v1/apps/{app_id}/products`
pub async fn products(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Paged<Product>>, Error> {
    let catalogue = stored(&edge, app.id).await?;
    let all = catalogue
        .products
        .iter()
        .map(|(sku, product)| (sku, Product::new(sku, product)));
    Ok(Json(paged(query.page(), all)))
}

/// `GET /v1/apps/{app_id}/products/{sku}`
pub async fn shown_product(
    State(edge): State<Shared>,
    Ids(app, Sku(sku)): Ids<AppId, Sku>,
) -> Result<Json<Product>, Error> {
    let catalogue = of_app(&edge, app).await?;
    let product = catalogue
        .products
        .get(&sku)
        .ok_or_else(|| Error::missing("product", &sku))?;
    Ok(Json(Product::new(&sku, product)))
}

/// `GET /v1/apps/{app_id}/catalogue`: the whole catalogue, in the format that `PUT` accepts.
pub async fn show(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
) -> Result<Json<Catalogue>, Error> {
    Ok(Json(stored(&edge, app.id).await?.into()))
}

/// `PUT /v1/apps/{app_id}/catalogue`: replaces the whole catalogue.
pub async fn replace(
    edge: Acting,
    Stored(app): Stored<App>,
    Query(query): Query<RunQuery>,
    draft: Draft<Catalogue>,
) -> Result<Json<Concerned>, Error> {
    change(&edge, app.id, &query, whole(draft)?).await
}

/// Returns the change that replaces the whole catalogue.
///
/// # Errors
/// 400 with each invalid field.
pub fn whole(mut draft: Draft<Catalogue>) -> Result<Change, Error> {
    draft.body.check(&mut draft.wrong);
    Ok(Change::Replace(draft.finish()?.into()))
}

/// `GET /v1/apps/{app_id}/catalogue/unmapped`: the SKUs that were bought but are not in the catalogue, most bought
/// first; at most 1,000.
pub async fn unmapped(
    State(edge): State<Shared>,
    Stored(app): Stored<App>,
) -> Result<Json<Paged<UnmappedSku>>, Error> {
    let (items, _) = bought_unlisted(&edge, app.id).await?;
    Ok(Json(Paged {
        items,
        next_cursor: None,
    }))
}

/// Returns the SKUs that were bought but are not in an app's catalogue, most bought first, and whether there are more.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn bought_unlisted(edge: &Edge, app: AppId) -> Result<(Vec<UnmappedSku>, bool), Error> {
    Ok(edge.store.unmapped(app).await?)
}

/// Returns the catalogue of an app that is not deleted.
///
/// # Errors
/// 404 if there is no such app.
pub async fn of_app(edge: &Edge, app: AppId) -> Result<storage::Catalogue, Error> {
    apps::one(edge, app).await?;
    stored(edge, app).await
}

/// Returns the stored catalogue of an app.
///
/// # Errors
/// 503 if the database does not respond.
pub async fn stored(edge: &Edge, app: AppId) -> Result<storage::Catalogue, Error> {
    Ok(edge.store.catalogue(app).await?)
}

async fn change(
    edge: &Acting,
    app: AppId,
    query: &RunQuery,
    change: Change,
) -> Result<Json<Concerned>, Error> {
    change_if(
        edge,
        app,
        change,
        query.run(),
        Arc::new(|_: &storage::Catalogue| Ok(())),
    )
    .await
    .map(Json)
}

/// Makes a change to a catalogue if the catalogue meets a condition, or counts the affected purchases on a dry run.
///
/// # Errors
/// 409 if the catalogue does not meet the condition.
pub async fn change_if(
    edge: &Acting,
    app: AppId,
    change: Change,
    run: Run,
    condition: Condition,
) -> Result<Concerned, Error> {
    let stored = of_app(edge, app).await?;
    references::check(&stored, &change)?;
    if let Change::SetProduct(_, product) | Change::SetProductWith { product, .. } = &change {
        check_entitlements(&stored, product)?;
    }
    if let Change::SetProductWith { ref_id, .. } = &change
        && stored.entitlements.contains_key(ref_id)
    {
        let expected = format!("a new reference id; `{ref_id}` exists, so choose it above");
        return Err(Error::invalid(storage::NEW_ENTITLEMENT, expected));
    }
    let warnings = [
        references::warnings(&stored, &change),
        currencies::warnings(&change),
    ]
    .concat();
    let purchases = edge
        .store
        .change_catalogue_if(app, change, run, condition)
        .await?;
    Ok(Concerned {
        purchases,
        warnings,
    })
}

/// Refuses a product with an entitlement that the app does not have, and suggests the one that was probably meant.
fn check_entitlements(
    catalogue: &storage::Catalogue,
    product: &storage::Product,
) -> Result<(), Error> {
    let Some(wrong) = product
        .entitlements
        .iter()
        .find(|id| !catalogue.entitlements.contains_key(*id))
    else {
        return Ok(());
    };
    let meant = did_you_mean(wrong, catalogue.entitlements.keys().map(String::as_str));
    Err(Error::invalid(
        "entitlements",
        format!("entitlements of the app; `{wrong}` is not one, so set it first{meant}"),
    ))
}

/// Returns a page of a list in memory that is sorted by id. The cursor is the last id of the previous page.
fn paged<'a, T>(page: Page, all: impl Iterator<Item = (&'a String, T)>) -> Paged<T> {
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let mut rest = all
        .skip_while(|(id, _)| page.cursor.as_ref().is_some_and(|after| *id <= after))
        .peekable();
    let (mut items, mut last) = (Vec::new(), None);
    while items.len() < limit {
        let Some((id, item)) = rest.next() else { break };
        items.push(item);
        last = Some(id.clone());
    }
    Paged {
        items,
        next_cursor: last.filter(|_| rest.peek().is_some()),
    }
}

fn shown(app: AppId, catalogue: &storage::Catalogue, id: &str) -> Option<Entitlement> {
    let domain::catalogue::Entitlement {
        id,
        entitlement_ref_id,
        name,
        description,
        ..
    } = catalogue.entitlement(app, id)?;
    Some(Entitlement {
        id,
        reference: entitlement_ref_id,
        name,
        description,
    })
}
