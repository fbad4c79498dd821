//! Settles purchases, and queries stores about them, about the claims of devices and for repairs.

mod claim_refusals;
pub mod claims;
pub mod query;
pub mod repair;
pub mod settle;
pub mod store_rate;
mod tokens;
pub mod verifier;
pub mod verify;
