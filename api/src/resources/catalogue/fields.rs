//! Entitlements, products and prices in requests.

use crate::extract::FieldErrors;
use domain::catalogue::Price;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;
use storage::{EntitlementText, MAX_PER_PRODUCT};

/// A SKU or reference id in a path: any text.
#[derive(JsonSchema)]
#[schemars(inline)]
pub struct Sku(pub String);

impl FromStr for Sku {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// An entitlement in the catalogue.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListedEntitlement {
    /// Reference id: the entitlement's name in your own system.
    #[schemars(length(min = 1, max = 200))]
    #[serde(rename = "ref")]
    reference: String,
    /// Name and description of the entitlement.
    #[serde(flatten)]
    named: EntitlementText,
}

/// A product in the catalogue.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Product {
    /// SKU of the product.
    #[schemars(length(min = 1, max = 200))]
    sku: String,
    /// Entitlements and prices of the product.
    #[serde(flatten)]
    product: storage::Product,
}

/// A complete catalogue.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "entitlements": [{ "ref": "gold", "name": "Gold" }],
    "products": [{ "sku": "com.example.reader.month", "entitlements": ["gold"] }],
}]))]
pub struct Catalogue {
    /// All entitlements of the app.
    #[schemars(extend("maxItems" = storage::MAX_LISTED))]
    entitlements: Vec<ListedEntitlement>,
    /// All products of the app.
    #[schemars(extend("maxItems" = storage::MAX_LISTED))]
    products: Vec<Product>,
}

/// Checks the rules for a product that its schema cannot express. `place` is the prefix of the field names in errors.
pub fn check(product: &storage::Product, place: &str, wrong: &mut FieldErrors) {
    let mut sorted = product.entitlements.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != product.entitlements.len() || sorted.len() > MAX_PER_PRODUCT {
        wrong.add(
            &format!("{place}entitlements"),
            format!("each entitlement once, and at most {MAX_PER_PRODUCT}"),
        );
    }
    if let Some(error) = duplicate_price(&product.prices) {
        wrong.add(&format!("{place}prices"), error);
    }
}

impl Product {
    pub fn new(sku: &str, product: &storage::Product) -> Self {
        Self {
            sku: sku.to_owned(),
            product: product.clone(),
        }
    }
}

impl Catalogue {
    pub fn check(&self, wrong: &mut FieldErrors) {
        let ids: Vec<&String> = self.entitlements.iter().map(|one| &one.reference).collect();
        for (at, id) in duplicates(&ids) {
            wrong.add(
                &format!("entitlements[{at}].ref"),
                format!("each entitlement once, but `{id}` appears twice"),
            );
        }
        let skus: Vec<&String> = self.products.iter().map(|one| &one.sku).collect();
        for (at, sku) in duplicates(&skus) {
            wrong.add(
                &format!("products[{at}].sku"),
                format!("each product once, but `{sku}` appears twice"),
            );
        }
        for (at, product) in self.products.iter().enumerate() {
            check(&product.product, &format!("products[{at}]."), wrong);
        }
    }
}

impl From<Catalogue> for storage::Catalogue {
    fn from(
        Catalogue {
            entitlements,
            products,
        }: Catalogue,
    ) -> Self {
        Self {
            entitlements: entitlements
                .into_iter()
                .map(|one| (one.reference, one.named))
                .collect(),
            products: products
                .into_iter()
                .map(|one| (one.sku, one.product))
                .collect(),
        }
    }
}

impl From<storage::Catalogue> for Catalogue {
    fn from(
        storage::Catalogue {
            entitlements,
            products,
        }: storage::Catalogue,
    ) -> Self {
        let entitlements = entitlements
            .into_iter()
            .map(|(reference, named)| ListedEntitlement { reference, named });
        let products = products
            .into_iter()
            .map(|(sku, product)| Product { sku, product });
        Self {
            entitlements: entitlements.collect(),
            products: products.collect(),
        }
    }
}

/// Returns the names that occur earlier in the list, with the positions of the repeated ones.
fn duplicates<'a>(names: &[&'a String]) -> Vec<(usize, &'a String)> {
    let mut first = BTreeMap::new();
    let all = names.iter().enumerate();
    all.filter(|(at, name)| *first.entry(**name).or_insert(*at) != *at)
        .map(|(at, name)| (at, *name))
        .collect()
}

/// Returns the error for a list in which two prices have the same country and `since`; `None` if there are none.
fn duplicate_price(prices: &[Price]) -> Option<String> {
    let mut held: Vec<_> = prices
        .iter()
        .map(|price| (&price.country, price.since))
        .collect();
    held.sort_unstable();
    let (country, since) = held
        .windows(2)
        .find(|pair| pair[0] == pair[1])
        .map(|pair| pair[0])?;
    let place = country.as_ref().map_or_else(
        || "without a country".to_owned(),
        |country| format!("of {country}"),
    );
    let time = since.map_or_else(
        || "without `since`".to_owned(),
        |since| format!("since {since}"),
    );
    Some(format!(
        "one price per country and at most one without a country, or several with different `since`; two {place} are \
         {time}"
    ))
}
