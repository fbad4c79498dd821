//! Redelivery: owes events again, for one purchase, a range, a replay, a snapshot.

pub mod again;
pub mod pages;
pub mod purchase;
pub mod redeliver;
pub mod replay;
pub mod snapshot;
