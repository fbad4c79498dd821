//! The catalogue of an app: its products, their entitlements and their prices.
//!
//! A catalogue is small and read as a whole. A change is computed in memory, so that the affected purchases are known
//! before it is written. They are rechecked, and the sweep settles them at its own pace.

mod affected;
pub mod changes;
mod tables;

use db::error::Error;
use domain::AppId;
use domain::catalogue::{Auth, Entitlement, Price};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;

/// Maximum number of products of an app; also the maximum number of entitlements.
pub const MAX_LISTED: usize = 5_000;

/// Maximum number of entitlements of a product; also the maximum number of prices.
pub const MAX_PER_PRODUCT: usize = 300;

/// The request field for the reference id of an entitlement that is added together with a product.
pub const NEW_ENTITLEMENT: &str = "new_entitlement";

/// A product's entitlements and prices.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NewProduct", extend("examples" = [
    { "name": "Monthly", "entitlements": ["gold"], "prices": [{ "country": "DE", "currency": "EUR", "price": "9.99" }] },
]))]
pub struct Product {
    /// Display name.
    #[schemars(length(min = 1, max = 200))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Reference ids of the product's entitlements, without duplicates.
    #[schemars(extend("x-expected" = "a list of the reference ids of entitlements, maybe empty"))]
    pub entitlements: Vec<String>,
    /// Prices of the product. A price without a country applies to every country without its own. Several prices with
    /// different start days (`since`) may follow one another.
    #[schemars(extend("maxItems" = MAX_PER_PRODUCT))]
    #[serde(default, deserialize_with = "list")]
    pub prices: Vec<Price>,
}

/// Name and description of an entitlement, whose reference id is the key in [`Catalogue::entitlements`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NewEntitlement")]
#[schemars(extend("examples" = [{ "name": "Gold", "description": "Everything without advertisements" }]))]
pub struct EntitlementText {
    /// Display name.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// Further details, for display.
    #[schemars(length(max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Reads null as an empty list.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Price>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A whole catalogue: entitlements by reference id, products by SKU.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Catalogue {
    pub entitlements: BTreeMap<String, EntitlementText>,
    pub products: BTreeMap<String, Product>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds an entitlement, or replaces its texts.
    SetEntitlement(String, EntitlementText),
    /// Removes an entitlement, also from the products that list it.
    DeleteEntitlement(String),
    /// Adds or replaces a product.
    SetProduct(String, Product),
    /// Adds or replaces a product, and adds an entitlement that it gives.
    SetProductWith {
        sku: String,
        product: Product,
        ref_id: String,
        text: EntitlementText,
    },
    DeleteProduct(String),
    Replace(Catalogue),
}

impl Change {
    const fn operation(&self) -> &'static str {
        match self {
            Self::SetEntitlement(..) => "entitlement.set",
            Self::DeleteEntitlement(_) => "entitlement.delete",
            Self::SetProduct(..) | Self::SetProductWith { .. } => "product.set",
            Self::DeleteProduct(_) => "product.delete",
            Self::Replace(_) => "catalogue.replace",
        }
    }

    /// Returns the subject of the audit entry: a reference id, a SKU, or the app for the whole catalogue.
    fn subject(&self, app: AppId) -> String {
        match self {
            Self::SetEntitlement(id, _) | Self::DeleteEntitlement(id) => id.clone(),
            Self::SetProduct(sku, _)
            | Self::SetProductWith { sku, .. }
            | Self::DeleteProduct(sku) => sku.clone(),
            Self::Replace(_) => app.to_string(),
        }
    }
}

/// Computes the id of an entitlement from the app and the reference id.
pub fn entitlement_id(app: AppId, ref_id: &str) -> Uuid {
    Uuid::new_v5(&app.uuid(), format!("entitlement/{ref_id}").as_bytes())
}

impl Catalogue {
    /// Returns an entitlement as events show it.
    pub fn entitlement(&self, app: AppId, ref_id: &str) -> Option<Entitlement> {
        let text = self.entitlements.get(ref_id)?;
        Some(Entitlement {
            description: text.description.clone(),
            entitlement_ref_id: ref_id.to_owned(),
            id: entitlement_id(app, ref_id),
            name: text.name.clone(),
            kind: Auth::BinaryAuth,
        })
    }

