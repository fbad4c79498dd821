//! The settings of the operator, as all other rooms read them. `admin` changes them.

pub mod destinations;
pub mod listing;
pub mod tombstones;
