//! Entitlements, products and prices as requests give them.

use crate::extract::FieldErrors;
use domain::catalogue::Price;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::str::FromStr;
use storage::Named;

/// Maximum number of entitlements, and of prices, of a product.
const MOST: usize = 300;

/// A SKU or a reference id in a path: any text.
#[derive(JsonSchema)]
#[schemars(inline)]
pub struct Sku(pub String);

impl FromStr for Sku {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// An entitlement.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{ "name": "Gold", "description": "Everything without advertisements" }]))]
pub struct NewEntitlement {
    /// A name for people.
    #[schemars(length(min = 1, max = 200))]
    name: String,
    /// More about it, for people.
    #[schemars(length(max = 1000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
}

/// An entitlement of the catalogue.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct ListedEntitlement {
    /// Its name in the owner's own system.
    #[schemars(length(min = 1, max = 200))]
    #[serde(rename = "ref")]
    reference: String,
    /// Its name and description.
    #[serde(flatten)]
    named: NewEntitlement,
}

/// A product's entitlements and prices.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [
    { "name": "Monthly", "entitlements": ["gold"], "prices": [{ "country": "DE", "currency": "EUR", "price": "9.99" }] },
]))]
pub struct NewProduct {
    /// A name for people.
    #[schemars(length(min = 1, max = 200))]
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// The reference ids of its entitlements, each once.
    #[schemars(extend("x-expected" = "a list of the reference ids of entitlements, maybe empty"))]
    entitlements: Vec<String>,
    /// Its prices: one per country, and one at most without a country, or several with another `since` each.
    #[schemars(extend("maxItems" = MOST))]
    #[serde(default, deserialize_with = "list")]
    prices: Vec<Price>,
}

/// A product of the catalogue.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct Product {
    /// Its SKU.
    #[schemars(length(min = 1, max = 200))]
    sku: String,
    /// Its entitlements and prices.
    #[serde(flatten)]
    product: NewProduct,
}

/// A catalogue as a whole.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("examples" = [{
    "entitlements": [{ "ref": "gold", "name": "Gold" }],
    "products": [{ "sku": "com.example.reader.month", "entitlements": ["gold"] }],
}]))]
pub struct Catalogue {
    /// The entitlements.
    #[schemars(extend("maxItems" = storage::MOST_LISTED))]
    entitlements: Vec<ListedEntitlement>,
    /// The products.
    #[schemars(extend("maxItems" = storage::MOST_LISTED))]
    products: Vec<Product>,
}

/// Reads null as an empty list.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Price>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl NewProduct {
    /// Checks more than the types of its fields. `place` is the prefix of the names of fields.
    pub fn check(&self, place: &str, wrong: &mut FieldErrors) {
        let mut sorted = self.entitlements.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted.len() != self.entitlements.len() || sorted.len() > MOST {
            wrong.add(&format!("{place}entitlements"), format!("each entitlement once, and at most {MOST}"));
        }
        if let Some(complaint) = twice(&self.prices) {
            wrong.add(&format!("{place}prices"), complaint);
        }
    }
}

impl Product {
    /// A product as it is shown.
    #[must_use]
    pub fn new(sku: &str, product: &storage::Product) -> Self {
        let storage::Product { name, entitlements, prices } = product.clone();
        Self { sku: sku.to_owned(), product: NewProduct { name, entitlements, prices } }
    }
}

impl Catalogue {
    /// Checks more than the types of its fields.
    pub fn check(&self, wrong: &mut FieldErrors) {
        let ids: Vec<&String> = self.entitlements.iter().map(|one| &one.reference).collect();
        for (at, id) in repeated(&ids) {
            wrong.add(&format!("entitlements[{at}].ref"), format!("each entitlement once, and `{id}` comes twice"));
        }
        let skus: Vec<&String> = self.products.iter().map(|one| &one.sku).collect();
        for (at, sku) in repeated(&skus) {
            wrong.add(&format!("products[{at}].sku"), format!("each product once, and `{sku}` comes twice"));
        }
        for (at, product) in self.products.iter().enumerate() {
            product.product.check(&format!("products[{at}]."), wrong);
        }
    }
}

impl From<NewEntitlement> for Named {
    fn from(NewEntitlement { name, description }: NewEntitlement) -> Self {
        Self { name, description }
    }
}

impl From<NewProduct> for storage::Product {
    fn from(NewProduct { name, entitlements, prices }: NewProduct) -> Self {
        Self { name, entitlements, prices }
    }
}

impl From<Catalogue> for storage::Catalogue {
    fn from(Catalogue { entitlements, products }: Catalogue) -> Self {
        Self {
            entitlements: entitlements.into_iter().map(|one| (one.reference, one.named.into())).collect(),
            products: products.into_iter().map(|one| (one.sku, one.product.into())).collect(),
        }
    }
}

impl From<storage::Catalogue> for Catalogue {
    fn from(storage::Catalogue { entitlements, products }: storage::Catalogue) -> Self {
        let listed = |(reference, Named { name, description }): (String, Named)| ListedEntitlement {
            reference,
            named: NewEntitlement { name, description },
        };
        Self {
            entitlements: entitlements.into_iter().map(listed).collect(),
            products: products.iter().map(|(sku, product)| Product::new(sku, product)).collect(),
        }
    }
}

/// The repeated names, with their places.
fn repeated<'a>(names: &[&'a String]) -> Vec<(usize, &'a String)> {
    let mut first = BTreeMap::new();
    let all = names.iter().enumerate();
    all.filter(|(at, name)| *first.entry(**name).or_insert(*at) != *at).map(|(at, name)| (at, *name)).collect()
}

/// The complaint about a list with two prices of one country from the same time on.
fn twice(prices: &[Price]) -> Option<String> {
    let mut held: Vec<_> = prices.iter().map(|price| (&price.country, price.since)).collect();
    held.sort_unstable();
    let (country, since) = held.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])?;
    let place = country.as_ref().map_or_else(|| "without a country".to_owned(), |country| format!("of {country}"));
    let time = since.map_or_else(|| "without `since`".to_owned(), |since| format!("since {since}"));
    Some(format!(
        "one price per country, and one at most without a country, or several with another `since` each; \
         two {place} are {time}"
    ))
}
