//! Redelivery: records new deliveries of the events that a selector names, page by page. Each page has candidates; each
//! candidate gets a verdict per destination; an accepted one becomes a new delivery.

pub mod backfill;
pub mod candidates;
pub mod page;
pub mod policy;
pub mod runs;
pub mod verdict;
