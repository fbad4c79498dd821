//! Delivering: lanes are claimed, requests finished, destinations judged by how they fare.

pub mod claim;
pub mod finish;
pub mod health;
pub mod lanes;
pub mod leases;
pub mod operators;
pub mod retry_after;
pub mod sweep;
pub mod tending;
pub mod user_lanes;
