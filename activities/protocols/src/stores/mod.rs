//! The stores that verify purchases: one folder per store.
//!
//! Pure: subjects, requests and replies are values. `activities` sends the requests and decides when to give up.

pub mod amazon;
mod answer;
mod check;
mod mint;
mod simulated;

pub use answer::{Answer, Retry};
pub use check::{Bucket, CheckStep, Replied, StoreProtocol, Stores, Subject, UnknownStore};
pub use mint::Mint;
pub use simulated::Simulated;
