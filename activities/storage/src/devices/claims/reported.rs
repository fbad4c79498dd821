//! A claim as a device reports it, and how it begins to wait for the store.

use domain::device::DeviceTransaction;
use domain::device::claim::ClaimKind;
use domain::{DevicePlace, Timestamp};

/// Whether a request's new claims of unknown purchases are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claiming {
    Stored,
    /// Dropped, because their network address reported too many.
    Dropped,
}

#[derive(Debug, Clone, Copy)]
pub struct ReportedClaim<'r> {
    pub request: usize,
    pub place: DevicePlace,
    /// The network for whose limit the claim counts, as stored; empty if it counts towards no limit.
    pub network: &'r str,
    /// Whether the claim is stored if it is new.
    pub claiming: Claiming,
    pub receipt_id: &'r str,
    /// The store's id of the customer, if the report contains one: the store confirms pairs of receipt and customer.
    pub app_user_id: Option<&'r str>,
    pub kind: ClaimKind,
    pub transaction: Option<&'r DeviceTransaction>,
    /// When the reported event happened, by settle's clock.
    pub occurred_at: Timestamp,
    /// Whether the device handed in a transaction that the store signed.
    pub is_signed: bool,
}

/// Why a claim begins to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimStart {
    New,
    /// The claim's row was refused for another customer of the store.
    Renewed,
    /// The claim's row had been displaced by a claim of another network, or is proved by now.
    Returned,
}

/// A claim that will wait for the store.
pub struct WaitingClaim<'r> {
    pub claim: ReportedClaim<'r>,
    pub start: ClaimStart,
}
