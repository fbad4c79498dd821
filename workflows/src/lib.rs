#![doc = include_str!("../README.md")]
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

pub mod activities;
pub mod attributes;
pub mod claims;
pub mod contract;
pub mod destination;
pub mod failing;
pub mod options;
pub mod purchase;
mod run;
pub mod signal;
pub mod stream;
pub mod sweep;

pub use claims::Claims;
pub use destination::Destination;
pub use purchase::Purchase;
pub use stream::DeviceStream;
pub use sweep::Sweep;
