//! What the company that runs the installation defines about its products: entitlements and prices.

use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// Something that a purchase grants to its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entitlement {
    /// Further details, for display.
    pub description: Option<String>,
    /// Reference id: the entitlement's name in your own system.
    pub entitlement_ref_id: String,
    /// settle's id for the entitlement.
    pub id: Uuid,
    /// Display name.
    pub name: String,
    /// Always `binary_auth`: on or off.
    #[serde(rename = "type")]
    pub kind: Auth,
}

/// How an entitlement controls access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// On or off.
    #[default]
    BinaryAuth,
}

/// A price of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Price {
    /// ISO 3166 code of the country: two letters; absent for all countries without a price of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "country"))]
    pub country: Option<String>,
    /// ISO 4217 code: three letters.
    #[schemars(extend("format" = "currency"))]
    pub currency: String,
    /// Price of one term: a decimal, as text.
    #[schemars(with = "String", extend("format" = "decimal"))]
    pub price: Decimal,
    /// When the price takes effect. It applies to plans that start from then on, until the next price of the same
    /// country; absent for always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "since"))]
    pub since: Option<Since>,
}

/// The instant from which a price applies. Midnight UTC is written as a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Since(Timestamp);

/// A text that was expected to be a day or an instant and is neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a day, such as 2026-03-01, nor a time in RFC 3339")]
pub struct InvalidSince(String);

/// Midnight UTC, as [`Timestamp`] writes the time of day.
const MIDNIGHT: &str = "T00:00:00.000000Z";

/// Source of a price.
// In ascending precedence; the rule is in `event/price.rs`. Not a doc comment, because the events' schema would show
// it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PriceSource {
    /// Price list in the catalogue.
    Catalogue,
    /// Device on which the purchase was made, by a claim that the store confirmed.
    Device,
    /// Store that reports the price of each payment. Amazon does not.
    Store,
    /// The store's sales report.
    Report,
}

impl Since {
    pub const fn at(self) -> Timestamp {
        self.0
    }
}

impl fmt::Display for Since {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        f.write_str(text.strip_suffix(MIDNIGHT).unwrap_or(&text))
    }
}

impl FromStr for Since {
    type Err = InvalidSince;

    fn from_str(text: &str) -> Result<Self, InvalidSince> {
        let day = || format!("{text}{MIDNIGHT}").parse();
        text.parse()
            .or_else(|_| day())
            .map(Self)
            .map_err(|_| InvalidSince(text.to_owned()))
    }
}

impl Serialize for Since {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Since {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The catalogue's entry for the product of one purchase. The default stands for a product that the catalogue does not
/// list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Entitlements of the product, in the order of the catalogue.
    pub entitlements: Vec<Entitlement>,
    /// Prices by country and date.
    pub prices: Vec<Price>,
}

/// The SKU of a subscription that is its `product_ref_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProductRef {
    /// SKU of the term that the customer bought.
    #[default]
    Term,
    /// Parent SKU, shared by all terms.
    Parent,
}
