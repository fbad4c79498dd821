//! Events that the app on a device reports: sessions, impressions of paywalls, transactions. The bodies are in
//! `body.rs`, the rules of sessions in `session.rs`, the correction of a device's clock in `clock.rs`, claims of
//! purchases in `claim.rs`.
//!
//! The key with which devices report is public, so no report is evidence of a purchase before the store has confirmed
//! it.

mod body;
pub mod claim;
pub mod clock;
mod report;
pub mod session;

#[cfg(test)]
mod tests;

pub use body::{
    DeviceEvent, DeviceOwner, Happened, SessionMark, for_destination, without_receipts,
};
pub use report::{
    Content, DEVICE_VERSION, Device, DeviceEventKind, DeviceReceipt, DeviceTransaction, Impression,
    MAX_SIGNED_BYTES, OfferedProduct, Os, ReportedEvent, TransactionKind, WrongField,
};

pub(crate) use body::{
    DeviceBody, ImpressionData, SessionEndData, SessionStartData, TransactionData,
};
