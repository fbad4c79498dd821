//! Additions to the documented fields of a purchase, identical in `data` and in the body of each `user.*` event.

use super::price::price;
use super::source::RecordSource;
use crate::catalogue::PriceSource;
use crate::environment::Environment;
use crate::time::Timestamp;
use crate::verification::{EndReason, Offer, Product};
use schemars::JsonSchema;
use serde::Serialize;

/// Additional data about the purchase. Unknown fields are null.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Details {
    /// Whether the purchase is real or in the store's test environment.
    environment: Environment,
    /// Why the purchase ended or will end; null while it continues, and if the store gives no reason.
    expiration_reason: Option<ExpirationReason>,
    /// Promotion whose price applies now; null without one.
    offer_type: Option<Offer>,
    /// When a scheduled change of plan takes effect.
    pending_at: Option<Timestamp>,
    /// SKU of the scheduled plan.
    pending_sku_ref_id: Option<String>,
    /// SKU before the last change of plan.
    previous_sku_ref_id: Option<String>,
    /// Source of the price; null if there is no price.
    pub price_source: Option<PriceSource>,
    /// Kind of product that was bought.
    product_type: Option<ProductType>,
}

/// Why a purchase ended or will end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ExpirationReason {
    /// Cancelled by the customer.
    Customer,
    /// Ended by the store: unpaid after the grace period, or by customer service.
    Store,
    /// Ended by the store, for an internal reason.
    Internal,
    /// Replaced by another purchase in a change of plan.
    Replaced,
    /// Not known to the store yet.
    Pending,
    /// Unknown reason.
    Other,
}

/// Kind of product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ProductType {
    /// Renewing subscription.
    Subscription,
    /// Product that is used up.
    Consumable,
    /// Product that is owned forever.
    Entitlement,
}

impl Details {
    /// Returns the details of a purchase. The SKU of a replaced purchase is used only until this one changes its own
    /// plan.
    pub fn of(source: RecordSource<'_>) -> Self {
        let purchase = source.purchase;
        let sku = purchase.sku(source.product_ref);
        let replaced = || {
            source
                .replaced_sku
                .filter(|replaced| Some(*replaced) != sku)
        };
        let previous = purchase.previous_sku(source.product_ref).or_else(replaced);
        Self {
            environment: purchase.environment(source.environment),
            expiration_reason: purchase.end_reason().map(ExpirationReason::of),
            offer_type: purchase.offer(),
            pending_at: purchase.pending_at(),
            pending_sku_ref_id: purchase.pending_sku().map(str::to_owned),
            previous_sku_ref_id: previous.map(str::to_owned),
            price_source: price(source).map(|paid| paid.source),
            product_type: ProductType::of(purchase.product()),
        }
    }
}

impl ExpirationReason {
    const fn of(reason: EndReason) -> Self {
        match reason {
            EndReason::Pending => Self::Pending,
            EndReason::Customer => Self::Customer,
            EndReason::Store => Self::Store,
            EndReason::Internal => Self::Internal,
            EndReason::Replaced => Self::Replaced,
            EndReason::Other(_) => Self::Other,
        }
    }
}

impl ProductType {
    const fn of(product: Product) -> Option<Self> {
        match product {
            Product::Unknown => None,
            Product::Subscription => Some(Self::Subscription),
            Product::Consumable => Some(Self::Consumable),
            Product::Entitlement => Some(Self::Entitlement),
        }
    }
}
