//! Settles purchases, queries stores about them, about the claims of devices and for repairs, and attempts duties.

mod claim_refusals;
pub mod claims;
mod duties;
pub mod query;
pub mod repair;
pub mod settle;
pub mod store_rate;
mod tokens;
pub mod verifier;
pub mod verify;
