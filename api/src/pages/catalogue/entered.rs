//! Converts products and entitlements to form fields, and back. This module is pure.

use crate::form::Sent;
use api::error::Field;
use serde_json::{Map, Value, json};
use storage::{EntitlementText, Product};

/// The field with the prices, one per line.
pub const PRICES: &str = "prices";
/// Placeholder for the country of a price that applies to all countries without a price of their own.
const EVERYWHERE: &str = "*";

pub type EnteredFields = Vec<(String, String)>;

fn pair(name: &str, value: impl Into<String>) -> (String, String) {
    (name.to_owned(), value.into())
}

pub fn of_product(sku: &str, product: Option<&Product>) -> EnteredFields {
    let mut fields = vec![pair("sku", sku)];
    let Some(product) = product else {
        return fields;
    };
    fields.extend(product.name.as_ref().map(|name| pair("name", name)));
    fields.extend(
        product
            .entitlements
            .iter()
            .map(|id| pair("entitlements", id)),
    );
    let lines = product.prices.iter().map(|price| {
        let price = json!(price);
        let parts = ["country", "currency", "price", "since"].map(|name| price[name].as_str());
        let shown = [
            Some(parts[0].unwrap_or(EVERYWHERE)),
            parts[1],
            parts[2],
            parts[3],
        ];
        shown.into_iter().flatten().collect::<Vec<_>>().join(" ")
    });
    fields.push(pair(PRICES, lines.collect::<Vec<_>>().join("\n")));
    fields
}

pub fn of_entitlement(id: &str, named: Option<&EntitlementText>) -> EnteredFields {
    let mut fields = vec![pair("ref", id)];
    if let Some(EntitlementText { name, description }) = named {
        fields.push(pair("name", name));
        fields.extend(description.as_ref().map(|text| pair("description", text)));
    }
    fields
}

/// Converts the fields of a product to the body of a request.
pub fn product(sent: &Sent) -> Map<String, Value> {
    let lines = sent
        .get(PRICES)
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let mut body = Map::new();
    body.extend(
        sent.get("name")
            .map(|name| ("name".to_owned(), json!(name))),
    );
    body.insert(
        "entitlements".to_owned(),
        sent.all("entitlements").collect(),
    );
    body.insert(PRICES.to_owned(), lines.map(price).collect());
    body
}

/// Parses a line with a price: country, currency, price, and the day from which it applies.
fn price(line: &str) -> Value {
    let mut parts = line.split_whitespace();
    let names = ["country", "currency", "price", "since"];
    let pairs = names
        .into_iter()
        .zip(parts.by_ref())
        .filter(|(name, text)| *name != "country" || *text != EVERYWHERE);
    let mut price: Map<String, Value> = pairs
        .map(|(name, text)| (name.to_owned(), json!(text)))
        .collect();
    // The rest of the line becomes an unknown field, which the API refuses.
    price.extend(parts.next().map(|rest| (rest.to_owned(), Value::Null)));
    Value::Object(price)
}

/// Converts the fields of an entitlement to the body of a request.
pub fn entitlement(sent: &Sent) -> Map<String, Value> {
    let fields = ["name", "description"]
        .into_iter()
        .filter_map(|name| Some((name, sent.get(name)?)));
    fields
        .map(|(name, text)| (name.to_owned(), json!(text)))
        .collect()
}

/// Renames errors in prices by their lines in the form: the first price is line 1.
pub fn named(wrong: Vec<Field>) -> Vec<Field> {
    let named = |one: Field| {
        let rest = one
            .field
            .strip_prefix("prices[")
            .and_then(|rest| rest.split_once(']'));
        let line = rest.and_then(|(number, name)| {
            Some((number.parse::<usize>().ok()?, name.trim_start_matches('.')))
        });
        match line {
            Some((number, name)) => {
                let expected = format!("in line {}, `{name}`: {}", number + 1, one.expected);
                Field {
                    field: PRICES.to_owned(),
                    expected,
                }
            }
            None => one,
        }
    };
    wrong.into_iter().map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_the_same_after_its_form() {
        let product: Product = serde_json::from_value(json!({
            "name": "Gold", "entitlements": ["gold", "silver"],
            "prices": [{ "currency": "USD", "price": "4.99" },
                { "country": "DE", "currency": "EUR", "price": "4.49", "since": "2026-03-01" }],
        }))
        .unwrap();
        let fields = of_product("com.example.gold", Some(&product));
        assert_eq!(
            fields.last().unwrap().1,
            "* USD 4.99\nDE EUR 4.49 2026-03-01"
        );
        let text = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&fields)
            .finish();
        let body = super::product(&Sent::parse(text.as_bytes()));
        assert_eq!(
            serde_json::from_value::<Product>(Value::Object(body)).unwrap(),
            product
        );
    }

    #[test]
    fn what_stands_behind_a_price_is_not_lost() {
        let body = product(&Sent::parse(b"prices=DE+EUR+4.99+2026-03-01+more"));
        assert!(body["prices"][0].get("more").is_some());
    }

    #[test]
    fn a_wrong_price_is_named_by_its_line() {
        let wrong = vec![Field {
            field: "prices[1].currency".to_owned(),
            expected: "a currency".to_owned(),
        }];
        assert_eq!(
            named(wrong)[0].expected,
            "in line 2, `currency`: a currency"
        );
    }
}
