//! The record of a purchase: the field `data` of `purchase.updated`, with the 26 documented fields and settle's own
//! (`details.rs`). Every field is always present, except for the refund fields.

use super::access::{DeviceWithAccess, MAX_DEVICES, last_seen};
use super::details::Details;
use super::price::{in_usd, letters, price};
use super::schema::additions_are_optional;
use super::source::RecordSource;
use crate::catalogue::Entitlement;
use crate::environment::Environment;
use crate::purchase::Purchase;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Everything known about the purchase. Unknown fields are null.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(transform = additions_are_optional)]
pub(super) struct Data<'a> {
    /// Number of terms so far; the original purchase is the first.
    #[schemars(range(min = 1))]
    billing_cycles: Option<u64>,
    /// When auto-renewal was switched off, if it is off now.
    canceled_at: Option<Timestamp>,
    /// Length of one term, as an ISO 8601 duration.
    #[schemars(extend("format" = "duration"))]
    current_term_length: Option<String>,
    /// Devices with access to the purchase, earliest claim first.
    devices_with_access: Vec<DeviceWithAccess>,
    /// Entitlements that the purchase grants.
    entitlements: &'a [Entitlement],
    /// When the purchase expires or renews.
    expires_at: Option<Timestamp>,
    /// Whether the purchase grants access now.
    is_active: Option<bool>,
    /// Whether the purchase will renew.
    is_auto_renewable: Option<bool>,
    /// Whether a trial became paid; null if the beginning was not seen, or if the trial ended within its first term
    /// before the store showed it.
    is_free_trial_conversion: Option<bool>,
    /// Whether an introductory price applies.
    is_in_intro_offer_period: Option<bool>,
    /// Whether a trial is running, false in a grace period after it; null until the beginning or a payment was seen.
    is_in_trial_period: Option<bool>,
    /// Whether the purchase is real, outside of all test programmes.
    is_production: bool,
    /// Id of the device with access that was last seen.
    last_seen_device_id: Option<Uuid>,
    /// The buyer's id in your own system.
    last_seen_external_id: Option<&'a str>,
    /// When the purchase began.
    not_before: Option<Timestamp>,
    /// The store's id for the purchase that this one replaced in a change of plan.
    original_purchase_guid: Option<&'a str>,
    /// When the payment failed, if that was not resolved since.
    payment_issues_began_at: Option<Timestamp>,
    /// Name of the store.
    platform_type: &'a str,
    /// Price in USD, at the rate of the purchase's day.
    price_in_usd: Option<Decimal>,
    /// SKU of the product; null until the store has confirmed it.
    product_ref_id: Option<&'a str>,
    /// Country of the customer.
    #[schemars(regex(pattern = r"^[A-Z]{2}$"))]
    purchase_country: Option<String>,
    /// ISO 4217 code of the price's currency.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    purchase_currency: Option<String>,
    /// The store's id for the purchase.
    purchase_guid: &'a str,
    /// Price of one term, in the purchase's currency.
    purchase_price: Option<Decimal>,
    /// Refunded amount of the latest payment, in USD; absent without a refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-left-out" = true))]
    refunded_amount: Option<Decimal>,
    /// When the latest payment was last refunded; absent without a refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-left-out" = true))]
    refunded_at: Option<Timestamp>,
    /// When the purchase was revoked.
    revoked_at: Option<Timestamp>,
    /// Latest payment: the store's id for the purchase and number of renewals, or the id in the store's sales report.
    transaction_id: String,
    /// Additional data.
    #[serde(flatten)]
    details: Details,
}

/// Returns the record of a purchase. Unknown fields are null.
pub fn data(source: RecordSource<'_>) -> Value {
    // Serialization fails only for maps whose keys are not strings; the record has none.
    serde_json::to_value(Data::of(source)).unwrap_or_default()
}

impl<'a> Data<'a> {
    fn of(source: RecordSource<'a>) -> Self {
        let RecordSource {
            purchase,
            platform_type,
            receipt_id,
            environment,
            external_id,
            ..
        } = source;
        let price = price(source);
        let shared = purchase.store_state().and_then(|state| state.shared);
        Self {
            billing_cycles: purchase.billing_cycles(),
            canceled_at: purchase.canceled_at(),
            current_term_length: purchase.term_length(),
            devices_with_access: source
                .devices
                .iter()
                .take(MAX_DEVICES)
                .map(|device| DeviceWithAccess::of(device, shared))
                .collect(),
            entitlements: &source.listing.entitlements,
            expires_at: purchase.expires_at(),
            is_active: purchase.state().is_active(),
            is_auto_renewable: purchase.is_auto_renewable(),
            is_free_trial_conversion: purchase.is_free_trial_conversion(),
            is_in_intro_offer_period: purchase.is_in_intro_offer(),
            is_in_trial_period: purchase.is_in_trial_period(),
            is_production: purchase.environment(environment) == Environment::Production,
            last_seen_device_id: last_seen(source.devices),
            last_seen_external_id: external_id,
            not_before: purchase.not_before(),
            original_purchase_guid: purchase.original_receipt_id(),
            payment_issues_began_at: purchase.payment_issues_began_at(),
            platform_type,
            price_in_usd: price.and_then(|price| in_usd(price, source.usd_rate)),
            product_ref_id: purchase.sku(source.product_ref),
            purchase_country: purchase.country().and_then(|country| letters(country, 2)),
            purchase_currency: price.and_then(|price| letters(price.currency, 3)),
            purchase_guid: receipt_id,
            purchase_price: price.map(|price| price.price),
            // The ledger adds refunds: `payment::report_refund`.
            refunded_amount: None,
            refunded_at: None,
            revoked_at: purchase.revoked_at(),
            transaction_id: transaction_id(purchase, receipt_id),
            details: Details::of(source),
        }
    }
}

/// The id of the newest payment, by a store that shows payments; without one, that of the purchase. Another store gives
/// renewals no id of their own: from the second term on, it is that of the purchase with the number of renewals.
fn transaction_id(purchase: &Purchase, receipt_id: &str) -> String {
    if let Some(state) = purchase.store_state() {
        let paid = state.transaction_id.as_deref().unwrap_or(receipt_id);
        return paid.to_owned();
    }
    match purchase.billing_cycles() {
        Some(cycles) if cycles > 1 => format!("{receipt_id}..{}", cycles.saturating_sub(1)),
        _ => receipt_id.to_owned(),
    }
}

/// Returns the SHA-256 of the RFC 8785 form of `data`, in lower-case hex: records with equal digests are equal.
pub fn state_digest(data: &Value) -> String {
    // Canonicalization fails only for values that are not JSON.
    let canonical = serde_json_canonicalizer::to_vec(data).unwrap_or_default();
    Sha256::digest(canonical)
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            hex.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
            hex.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
            hex
        })
}

/// Returns the digest of `data` without the times at which devices were last seen. These times are sent with a
/// revision, but never cause one.
pub fn content_digest(data: &Value) -> String {
    let mut content = data.clone();
    if let Some(fields) = content.as_object_mut() {
        fields.remove("last_seen_device_id");
    }
    let devices = content
        .get_mut("devices_with_access")
        .and_then(Value::as_array_mut);
    for device in devices
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        device.remove("last_active");
    }
    state_digest(&content)
}
