//! Sentences about whether a purchase gives access, and why not. Pure.

use super::standing::{Record, last_end};
use domain::user::CustomerPurchase;
use domain::{CollapseKey, Environment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use storage::PurchaseView;

impl Record {
    /// Returns whether the purchase gives access. `is_unlisted`: its product is not in the catalogue.
    pub(super) fn access(&self, is_active: Option<bool>, is_unlisted: bool) -> String {
        match (is_active, self.entitlements.is_empty()) {
            (None, _) => {
                "Access: not known yet, because the store has not confirmed the purchase".to_owned()
            }
            (Some(false), _) => "Access: no".to_owned(),
            (Some(true), false) => "Access: yes".to_owned(),
            (Some(true), true) if self.product_type.as_deref() == Some("consumable") => {
                "A one-time product that gives no access".to_owned()
            }
            (Some(true), true) => match &self.product_ref_id {
                Some(sku) if is_unlisted => self.unlisted(sku),
                Some(sku) => {
                    format!("Access: no, because the catalogue has no entitlement for `{sku}`")
                }
                None => "Access: no, because the product is not known yet".to_owned(),
            },
        }
    }

    fn unlisted(&self, sku: &str) -> String {
        let is_paid = self.is_in_trial_period != Some(true) && !self.is_test();
        format!(
            "{}, but no access: `{sku}` is not in the catalogue",
            if is_paid { "Paid" } else { "Bought" }
        )
    }
}

/// Returns the product of an active purchase whose product is not in the catalogue, and the sentence that it gives no
/// access. `None` for a consumable.
fn unlisted_product(view: &PurchaseView) -> Option<(String, String)> {
    let record = Record::of(view);
    let sku = record
        .product_ref_id
        .clone()
        .filter(|_| record.product_type.as_deref() != Some("consumable"))?;
    let sentence = record.unlisted(&sku);
    Some((sku, sentence))
}

/// A bought product that gives no access because it is not in the catalogue.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnlistedProduct {
    /// SKU of the product.
    pub sku: String,
    /// Statement that the product gives no access, without a full stop.
    pub summary: String,
}

/// Returns the products that a customer bought in an environment and that are not in the catalogue, without duplicates.
/// The parameters are those of [`no_access`].
pub fn unlisted_products(
    environment: Environment,
    views: &[PurchaseView],
    counted: &[CustomerPurchase],
    unlisted: &BTreeSet<CollapseKey>,
) -> Vec<UnlistedProduct> {
    let own = |view: &&PurchaseView| {
        let is_here = |one: &CustomerPurchase| {
            one.collapse_key == view.collapse_key && one.environment == environment
        };
        unlisted.contains(&view.collapse_key) && counted.iter().any(is_here)
    };
    let products = views.iter().filter(own).filter_map(unlisted_product);
    let products: BTreeMap<String, String> = products.collect();
    products
        .into_iter()
        .map(|(sku, summary)| UnlistedProduct { sku, summary })
        .collect()
}

/// Returns a sentence on why a customer has no access in an environment. `counted` has all of the customer's purchases,
/// `views` the most recently settled ones, and `unlisted` the active ones whose product is not in the catalogue.
pub fn no_access(
    environment: Environment,
    views: &[PurchaseView],
    counted: &[CustomerPurchase],
    unlisted: &BTreeSet<CollapseKey>,
) -> String {
    let own = || counted.iter().filter(|one| one.environment == environment);
    let is_unlisted = |view: &&PurchaseView| {
        unlisted.contains(&view.collapse_key)
            && own().any(|one| one.collapse_key == view.collapse_key)
    };
    if let Some((_, sentence)) = views.iter().filter(is_unlisted).find_map(unlisted_product) {
        return format!("{sentence}.");
    }
    let because = match own().map(|one| one.is_active).max() {
        None if counted.is_empty() => "No purchase is known.",
        None if environment == Environment::Sandbox => "No test purchase is known.",
        None => "Only test purchases are known.",
        Some(Some(true)) => "The catalogue has no entitlements for the active products.",
        Some(_) => "No purchase gives access now. The reason is shown with each purchase below.",
    };
    last_end(views, counted, environment).unwrap_or_else(|| because.to_owned())
}

#[cfg(test)]
mod tests {
    use super::Record;

    fn record(fields: serde_json::Value) -> Record {
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn no_access_has_a_reason() {
        let sku = record(serde_json::json!({ "product_ref_id": "gold" }));
        assert_eq!(
            sku.access(Some(true), false),
            "Access: no, because the catalogue has no entitlement for `gold`"
        );
        assert_eq!(
            sku.access(Some(true), true),
            "Paid, but no access: `gold` is not in the catalogue"
        );
        assert_eq!(sku.access(Some(false), true), "Access: no");
        assert!(sku.access(None, true).contains("not known yet"));
        let trial =
            record(serde_json::json!({ "product_ref_id": "gold", "is_in_trial_period": true }));
        assert_eq!(
            trial.access(Some(true), true),
            "Bought, but no access: `gold` is not in the catalogue"
        );
        let coins =
            record(serde_json::json!({ "product_ref_id": "coins", "product_type": "consumable" }));
        assert_eq!(
            coins.access(Some(true), true),
            "A one-time product that gives no access"
        );
    }
}
