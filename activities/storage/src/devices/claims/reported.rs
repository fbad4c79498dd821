//! A claim as a device reports it, and how it begins to wait for the store.

use domain::device::DeviceTransaction;
use domain::device::claim::ClaimKind;
use domain::{DevicePlace, Timestamp};

/// Whether new claims of a request are stored whose purchases are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claiming {
    Stored,
    /// Dropped: their address reported too many.
    Dropped,
}

#[derive(Debug, Clone, Copy)]
pub struct ReportedClaim<'r> {
    pub request: usize,
    pub place: DevicePlace,
    /// The network that it counts for, as it is stored; empty if it counts nowhere.
    pub network: &'r str,
    /// Whether it is stored if it is new.
    pub claiming: Claiming,
    pub receipt_id: &'r str,
    /// The store's id of the customer, if the report names one: the store proves pairs of both.
    pub app_user_id: Option<&'r str>,
    pub kind: ClaimKind,
    pub transaction: Option<&'r DeviceTransaction>,
    /// When it happened, by our clock.
    pub occurred_at: Timestamp,
}

/// How a claim begins to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimStart {
    New,
    /// The claim's row was refused, for another customer of the store.
    Renewed,
    /// The claim's row had given way to that of another network.
    Returned,
}

/// A claim that is to wait.
pub struct WaitingClaim<'r> {
    pub claim: ReportedClaim<'r>,
    pub start: ClaimStart,
}
