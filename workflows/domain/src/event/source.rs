//! The input of the record of a purchase, which its fields and its price are computed from.

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
    /// The store's id of the purchase.
    pub receipt_id: &'a str,
    pub environment: Environment,
    /// The buyer's id in the company's own system, if known.
    pub external_id: Option<&'a str>,
    /// The SKU that is the `product_ref_id`.
    pub product_ref: ProductRef,
    /// The catalogue's entry for its product.
    pub listing: &'a Listing,
    /// The rate of exchange to USD of the price's currency on the day of the purchase.
    pub usd_rate: Option<Decimal>,
    /// The SKU of the purchase that this one replaced in a change of plan, by `product_ref`.
    pub replaced_sku: Option<&'a str>,
    /// Devices with access, earliest claim first.
    pub devices: &'a [DeviceAccess],
    /// The price that the device reported on which the purchase was made, by the first verified claim with one.
    pub device_price: Option<&'a DevicePrice>,
}

/// The price that a device showed when a purchase was made on it. The key with which devices report is public, so it
/// counts only if it is plausible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevicePrice {
    pub sku: String,
    pub price: Decimal,
    pub currency: String,
    /// The country of the marketplace, if it was reported.
    pub marketplace: Option<String>,
}
