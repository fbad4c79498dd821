//! Parses a one-time purchase, the resource `ProductPurchaseV2`
//! (<https://developers.google.com/android-publisher/api-ref/rest/v3/purchases.productsv2>).

use super::customer::named;
use super::money::is_code;
use super::shown::{PurchaseKind, PurchaseStage, Renewal, ShownItem, ShownPurchase};
use super::subscription::is_acknowledged;
use crate::stores::CustomerName;
use domain::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Product {
    purchase_state_context: StateContext,
    purchase_completion_time: Option<Timestamp>,
    order_id: Option<String>,
    region_code: Option<String>,
    acknowledgement_state: Option<String>,
    /// Present only for a tester's purchase.
    test_purchase_context: Option<IgnoredAny>,
    obfuscated_external_account_id: Option<String>,
    #[serde(default)]
    product_line_item: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StateContext {
    purchase_state: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    product_id: String,
    #[serde(default)]
    product_offer_details: OfferDetails,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfferDetails {
    offer_id: Option<String>,
    purchase_option_id: Option<String>,
    quantity: Option<u32>,
    refundable_quantity: Option<u32>,
    consumption_state: Option<String>,
}

impl Product {
    /// Returns the customer, by the account id that the app passed.
    pub fn customer(&self) -> Option<CustomerName> {
        named(self.obfuscated_external_account_id.as_deref())
    }

    /// Returns the purchase, without its order; `None` if this version does not know the purchase's state.
    pub fn shown(self, at: Timestamp) -> Option<ShownPurchase> {
        let stage = match self.purchase_state_context.purchase_state.as_str() {
            "PENDING" => PurchaseStage::Pending,
            "PURCHASED" => PurchaseStage::Active,
            "CANCELLED" => PurchaseStage::Voided,
            _ => return None,
        };
        let order = self.order_id;
        let items = self.product_line_item.into_iter();
        Some(ShownPurchase {
            at,
            kind: PurchaseKind::OneTime,
            stage,
            started_at: self.purchase_completion_time,
            country: self.region_code.filter(|code| is_code(code, 2)),
            is_acknowledged: is_acknowledged(self.acknowledgement_state.as_deref()),
            is_test: self.test_purchase_context.is_some(),
            items: items.map(|item| item.shown(order.clone())).collect(),
            orders: Vec::new(),
            cancellation: None,
            resumes_at: None,
            unpaid_order: None,
            term: None,
            linked: None,
            former: None,
        })
    }
}

impl Item {
    fn shown(self, order_id: Option<String>) -> ShownItem {
        let details = self.product_offer_details;
        let is_consumed = match details.consumption_state.as_deref() {
            Some("CONSUMPTION_STATE_CONSUMED") => Some(true),
            Some("CONSUMPTION_STATE_YET_TO_BE_CONSUMED") => Some(false),
            _ => None,
        };
        ShownItem {
            product_id: self.product_id,
            plan_id: details.purchase_option_id,
            offer_id: details.offer_id,
            expires_at: None,
            order_id,
            phase: None,
            is_prorated: false,
            renewal: Renewal::None,
            recurring_price: None,
            price_change: None,
            instalments: None,
            planned: None,
            replaced: None,
            has_code: false,
            quantity: details.quantity,
            unrefunded_quantity: details.refundable_quantity,
            is_consumed,
        }
    }
}
