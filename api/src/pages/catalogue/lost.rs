//! The deletions, additions and changes that a change of the catalogue makes, in sentences for the confirmation. This
//! module is pure.

use crate::text::{capital, counted};
use std::collections::BTreeMap;
use storage::{Catalogue, Change, Product};

/// Maximum number of names in a sentence.
const NAMES: usize = 20;

/// Returns the effects of a change of the catalogue that affects `purchases` purchases.
pub fn sentences(before: &Catalogue, change: &Change, purchases: i64) -> Vec<String> {
    match change {
        Change::DeleteProduct(sku) => match before.products.get(sku) {
            Some(product) => product_deleted(product, purchases),
            None => Vec::new(),
        },
        Change::SetProduct(sku, after) => withdrawn(before.products.get(sku), after)
            .into_iter()
            .collect(),
        Change::SetProductWith {
            sku,
            product: after,
            ref_id,
            ..
        } => {
            let added =
                format!("The entitlement {ref_id} will be added, and this product gives it.");
            [Some(added), withdrawn(before.products.get(sku), after)]
                .into_iter()
                .flatten()
                .collect()
        }
        Change::DeleteEntitlement(id) => {
            match before
                .products
                .values()
                .filter(|one| one.entitlements.contains(id))
                .count()
            {
                0 => vec!["No product gives it.".to_owned()],
                1 => vec![
                    "It will be removed from 1 product, and its customers will lose it.".to_owned(),
                ],
                count => vec![format!(
                    "It will be removed from {count} products, and their customers will lose it."
                )],
            }
        }
        Change::SetEntitlement(..) => Vec::new(),
        Change::Replace(after) => replaced(before, after),
    }
}

/// Returns the entitlements that a product no longer includes after a change, as a sentence; `None` if there are none.
fn withdrawn(before: Option<&Product>, after: &Product) -> Option<String> {
    let lost = before?
        .entitlements
        .iter()
        .filter(|id| !after.entitlements.contains(id));
    named(
        "It no longer gives these entitlements",
        &lost.cloned().collect::<Vec<_>>(),
    )
}

fn product_deleted(product: &Product, purchases: i64) -> Vec<String> {
    if product.entitlements.is_empty() {
        return vec!["Its name and prices will be deleted. It gives no entitlements.".to_owned()];
    }
    let deleted = format!(
        "Its name, prices and entitlements ({}) will be deleted.",
        list(&product.entitlements)
    );
    let whose = match purchases {
        0 => return vec![deleted],
        1 => "The customer with this purchase loses".to_owned(),
        _ => format!(
            "Customers with these {} lose",
            counted(purchases, "purchase")
        ),
    };
    vec![
        deleted,
        format!("{whose} those entitlements unless another product gives them."),
    ]
}

fn replaced(before: &Catalogue, after: &Catalogue) -> Vec<String> {
    let parts = [
        ("product", difference(&before.products, &after.products)),
        (
            "entitlement",
            difference(&before.entitlements, &after.entitlements),
        ),
    ];
    let all: Vec<_> = parts
        .into_iter()
        .flat_map(|(kind, lists)| {
            let verbs = ["deleted", "added", "changed"];
            verbs
                .into_iter()
                .zip(lists)
                .flat_map(move |(verb, names)| named(&format!("{kind}s {verb}"), &names))
        })
        .collect();
    if all.is_empty() {
        vec!["This is identical to the current catalogue.".to_owned()]
    } else {
        all
    }
}

/// Returns the names that are deleted, added and changed, in this order.
fn difference<T: PartialEq>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
) -> [Vec<String>; 3] {
    let missing = |one: &BTreeMap<String, T>, other: &BTreeMap<String, T>| {
        one.keys()
            .filter(|name| !other.contains_key(*name))
            .cloned()
            .collect::<Vec<_>>()
    };
    let changed = before
        .iter()
        .filter(|(name, one)| after.get(*name).is_some_and(|other| other != *one));
    [
        missing(before, after),
        missing(after, before),
        changed.map(|(name, _)| name.clone()).collect(),
    ]
}

fn named(what: &str, names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| format!("{}: {}.", capital(what), list(names)))
}

fn list(names: &[String]) -> String {
    let shown = names
        .iter()
        .take(NAMES)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::sentences;
    use storage::{Catalogue, Change, EntitlementText, Product};

    fn catalogue() -> Catalogue {
        let lists = |ids: &[&str]| Product {
            entitlements: ids.iter().map(|id| (*id).to_owned()).collect(),
            ..Product::default()
        };
        Catalogue {
            entitlements: ["gold", "silver"]
                .map(|id| (id.to_owned(), EntitlementText::default()))
                .into(),
            products: [
                ("month", lists(&["gold", "silver"])),
                ("tip", lists(&[])),
                ("year", lists(&["gold"])),
            ]
            .map(|(sku, product)| (sku.to_owned(), product))
            .into(),
        }
    }

    #[test]
    fn what_is_lost_is_named() {
        let name = |text: &str| text.to_owned();
        let mut other = catalogue();
        other.products.remove("tip");
        other.products.insert(name("week"), Product::default());
        other.products.insert(name("year"), Product::default());
        for (change, purchases, expected) in [
            (
                Change::DeleteProduct(name("month")),
                3,
                "entitlements (gold, silver) will be deleted. Customers with these 3",
            ),
            (
                Change::DeleteProduct(name("month")),
                1,
                "The customer with this purchase loses those entitlements",
            ),
            (
                Change::DeleteProduct(name("tip")),
                0,
                "It gives no entitlements.",
            ),
            (
                Change::DeleteEntitlement(name("gold")),
                0,
                "removed from 2 products, and their customers will lose it.",
            ),
            (
                Change::DeleteEntitlement(name("silver")),
                0,
                "removed from 1 product, and its customers will lose it.",
            ),
            (
                Change::SetProduct(name("month"), Product::default()),
                0,
                "gives these entitlements: gold, silver.",
            ),
            (
                Change::Replace(other),
                0,
                "Products deleted: tip. Products added: week. Products changed: year.",
            ),
            (Change::Replace(catalogue()), 0, "identical to the current"),
        ] {
            let shown = sentences(&catalogue(), &change, purchases).join(" ");
            assert!(shown.contains(expected), "{expected}: {shown}");
        }
    }
}
