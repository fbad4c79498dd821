//! The request of a device, as the edge hands it over.

use crate::devices::claims::reported::Claiming;
use crate::devices::secret::SecretHash;
use domain::device::{Content, Device};
use domain::{PlatformId, SessionId, Timestamp};
use tokio::time::Instant;

/// The report in one request of a device.
#[derive(Debug, Clone)]
pub struct DeviceRequest {
    /// The platform whose key it has.
    pub platform: PlatformId,
    /// The device, as it describes itself.
    pub device: Device,
    pub secret: Option<SecretHash>,
    /// When it was sent, by the device's clock.
    pub sent_at: Timestamp,
    /// When it was received, by the monotonic clock of this process: it may wait before it is stored.
    pub received_at: Instant,
    /// The events, in the device's order.
    pub reports: Vec<DeviceReport>,
    /// Whether its new claims of purchases are stored.
    pub claiming: Claiming,
    /// The network that sent it, for the bounds of claims. Only a keyed hash of it is stored.
    pub network: String,
}

/// One event that a device reports.
#[derive(Debug, Clone)]
pub struct DeviceReport {
    /// The app's own id of it.
    pub client_id: String,
    /// When it happened, by the device's clock.
    pub time: Timestamp,
    pub session: Option<SessionId>,
    pub content: Content,
}
