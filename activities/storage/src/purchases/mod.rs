//! The rows of purchases and users, their locks, which purchase replaced which, and the duties about purchases.

pub mod cause;
pub mod duties;
pub mod owned;
pub mod purchase;
pub mod replacements;
pub mod user_devices;
pub mod users;
