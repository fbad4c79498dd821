//! Google Play: maps its values to settle's enums. Its policy, states and queries are not implemented yet, so the list
//! of stores does not contain it.
//!
//! The values are those of the API's machine-readable description (`androidpublisher` v3). An unknown value maps to the
//! enum's catch-all variant, or to nothing.

mod mapping;
mod money;

#[cfg(test)]
mod tests;

pub use mapping::{
    Cancellation, billing_cycles, country, currency, end_reason, environment, offer, phase,
    product, sku, transaction_id,
};
pub use money::{OrderState, amount, refund_extent};
