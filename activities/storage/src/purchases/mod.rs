//! The rows of purchases and users, their locks, and which purchase replaced which.

pub mod cause;
pub mod owned;
pub mod purchase;
pub mod replacements;
pub mod user_devices;
pub mod users;
