//! The key of a customer whose id at the store is unknown: the purchase stands for its customer.

/// The prefix of such a key, before the store's id of the purchase.
pub const PURCHASE_PREFIX: &str = "receipt/";

/// Returns the key of the customer of a purchase, while the store's id of the customer is unknown.
pub fn unnamed(receipt_id: &str) -> String {
    format!("{PURCHASE_PREFIX}{receipt_id}")
}
