//! Claims: which purchases of the store's customers are on a device according to the device, and whether the store
//! confirmed that. The key with which devices report is public. So an unverified claim grants and moves nothing, and
//! the number of unverified claims is limited for each device, network and platform. `people/claims.rs` verifies
//! claims.

pub mod accept;
mod bounds;
pub mod due;
mod known;
pub mod present;
pub mod reported;
