//! `/v1/apps/{app_id}/catalogue` and its parts: which product entitles to what, and what it costs.
//!
//! Every change can be asked as `?dry_run=true`: it then only says how many purchases it would concern.

mod read;

use super::{Body, Fields, Id, Ids, Query};
use crate::edge::{Edge, Shared};
use crate::error::Error;
use axum::Json;
use axum::extract::State;
use domain::AppId;
use read::{Sku, listed_entitlement, listed_product, named, product};
pub use read::{currency, decimal};
use serde_json::{Value, json};
use storage::{Catalogue, Change, MOST_LISTED, Product, Run};

type Answer = Result<Json<Value>, Error>;

/// `PUT /v1/apps/{app_id}/entitlements/{ref}`
pub async fn set_entitlement(
    State(edge): State<Shared>,
    Ids(app, Sku(id)): Ids<AppId, Sku>,
    Query(query): Query,
    Body(mut fields): Body,
) -> Answer {
    edge.store.app(app).await?;
    let named = named(&mut fields);
    change(&edge, app, (query, fields), Change::SetEntitlement(id, named)).await
}

/// `DELETE /v1/apps/{app_id}/entitlements/{ref}`: products that list it list it no more.
pub async fn delete_entitlement(
    State(edge): State<Shared>,
    Ids(app, Sku(id)): Ids<AppId, Sku>,
    Query(query): Query,
) -> Answer {
    edge.store.app(app).await?;
    change(&edge, app, (query, Fields::default()), Change::DeleteEntitlement(id)).await
}

/// `GET /v1/apps/{app_id}/entitlements`
pub async fn entitlements(State(edge): State<Shared>, Id(app): Id<AppId>, Query(fields): Query) -> Answer {
    let catalogue = of_app(&edge, app).await?;
    let ids: Vec<&String> = catalogue.entitlements.keys().collect();
    page(fields, &ids, |id| entitlement_view(app, &catalogue, id))
}

/// `GET /v1/apps/{app_id}/entitlements/{ref}`
pub async fn entitlement(State(edge): State<Shared>, Ids(app, Sku(id)): Ids<AppId, Sku>) -> Answer {
    let catalogue = of_app(&edge, app).await?;
    if !catalogue.entitlements.contains_key(&id) {
        return Err(Error::missing("entitlement", &id));
    }
    Ok(Json(entitlement_view(app, &catalogue, &id)))
}

/// `PUT /v1/apps/{app_id}/products/{sku}`
pub async fn set_product(
    State(edge): State<Shared>,
    Ids(app, Sku(sku)): Ids<AppId, Sku>,
    Query(query): Query,
    Body(mut fields): Body,
) -> Answer {
    edge.store.app(app).await?;
    let product = product(&mut fields);
    change(&edge, app, (query, fields), Change::SetProduct(sku, product)).await
}

/// `DELETE /v1/apps/{app_id}/products/{sku}`
pub async fn delete_product(
    State(edge): State<Shared>,
    Ids(app, Sku(sku)): Ids<AppId, Sku>,
    Query(query): Query,
) -> Answer {
    edge.store.app(app).await?;
    change(&edge, app, (query, Fields::default()), Change::DeleteProduct(sku)).await
}

/// `GET /v1/apps/{app_id}/products`
pub async fn products(State(edge): State<Shared>, Id(app): Id<AppId>, Query(fields): Query) -> Answer {
    let catalogue = of_app(&edge, app).await?;
    let skus: Vec<&String> = catalogue.products.keys().collect();
    page(fields, &skus, |sku| catalogue.products.get(sku).map_or(Value::Null, |product| product_view(sku, product)))
}

/// `GET /v1/apps/{app_id}/products/{sku}`
pub async fn shown_product(State(edge): State<Shared>, Ids(app, Sku(sku)): Ids<AppId, Sku>) -> Answer {
    let catalogue = of_app(&edge, app).await?;
    let product = catalogue.products.get(&sku).ok_or_else(|| Error::missing("product", &sku))?;
    Ok(Json(product_view(&sku, product)))
}

