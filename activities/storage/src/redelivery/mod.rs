//! Redelivery: owes again what a selector covers, page by page: candidates, a verdict for each destination, a delivery.

pub mod candidates;
pub mod page;
pub mod policy;
pub mod runs;
pub mod snapshot;
pub mod verdict;
