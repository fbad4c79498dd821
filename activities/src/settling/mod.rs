//! Settles purchases, and queries stores about them and about the claims of devices.

mod claim_refusals;
pub mod claims;
pub mod query;
pub mod settle;
pub mod store_rate;
mod tokens;
pub mod verifier;
pub mod verify;
