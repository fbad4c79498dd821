//! The stores that verify purchases: one folder per store.
//!
//! This module is pure: subjects, requests and replies are values. `activities` sends the requests and decides when to
//! give up.

pub mod amazon;
mod answer;
pub mod apple;
mod check;
pub mod google;
mod mint;
mod repair;
mod simulated;
mod token;

pub use answer::{AccessRefusal, AcknowledgeAnswer, Answer, CustomerName, Retry};
pub use check::{Bucket, CheckStep, Replied, StoreProtocol, Stores, Subject};
pub use mint::Mint;
pub use repair::{RepairOutcome, RepairPage, RepairStep, RepairTask};
pub use simulated::Simulated;
pub use token::AccessToken;
