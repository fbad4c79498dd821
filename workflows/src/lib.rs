#![doc = include_str!("../README.md")]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

pub mod asks;
pub mod attributes;
pub mod contract;
pub mod options;
pub mod purchase;
pub mod signal;
pub mod sweep;

pub use purchase::Purchase;
pub use sweep::Sweep;
