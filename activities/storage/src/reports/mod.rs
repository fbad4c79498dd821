//! Stored data, read for people and programs: lists, explanations, the audit, the feed, figures, differences of
//! revenue.

pub mod audit;
pub mod choosers;
pub mod deliveries;
pub mod explain;
pub mod feed;
pub mod figures;
pub mod listing;
pub mod notifications;
pub mod revenue;
