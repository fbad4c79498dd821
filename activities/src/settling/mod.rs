//! Settles purchases, queries stores about them and about the claims of devices, and attempts duties to stores.

mod claim_refusals;
pub mod claims;
mod duties;
pub mod query;
pub mod settle;
pub mod store_rate;
mod tokens;
pub mod verifier;
pub mod verify;
