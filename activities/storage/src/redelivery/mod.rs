//! Redelivery: owes again what a selector covers, page by page: candidates, a verdict for each destination, a delivery.

pub mod candidates;
pub mod page;
pub mod profiles;
pub mod runs;
pub mod verdict;
