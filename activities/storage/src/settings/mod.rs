//! The settings of the operator, as all other rooms read them. `admin` changes them.

pub mod app_lock;
pub mod destinations;
pub mod listing;
pub mod tombstones;