    fn change(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::SetEntitlement(ref_id, text) => drop(self.entitlements.insert(ref_id, text)),
            Change::DeleteEntitlement(ref_id) => {
                self.entitlements.remove(&ref_id).ok_or(Error::Missing {
                    what: "entitlement in the catalogue",
                })?;
                for product in self.products.values_mut() {
                    product.entitlements.retain(|listed| *listed != ref_id);
                }
            }
            Change::SetProduct(sku, product) => drop(self.products.insert(sku, product)),
            Change::SetProductWith {
                sku,
                mut product,
                ref_id,
                text,
            } => {
                if self.entitlements.contains_key(&ref_id) {
                    let detail = format!("the entitlement `{ref_id}` exists");
                    return Err(Error::Invalid {
                        field: NEW_ENTITLEMENT,
                        detail,
                    });
                }
                product.entitlements.push(ref_id.clone());
                self.entitlements.insert(ref_id, text);
                self.products.insert(sku, product);
            }
            Change::DeleteProduct(sku) => {
                self.products.remove(&sku).ok_or(Error::Missing {
                    what: "product in the catalogue",
                })?;
            }
            Change::Replace(catalogue) => *self = catalogue,
        }
        self.check()
    }

    /// Checks that the entitlements of products exist, and that there are not too many entitlements or products.
    fn check(&self) -> Result<(), Error> {
        let refused = |field, detail| Err(Error::Invalid { field, detail });
        for (sku, product) in &self.products {
            if let Some(wrong) = product
                .entitlements
                .iter()
                .find(|ref_id| !self.entitlements.contains_key(*ref_id))
            {
                let detail = format!(
                    "product `{sku}` lists `{wrong}`, which is not an entitlement of the app; set it first"
                );
                return refused("entitlements", detail);
            }
        }
        for (what, count) in [
            ("entitlements", self.entitlements.len()),
            ("products", self.products.len()),
        ] {
            if count > MAX_LISTED {
                return refused(
                    what,
                    format!("there would be {count}, but an app can have at most {MAX_LISTED}"),
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Catalogue, Change, EntitlementText, Product, affected};
    use std::collections::BTreeSet;

    fn catalogue() -> Catalogue {
        let named = |name: &str| EntitlementText {
            name: name.to_owned(),
            description: None,
        };
        let lists = |refs: &[&str]| Product {
            entitlements: refs.iter().map(|text| (*text).to_owned()).collect(),
            ..Product::default()
        };
        Catalogue {
            entitlements: [("gold", "Gold"), ("tv", "TV")]
                .map(|(id, name)| (id.to_owned(), named(name)))
                .into(),
            products: [
                ("month", lists(&["gold", "tv"])),
                ("year", lists(&["gold"])),
                ("tip", lists(&[])),
            ]
            .map(|(sku, product)| (sku.to_owned(), product))
            .into(),
        }
    }

    fn concerns(change: Change) -> BTreeSet<String> {
        let before = catalogue();
        let mut after = before.clone();
        after.change(change).unwrap();
        affected::skus(&before, &after)
    }

    #[test]
    fn a_change_concerns_the_products_whose_listing_it_changes() {
        let named = |name: &str| EntitlementText {
            name: name.to_owned(),
            description: None,
        };
        let all = |skus: &[&str]| {
            skus.iter()
                .map(|sku| (*sku).to_owned())
                .collect::<BTreeSet<_>>()
        };
        assert_eq!(
            concerns(Change::SetEntitlement("tv".to_owned(), named("Television"))),
            all(&["month"])
        );
        assert_eq!(
            concerns(Change::SetEntitlement("tv".to_owned(), named("TV"))),
            all(&[])
        );
        assert_eq!(
            concerns(Change::SetEntitlement("new".to_owned(), named("New"))),
            all(&[])
        );
        assert_eq!(
            concerns(Change::DeleteEntitlement("gold".to_owned())),
            all(&["month", "year"])
        );
        assert_eq!(
            concerns(Change::DeleteProduct("tip".to_owned())),
            all(&["tip"])
        );
        assert_eq!(
            concerns(Change::SetProduct("week".to_owned(), Product::default())),
            all(&["week"])
        );
        assert_eq!(concerns(Change::Replace(catalogue())), all(&[]));
        assert_eq!(
            concerns(Change::Replace(Catalogue::default())),
            all(&["month", "tip", "year"])
        );
        let renamed = Product {
            name: Some("A tip".to_owned()),
            ..Product::default()
        };
        assert_eq!(
            concerns(Change::SetProduct("tip".to_owned(), renamed)),
            all(&[]),
            "no event has a product's name"
        );
    }

    #[test]
    fn a_product_can_bring_an_entitlement() {
        let with = |ref_id: &str| Change::SetProductWith {
            sku: "week".to_owned(),
            product: Product {
                entitlements: vec!["gold".to_owned()],
                ..Product::default()
            },
            ref_id: ref_id.to_owned(),
            text: EntitlementText {
                name: "Silver".to_owned(),
                description: None,
            },
        };
        let mut after = catalogue();
        after.change(with("silver")).unwrap();
        assert_eq!(after.products["week"].entitlements, ["gold", "silver"]);
        assert_eq!(after.entitlements["silver"].name, "Silver");
        let mut unchanged = catalogue();
        let error = unchanged.change(with("tv")).unwrap_err().to_string();
        assert!(
            error.contains("`tv` exists") && unchanged == catalogue(),
            "{error}"
        );
    }

    #[test]
    fn a_product_lists_only_what_exists() {
        let product = Product {
            entitlements: vec!["silver".to_owned()],
            ..Product::default()
        };
        let error = catalogue()
            .change(Change::SetProduct("month".to_owned(), product))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`month`") && error.contains("`silver`"),
            "{error}"
        );
    }
}
