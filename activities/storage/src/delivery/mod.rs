//! Delivery: leases lanes, finishes requests, and updates the health of destinations.

pub mod alarm_events;
pub mod class;
pub mod destination_lock;
pub mod destination_need;
pub mod finish;
pub mod first;
pub mod free_lanes;
pub mod health;
pub mod lanes;
pub mod last_sweep;
pub mod late;
pub mod leases;
pub mod leasing;
pub mod operators;
pub mod overdue;
pub mod places;
pub mod refused;
pub mod retry_after;
pub mod set_back;
pub mod stream;
pub mod sweep;
pub mod unnamed;
pub mod unsettled;
pub mod user_lanes;
pub mod wakes;
