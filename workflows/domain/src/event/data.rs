//! The record of a purchase as we tell it: the 26 fields of the documented `data`, all of them, always.

use crate::environment::Environment;
use crate::purchase::Purchase;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What we say of a purchase. A field of which nobody told us anything is null.
///
/// Notifications never tell the product, the country, the price, the term or the expiry, nor any device:
/// those wait for receipt verification and for the app's own devices.
#[must_use]
pub fn data(purchase: &Purchase, platform_type: &str, receipt_id: &str, environment: Environment) -> Value {
    json!({
        "billing_cycles": purchase.billing_cycles(),
        "canceled_at": purchase.canceled_at(),
        "current_term_length": null,
        "devices_with_access": [],
        "entitlements": [],
        "expires_at": null,
        "is_active": purchase.state().is_active(),
        "is_auto_renewable": purchase.is_auto_renewable(),
        "is_free_trial_conversion": purchase.is_free_trial_conversion(),
        "is_in_intro_offer_period": null,
        "is_in_trial_period": purchase.is_in_trial_period(),
        "is_production": environment == Environment::Production && !purchase.is_test(),
        "last_seen_device_id": null,
        "last_seen_external_id": null,
        "not_before": purchase.not_before(),
        "original_purchase_guid": purchase.original_receipt_id(),
        "payment_issues_began_at": purchase.payment_issues_began_at(),
        "platform_type": platform_type,
        "price_in_usd": null,
        "product_ref_id": null,
        "purchase_country": null,
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
