//! Stored data for display and for programs: lists of rows, explanations, states of customers, the consistency check,
//! the progress of connecting platforms and their setup, the feed of purchases, device events, figures of destinations,
//! payments, payments that an integration does not receive, and the comparison of sent revenue with the ledger.

pub mod alarms;
pub mod arrivals;
pub mod audit_log;
pub mod check;
pub mod choosers;
pub mod connecting;
pub mod customer;
pub mod deliveries;
pub mod device_events;
pub mod duties;
pub mod events;
pub mod explain;
pub mod feed;
pub mod figures;
pub mod filtered;
pub mod listing;
pub mod minutes;
pub mod notifications;
pub mod overview;
mod past_minutes;
pub mod payments;
pub mod pending;
pub mod processes;
pub mod revenue;
pub mod scope;
pub mod search;
pub mod setup;
pub mod shown_state;
pub mod silent;
pub mod store_names;
pub mod unchosen;
pub mod walk;
