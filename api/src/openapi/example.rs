//! Examples of responses, generated from their schemas.

use crate::extract::formats;
use crate::stores::ALL;
use serde_json::{Map, Value, json};

/// Examples for text fields without a format, by field name.
const TEXTS: [(&str, &str); 57] = [
    ("actor", "anna (help desk)"),
    ("amount", "9.99 USD"),
    (
        "app_user_id",
        "l3HL7XppEMhrOGDnur9-ulvqomrSg6qyODKmah76lJU=",
    ),
    ("app_version", "2.4.0"),
    ("arn", "arn:aws:sns:us-east-1:123456789012:purchases"),
    ("campaign", "spring"),
    ("charged_usd", "9.99"),
    ("class", "success"),
    ("collapse_key", "2097e0f2-cb85-513a-8054-69bb61f7cf43"),
    ("country", "DE"),
    ("currency", "EUR"),
    ("current_term_length", "P1M"),
    ("day", "2026-01-31"),
    ("did_you_mean", "cust-1003"),
    ("entitlement_ref_id", "premium"),
    ("event_platform", ALL[0].name),
    ("event_type", "purchase.updated"),
    ("events", "purchase.updated"),
    ("external_id", "anna@example.com"),
    ("inbox", "ok"),
    (
        "key",
        "sk_6b275a670bbb4f3a99b96600bf711993_0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0",
    ),
    ("marketplace_app_id", "com.example.reader"),
    ("message_id", "d3b7f0a2-2f3e-5c1b-9b1e-6f6a2d6f2c11"),
    ("month", "2026-11"),
    ("name", "reader"),
    ("on", "2026-01-31"),
    ("operation", "destination.update"),
    ("package_name", "com.example.reader"),
    ("paid_by_others_usd", "0"),
    ("paywall", "welcome"),
    ("placement", "onboarding"),
    ("platform_type", ALL[0].name),
    ("price", "9.99"),
    ("price_in_usd", "9.99"),
    ("product_ref_id", "com.example.reader.month"),
    ("purchase_country", "DE"),
    ("purchase_currency", "EUR"),
    (
        "purchase_guid",
        "q1YqVbJSyjH28DGPKChw9c0o8nd3ySststQtzSkrzM8tCk43K6z0d_HOTcwwN8vxCrVqoFYMzTGG6w",
    ),
    ("purchase_platform", ALL[0].name),
    ("purchase_price", "9.99"),
    ("refunded_amount", "9.99"),
    ("refunded_usd", "0"),
    ("rate_day", "2026-01-31"),
    (
        "receipt_id",
        "q1YqVbJSyjH28DGPKChw9c0o8nd3ySststQtzSkrzM8tCk43K6z0d_HOTcwwN8vxCrVqoFYMzTGG6w",
    ),
    ("sdk_version", "1.2.0"),
    ("signal", "flush"),
    ("sku", "com.example.reader.month"),
    ("sku_ref_id", "com.example.reader.month"),
    ("state", "active"),
    (
        "state_digest",
        "421c2a5d963f847777a3655d374770d70181915ac641dcdf009c2f62a908fc4b",
    ),
    ("status", "delivered"),
    ("subject", "6b275a67-0bbb-4f3a-99b9-6600bf711993"),
    ("tax", "1.60"),
    (
        "transaction_id",
        "q1YqVbJSyjH28DGPKChw9c0o8nd3ySststQtzSkrzM8tCk43K6z0d_HOTcwwN8vxCrVqoFYMzTGG6w",
    ),
    ("type", "purchase.updated"),
    ("unconfirmed_usd", "9.99"),
    ("usd", "-9.99"),
];

/// Generates examples for schemas that refer to these definitions.
pub struct Examples<'a> {
    definitions: &'a Map<String, Value>,
    /// Definitions that are being expanded, to stop at recursive ones.
    expanding: Vec<&'a str>,
}

impl<'a> Examples<'a> {
    /// Creates a generator for schemas that refer to these definitions.
    pub const fn new(definitions: &'a Map<String, Value>) -> Self {
        Self {
            definitions,
            expanding: Vec::new(),
        }
    }

    /// Returns an example for the schema of a field. `name` is the field's name. A recursive definition becomes null.
    pub fn of(&mut self, schema: &Value, name: &str) -> Value {
        let reference = schema["$ref"]
            .as_str()
            .and_then(|path| path.rsplit('/').next());
        let definition = reference.and_then(|name| self.definitions.get_key_value(name));
        if let Some((reference, definition)) = definition {
            if self.expanding.contains(&reference.as_str()) {
                return Value::Null;
            }
            self.expanding.push(reference);
            let example = self.of(definition, name);
            self.expanding.pop();
            return example;
        }
        let objects = schema["oneOf"]
            .get(0)
            .filter(|one| one["properties"].is_object());
        if let Some(first) = schema["anyOf"].get(0).or(objects) {
            return self.of(first, name);
        }
        if let Some(properties) = schema["properties"].as_object() {
            return properties
                .iter()
                .map(|(name, property)| (name.clone(), self.of(property, name)))
                .collect();
        }
        if let Some(items) = schema["prefixItems"].as_array() {
            return items.iter().map(|item| self.of(item, name)).collect();
        }
        if let Some(items) = schema.get("items") {
            return Value::Array(
                Some(self.of(items, name))
                    .into_iter()
                    .filter(|item| !item.is_null())
                    .collect(),
            );
        }
        let known = TEXTS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, text)| json!(text));
        match (known, formats::example(schema)) {
            (Some(known), example) if example == "text" => known,
            (_, example) => example,
        }
    }
}
