//! The record of a purchase as we tell it: the 26 fields of the documented `data`, all of them, always.

use crate::catalogue::{Listing, ProductRef};
use crate::environment::Environment;
use crate::purchase::Purchase;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Everything that the record of a purchase is made of.
#[derive(Debug, Clone, Copy)]
pub struct Described<'a> {
    /// What is known.
    pub purchase: &'a Purchase,
    /// The name of the store, such as in `platforms.store`.
    pub platform_type: &'a str,
    /// The store's name of the purchase.
    pub receipt_id: &'a str,
    /// Which of the store's worlds the platform belongs to.
    pub environment: Environment,
    /// The customer's own id of its owner, when somebody named it.
    pub external_id: Option<&'a str>,
    /// Which SKU is the `product_ref_id`.
    pub product_ref: ProductRef,
    /// What the catalogue says of its product.
    pub listing: &'a Listing,
    /// How many USD one unit of the price's currency was worth on the day of the purchase.
    pub usd_rate: Option<Decimal>,
}

/// What we say of a purchase. A field of which nobody told us anything is null.
#[must_use]
pub fn data(described: Described<'_>) -> Value {
    let Described { purchase, platform_type, receipt_id, environment, .. } = described;
    json!({
        "billing_cycles": purchase.billing_cycles(),
        "canceled_at": purchase.canceled_at(),
        "current_term_length": purchase.term_length(),
        "devices_with_access": [],
        "entitlements": described.listing.entitlements,
        "expires_at": purchase.expires_at(),
        "is_active": purchase.state().is_active(),
        "is_auto_renewable": purchase.is_auto_renewable(),
        "is_free_trial_conversion": purchase.is_free_trial_conversion(),
        "is_in_intro_offer_period": purchase.is_in_intro_offer(),
        "is_in_trial_period": purchase.is_in_trial_period(),
        "is_production": environment == Environment::Production && !purchase.is_test(),
        "last_seen_device_id": null,
        "last_seen_external_id": described.external_id,
        "not_before": purchase.not_before(),
        "original_purchase_guid": purchase.original_receipt_id(),
        "payment_issues_began_at": purchase.payment_issues_began_at(),
        "platform_type": platform_type,
        "price_in_usd": null,
        "product_ref_id": purchase.sku(described.product_ref),
        "purchase_country": purchase.country(),
        "purchase_currency": null,
        "purchase_guid": receipt_id,
        "purchase_price": null,
        "revoked_at": purchase.revoked_at(),
        "transaction_id": transaction_id(purchase, receipt_id),
    })
}

/// The store gives renewals no id of their own: from the second term on, the receipt id and the number of
/// renewals. Without the beginning the number is not known, and the receipt id stands alone.
fn transaction_id(purchase: &Purchase, receipt_id: &str) -> String {
    match purchase.billing_cycles() {
        Some(cycles) if cycles > 1 => format!("{receipt_id}..{}", cycles.saturating_sub(1)),
        _ => receipt_id.to_owned(),
    }
}

/// Lower-case hex SHA-256 of the RFC 8785 form of `data`: equal digests, equal records.
#[must_use]
pub fn state_digest(data: &Value) -> String {
    // Only a value that is not JSON could fail here, and a `Value` always is.
    let canonical = serde_json_canonicalizer::to_vec(data).unwrap_or_default();
    Sha256::digest(canonical).iter().fold(String::with_capacity(64), |mut hex, byte| {
        hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
        hex
    })
}
