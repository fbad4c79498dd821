//! The input from which the record of a purchase and its price are computed.

use super::access::DeviceAccess;
use crate::catalogue::{Listing, ProductRef};
use crate::environment::Environment;
use crate::purchase::Purchase;
use rust_decimal::Decimal;

/// The input of the record of a purchase.
#[derive(Debug, Clone, Copy)]
pub struct RecordSource<'a> {
    pub purchase: &'a Purchase,
    /// The name of the store, as in `platforms.store`.
    pub platform_type: &'a str,
    /// The store's id for the purchase.
    pub receipt_id: &'a str,
    pub environment: Environment,
    /// The buyer's id in the company's own system, if known.
    pub external_id: Option<&'a str>,
    /// The SKU that is the `product_ref_id`.
    pub product_ref: ProductRef,
    /// The catalogue's entry for the purchase's product.
    pub listing: &'a Listing,
    /// The exchange rate from the price's currency to USD on the day of the purchase.
    pub usd_rate: Option<Decimal>,
    /// The SKU of the purchase that this one replaced in a change of plan, chosen by `product_ref`.
    pub replaced_sku: Option<&'a str>,
    /// Devices with access, earliest claim first.
    pub devices: &'a [DeviceAccess],
    /// The price in the first verified claim that has one: it was reported by the device on which the purchase was
    /// made.
    pub device_price: Option<&'a DevicePrice>,
}

/// The price that a device displayed when a purchase was made on it. The key with which devices report is public, so
/// the price counts only if it is plausible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePrice {
    pub sku: String,
    pub price: Decimal,
    pub currency: String,
    /// The country of the marketplace, if reported.
    pub marketplace: Option<String>,
}
