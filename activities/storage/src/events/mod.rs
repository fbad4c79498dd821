//! Owed to the outside: deliveries of events, and alarms for operators.

pub mod alarms;
pub mod deliveries;
pub mod event;
pub mod lanes;
pub mod status;
