//! Sends events to destinations: the lanes of purchases, the backlog of a destination, and device events.

pub mod attempt;
pub mod bodies;
pub mod chart_counts;
pub mod deliver;
pub mod drain;
pub mod in_flight;
pub mod local_attempts;
pub mod refused;
pub mod refused_lanes;
pub mod slots;
pub mod stream;
pub mod supervise;
pub mod volume;
