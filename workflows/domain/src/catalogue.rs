//! What the installation's owner says about products: entitlements, prices, and rates of exchange.

use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Something that a purchase entitles its owner to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entitlement {
    /// More about it, for people.
    pub description: Option<String>,
    /// Its name in the owner's own system.
    pub entitlement_ref_id: String,
    /// Its id.
    pub id: Uuid,
    /// A name for people.
    pub name: String,
    /// Always `binary_auth`: on or off.
    #[serde(rename = "type")]
    pub kind: Auth,
}

/// How an entitlement gates access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// On or off.
    #[default]
    BinaryAuth,
}

/// What a product costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Where, two letters; everywhere that no other price names when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// ISO 4217, three letters.
    pub currency: String,
    /// One term of it. A decimal, written as text.
    pub price: Decimal,
}

/// What the catalogue says about the product of one purchase. The default is a product that it does not list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// What it entitles to, in the order of the catalogue.
    pub entitlements: Vec<Entitlement>,
    /// What it costs where.
    pub prices: Vec<Price>,
}

/// Which SKU of a subscription is its `product_ref_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProductRef {
    /// The term's, which the customer bought.
    #[default]
    Term,
    /// The parent's, which all its terms share.
    Parent,
}
