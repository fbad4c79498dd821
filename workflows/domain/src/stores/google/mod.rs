//! Google Play: how its values map into settle's closed lists. Its policy, its states and its way to an answer are not
//! here yet, so that it is in no list of stores.
//!
//! The values are those of the API's machine-readable description (`androidpublisher` v3). An unknown value maps to the
//! one that the list has for anything else, or to nothing.

mod mapping;
mod money;

#[cfg(test)]
mod tests;

pub use mapping::{
    Cancellation, billing_cycles, country, currency, end_reason, environment, offer, phase,
    product, sku, transaction_id,
};
pub use money::{OrderState, amount, refund_extent};
