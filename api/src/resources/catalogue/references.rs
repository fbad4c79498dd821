//! SKUs and reference ids. Stores, receivers and apps compare them byte by byte, so a new one with invisible
//! characters, or one that is a placeholder for "no value", is refused. Existing ones may stay in the catalogue.

use crate::error::Error;
use crate::extract::no_id;
use domain::text::{alike, hidden};
use std::collections::BTreeMap;
use storage::{Catalogue, Change};

/// A SKU or reference id that a change adds, with the field that has it.
struct New<'a> {
    field: &'static str,
    id: &'a str,
    is_sku: bool,
}

/// Refuses a change that adds a SKU or reference id with hidden characters, or a placeholder.
///
/// # Errors
/// 400 with the first invalid field.
pub fn check(stored: &Catalogue, change: &Change) -> Result<(), Error> {
    for New { field, id, .. } in new(stored, change) {
        let stated = |why: String| {
            format!(
                "an id without hidden characters, but it is `{}`: {why}",
                id.escape_debug()
            )
        };
        let wrong = no_id(id).or_else(|| hidden(id).map(stated));
        if let Some(expected) = wrong {
            return Err(Error::invalid(field, expected));
        }
    }
    Ok(())
}

/// Returns one sentence for each added SKU or reference id that is easily mistaken for an existing one.
pub fn warnings(stored: &Catalogue, change: &Change) -> Vec<String> {
    let new = new(stored, change);
    if new.is_empty() {
        return Vec::new();
    }
    let entitlements = stored
        .entitlements
        .keys()
        .map(|id| ((false, alike(id)), id));
    let products = stored.products.keys().map(|sku| ((true, alike(sku)), sku));
    let known: BTreeMap<(bool, String), &String> = entitlements.chain(products).collect();
    let warning = |New { id, is_sku, .. }: New<'_>| {
        let other = known.get(&(is_sku, alike(id)))?;
        Some(format!(
            "`{id}` looks like `{other}`, which is in the catalogue; the two are different"
        ))
    };
    new.into_iter().filter_map(warning).collect()
}

/// Returns the SKUs and reference ids that a change adds to the catalogue.
fn new<'a>(stored: &'a Catalogue, change: &'a Change) -> Vec<New<'a>> {
    let entitlement = |field, id: &'a String| {
        (!stored.entitlements.contains_key(id)).then_some(New {
            field,
            id,
            is_sku: false,
        })
    };
    let product = |field, id: &'a String| {
        (!stored.products.contains_key(id)).then_some(New {
            field,
            id,
            is_sku: true,
        })
    };
    match change {
        Change::SetEntitlement(id, _) => entitlement("ref", id).into_iter().collect(),
        Change::SetProduct(sku, _) => product("sku", sku).into_iter().collect(),
        Change::SetProductWith { sku, ref_id, .. } => product("sku", sku)
            .into_iter()
            .chain(entitlement(storage::NEW_ENTITLEMENT, ref_id))
            .collect(),
        Change::Replace(all) => {
            let entitlements = all
                .entitlements
                .keys()
                .filter_map(|id| entitlement("entitlements", id));
            entitlements
                .chain(
                    all.products
                        .keys()
                        .filter_map(|sku| product("products", sku)),
                )
                .collect()
        }
        Change::DeleteEntitlement(_) | Change::DeleteProduct(_) => Vec::new(),
    }
}
