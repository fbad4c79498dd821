//! Reads entitlements, products and prices of a request.

use crate::resources::Fields;
use domain::catalogue::Price;
use rust_decimal::Decimal;
use std::convert::Infallible;
use std::str::FromStr;
use storage::{Named, Product};

/// The longest reference id, SKU or name, in characters.
const LONGEST: usize = 200;
/// The longest description.
const LONGEST_DESCRIPTION: usize = 1000;
/// A product has so many entitlements, and so many prices, at most.
const MOST: usize = 300;

/// A SKU or a reference id in a path: any text.
pub struct Sku(pub String);

impl FromStr for Sku {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// What an entitlement is called.
pub fn named(fields: &mut Fields) -> Named {
    let name = required(fields, "name");
    Named { name, description: fields.short_text("description", LONGEST_DESCRIPTION) }
}

/// A product.
pub fn product(fields: &mut Fields) -> Product {
    if !fields.has("entitlements") {
        fields.wrong("entitlements", "a list of the reference ids of entitlements, maybe empty; it is required");
    }
    let entitlements = fields.texts("entitlements").unwrap_or_default();
    let mut sorted = entitlements.clone();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != entitlements.len() || entitlements.len() > MOST {
        fields.wrong("entitlements", format!("each entitlement once, and at most {MOST}"));
    }
    let name = fields.short_text("name", LONGEST);
    let prices: Vec<Price> = fields.objects("prices", MOST, price).unwrap_or_default().into_iter().flatten().collect();
    if let Some(wrong) = twice(&prices) {
        fields.wrong("prices", wrong);
    }
    Product { name, entitlements, prices }
}

/// What is wrong with a list that has two prices of one country from the same time on.
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

/// An entitlement in a list.
pub fn listed_entitlement(fields: &mut Fields) -> (String, Named) {
    (required(fields, "ref"), named(fields))
}

/// A product in a list.
pub fn listed_product(fields: &mut Fields) -> (String, Product) {
    (required(fields, "sku"), product(fields))
}

/// Three capital letters, such as `EUR`; empty when it is not, which is noted.
pub fn currency(fields: &mut Fields) -> String {
    let currency = fields.required_text("currency");
    if !currency.is_empty() && !is_code(&currency, 3) {
        fields.wrong("currency", format!("three capital letters of ISO 4217, such as EUR, and it is `{currency}`"));
    }
    currency
}

/// A decimal that is not negative, written as text so that no digit is lost.
pub fn decimal(fields: &mut Fields, name: &'static str) -> Option<Decimal> {
    if !fields.has(name) {
        fields.wrong(name, "a decimal as text, such as \"9.99\"; it is required");
    }
    let decimal: Option<Decimal> = fields.parsed(name, "a decimal as text, such as \"9.99\"");
    if decimal.is_some_and(|decimal| decimal.is_sign_negative()) {
        fields.wrong(name, "a decimal that is not negative");
    }
    decimal
}

fn price(fields: &mut Fields) -> Option<Price> {
    let country = fields.text("country");
    if let Some(country) = &country
        && !is_code(country, 2)
    {
        fields.wrong("country", format!("two capital letters of ISO 3166, such as DE, and it is `{country}`"));
    }
    let currency = currency(fields);
    let since = fields.parsed("since", "a day such as 2026-03-01, which begins at midnight UTC, or a time in RFC 3339");
    decimal(fields, "price").map(|price| Price { country, currency, price, since })
}

fn required(fields: &mut Fields, name: &'static str) -> String {
    if !fields.has(name) {
        fields.wrong(name, format!("a text of 1 to {LONGEST} characters; it is required"));
    }
    fields.short_text(name, LONGEST).unwrap_or_default()
}

fn is_code(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_uppercase())
}