/// `GET /v1/apps/{app_id}/catalogue`: all of it, as `PUT` takes it.
pub async fn show(State(edge): State<Shared>, Id(app): Id<AppId>) -> Answer {
    let catalogue = of_app(&edge, app).await?;
    let entitlements = catalogue.entitlements.iter().map(|(id, named)| {
        let mut view = json!({ "ref": id, "name": named.name });
        if let Some(description) = &named.description {
            view["description"] = json!(description);
        }
        view
    });
    let products = catalogue.products.iter().map(|(sku, product)| product_view(sku, product));
    Ok(Json(json!({ "entitlements": entitlements.collect::<Vec<_>>(), "products": products.collect::<Vec<_>>() })))
}

/// `PUT /v1/apps/{app_id}/catalogue`: replaces all of it.
pub async fn replace(
    State(edge): State<Shared>,
    Id(app): Id<AppId>,
    Query(query): Query,
    Body(mut fields): Body,
) -> Answer {
    edge.store.app(app).await?;
    let entitlements = fields.required_objects("entitlements", MOST_LISTED, listed_entitlement);
    let products = fields.required_objects("products", MOST_LISTED, listed_product);
    let mut catalogue = Catalogue::default();
    for (at, (id, named)) in entitlements.into_iter().enumerate() {
        if catalogue.entitlements.insert(id.clone(), named).is_some() {
            fields.wrong(&format!("entitlements[{at}].ref"), format!("each entitlement once, and `{id}` comes twice"));
        }
    }
    for (at, (sku, product)) in products.into_iter().enumerate() {
        if catalogue.products.insert(sku.clone(), product).is_some() {
            fields.wrong(&format!("products[{at}].sku"), format!("each product once, and `{sku}` comes twice"));
        }
    }
    change(&edge, app, (query, fields), Change::Replace(catalogue)).await
}

/// `GET /v1/apps/{app_id}/catalogue/unmapped`: what was bought and is not listed, the most bought first.
pub async fn unmapped(State(edge): State<Shared>, Id(app): Id<AppId>) -> Answer {
    edge.store.app(app).await?;
    let found = edge.store.unmapped(app).await?;
    let items: Vec<Value> = found.iter().map(|one| json!({ "sku": one.sku, "purchases": one.purchases })).collect();
    Ok(Json(json!({ "items": items, "next_cursor": null })))
}

async fn of_app(edge: &Edge, app: AppId) -> Result<Catalogue, Error> {
    edge.store.app(app).await?;
    Ok(edge.store.catalogue(app).await?)
}

async fn change(edge: &Edge, app: AppId, (mut query, fields): (Fields, Fields), change: Change) -> Answer {
    let is_dry = query.switch("dry_run");
    query.finish()?;
    fields.finish()?;
    let run = if is_dry { Run::Dry } else { Run::Real };
    let purchases = edge.store.change_catalogue(app, change, run).await?;
    Ok(Json(json!({ "purchases": purchases })))
}

/// A page of a list that is in memory as a whole. The cursor is the last id of the page before.
fn page(mut fields: Fields, ids: &[&String], view: impl Fn(&str) -> Value) -> Answer {
    let page = fields.page();
    fields.finish()?;
    let after = page.cursor.unwrap_or_default();
    let start = ids.partition_point(|id| **id <= after);
    let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
    let chosen: Vec<&String> = ids.iter().skip(start).take(limit).copied().collect();
    let has_more = start + chosen.len() < ids.len();
    let next_cursor = chosen.last().filter(|_| has_more);
    Ok(Json(json!({ "items": chosen.iter().map(|id| view(id)).collect::<Vec<_>>(), "next_cursor": next_cursor })))
}

fn entitlement_view(app: AppId, catalogue: &Catalogue, id: &str) -> Value {
    let Some(found) = catalogue.entitlement(app, id) else { return Value::Null };
    json!({ "id": found.id, "ref": found.entitlement_ref_id, "name": found.name, "description": found.description })
}

fn product_view(sku: &str, product: &Product) -> Value {
    let mut view = json!({ "sku": sku, "entitlements": product.entitlements, "prices": product.prices });
    if let Some(name) = &product.name {
        view["name"] = json!(name);
    }
    view
}
