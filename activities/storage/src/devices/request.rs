//! A device's request, as the API passes it to storage.

use crate::devices::claims::reported::Claiming;
use crate::devices::secret::SecretHash;
use crate::inbox::notifications::NewNotification;
use domain::device::{Content, Device};
use domain::{PlatformId, SessionId, Snapshot, Timestamp};
use std::fmt;
use tokio::time::Instant;

/// The reports in one request of a device.
#[derive(Debug, Clone)]
pub struct DeviceRequest {
    /// The platform whose key the request contains.
    pub platform: PlatformId,
    /// The device, as it describes itself.
    pub device: Device,
    pub secret: Option<SecretHash>,
    /// When the request was sent, by the device's clock.
    pub sent_at: Timestamp,
    /// When the request was received, by this process's monotonic clock: the request may wait before it is stored.
    pub received_at: Instant,
    /// The events, in the device's order.
    pub reports: Vec<DeviceReport>,
    /// Whether the request's new claims of unknown purchases are stored.
    pub claiming: Claiming,
    /// The network that sent the request, for the limits on claims. Only a keyed hash of it is stored.
    pub network: String,
}

/// One event that a device reports.
#[derive(Debug, Clone)]
pub struct DeviceReport {
    /// The app's own id of the event.
    pub client_id: String,
    /// When the event happened, by the device's clock.
    pub time: Timestamp,
    pub session: Option<SessionId>,
    pub content: Content,
    /// The transactions of these purchases that the store signed, if its devices hand them in.
    pub signed: Vec<SignedReceipt>,
}

/// A transaction that the store signed and a device hands in, as its verified content.
#[derive(Clone)]
pub struct SignedReceipt {
    /// The row of the content in the inbox. A later check of the purchase rests on it.
    pub notification: NewNotification,
    /// The purchase as the transaction alone shows it.
    pub snapshot: Box<Snapshot>,
    /// The store's id of the customer, if the transaction names one.
    pub customer: Option<String>,
}

impl fmt::Debug for SignedReceipt {
    /// Omits the content and the customer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedReceipt").finish_non_exhaustive()
    }
}
