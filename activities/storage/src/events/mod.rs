//! Events, their deliveries, and alarms for operators.

pub mod alarms;
pub mod deliveries;
pub mod event;
pub mod lanes;
pub mod status;
pub mod user_leases;
