//! A changed field of the record, in readable form. This module is pure.

use super::cell::CellPart;
use super::parts::Sentence;
use super::text::{PURCHASE_ID, capital};
use serde_json::Value;

/// A changed field. `field` is its name in the API, shown as a hint.
pub struct Changed {
    pub field: String,
    pub label: String,
    pub before: CellPart,
    pub after: CellPart,
}

/// Labels for fields whose names alone are unclear.
const LABELS: &[(&str, &str)] = &[
    ("canceled_at", "Renewal off since"),
    ("current_term_length", "Term"),
    ("expiration_reason", "Reason of the end"),
    ("expires_at", "Ends or renews"),
    ("is_active", "Gives access"),
    ("is_auto_renewable", "Renews"),
    ("is_free_trial_conversion", "Trial became paid"),
    ("is_in_intro_offer_period", "Introductory price"),
    ("is_in_trial_period", "In a trial"),
    ("is_production", "Production purchase"),
    ("last_seen_device_id", "Device seen last"),
    ("last_seen_external_id", "Customer"),
    ("not_before", "Began"),
    ("original_purchase_guid", "Purchase that it replaced"),
    ("payment_issues_began_at", "Payment failed"),
    ("pending_at", "Change of plan on"),
    ("pending_sku_ref_id", "Next SKU"),
    ("platform_type", "Store"),
    ("previous_sku_ref_id", "SKU before"),
    ("price_in_usd", "Price in USD"),
    ("product_ref_id", "SKU"),
    ("purchase_guid", PURCHASE_ID),
    ("transaction_id", "Latest payment"),
    ("verified", "Confirmed by the store"),
];

impl Changed {
    /// Returns a field of the record, with its values before and after the change.
    pub fn of(field: &str, before: &Value, after: &Value) -> Self {
        let label = LABELS
            .iter()
            .find(|(name, _)| *name == field)
            .map(|(_, label)| (*label).to_owned());
        let (mut texts, values) = ([plain(before), plain(after)], [before, after]);
        if texts[0] == texts[1] {
            // The readable texts are equal because they omit what differs.
            texts = values.map(Value::to_string);
        }
        let [before, after] = texts.map(part);
        Self {
            label: label.unwrap_or_else(|| capital(&field.replace('_', " "))),
            field: field.to_owned(),
            before,
            after,
        }
    }
}

/// Returns a text with its times and ids marked up. A text with backticks is not marked up, since they do not mean
/// code.
fn part(text: String) -> CellPart {
    if text.contains('`') {
        CellPart::Text(text)
    } else {
        CellPart::Sentence(Sentence::new(&text))
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "–".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "none".to_owned(),
        Value::Array(all) => all.iter().map(item).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

/// Returns one item of a list as text: an entitlement by its name, a device by its id and its last activity.
fn item(value: &Value) -> String {
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    match (text("name"), text("id"), text("last_active")) {
        (Some(name), ..) => name.to_owned(),
        (None, Some(id), Some(at)) => format!("device {id}, last active {at}"),
        _ => plain(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(part: &CellPart) -> String {
        match part {
            CellPart::Text(text) => text.clone(),
            CellPart::Sentence(sentence) => sentence.plain(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_change_is_for_people() {
        let id = "6b275a67-0bbb-4f3a-99b9-6600bf711993";
        let device =
            json!([{ "id": id, "claim_type": "purchase", "last_active": "2026-12-01T00:00:00Z" }]);
        for (field, before, after, expected) in [
            (
                "is_active",
                json!(true),
                json!(false),
                ["Gives access", "yes", "no"],
            ),
            (
                "is_production",
                json!(false),
                json!(true),
                ["Production purchase", "no", "yes"],
            ),
            (
                "canceled_at",
                Value::Null,
                json!("no time"),
                ["Renewal off since", "–", "no time"],
            ),
            (
                "entitlements",
                json!([]),
                json!([{ "id": "x", "name": "Gold" }]),
                ["Entitlements", "none", "Gold"],
            ),
            (
                "billing_cycles",
                json!(1),
                json!(2),
                ["Billing cycles", "1", "2"],
            ),
            (
                "purchase_country",
                json!("a `b`"),
                Value::Null,
                ["Purchase country", "a `b`", "–"],
            ),
        ] {
            let change = Changed::of(field, &before, &after);
            assert_eq!(
                [
                    change.label.clone(),
                    text(&change.before),
                    text(&change.after)
                ],
                expected
            );
        }
        let change = Changed::of("devices_with_access", &json!([]), &device);
        let shown = text(&change.after);
        assert!(
            shown.starts_with(&format!("device {id}, last active 2026-12-01T00:00:00")),
            "{shown}"
        );
        assert_eq!(
            (change.label.as_str(), change.field.as_str()),
            ("Devices with access", "devices_with_access")
        );
    }

    #[test]
    fn what_the_texts_leave_out_is_shown_as_it_is() {
        let gold = |about: &str| json!([{ "name": "Gold", "description": about }]);
        let change = Changed::of("entitlements", &gold("a"), &gold("b"));
        assert!(text(&change.before).contains("\"a\"") && text(&change.after).contains("\"b\""));
    }
}
