//! Claims: which purchases of customers of the store are on a device, as it reports it, and whether the store confirmed
//! that. The key with which devices report is public: a claim that is not verified grants and moves nothing, and the number
//! of these is bounded for each device, network and platform. `people/claims.rs` verifies them.

pub mod accept;
mod bounds;
pub mod due;
mod known;
pub mod present;
pub mod reported;
