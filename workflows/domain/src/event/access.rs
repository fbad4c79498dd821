//! The devices that have access to a purchase, as listed in `purchase.updated`.

use crate::ids::DeviceId;
use crate::names::names;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

/// Maximum number of devices in the list.
pub const MAX_DEVICES: usize = 100;

/// How a device got access to a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimType {
    /// The device is signed in to the store as the customer who bought the purchase.
    OriginalPurchaser,
    /// The user made the purchase as another customer of the store, or on another platform.
    CrossPlatformShared,
}

names!(ClaimType {
    OriginalPurchaser = "original_purchaser",
    CrossPlatformShared = "cross_platform_shared",
});

/// A device with access to a purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAccess {
    pub id: DeviceId,
    pub platform_type: String,
    pub claim_type: ClaimType,
    pub first_launch: Timestamp,
    /// The end of the device's newest ended session, else the time of its newest event.
    pub last_active: Timestamp,
    /// When the device sent its last request; only to find the device that was seen last.
    pub seen_at: Timestamp,
}

/// A device that has access to a purchase.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct DeviceWithAccess {
    /// How the device got access.
    claim_type: String,
    /// When the device was first seen.
    first_launch: Timestamp,
    /// Id of the device.
    id: Uuid,
    /// End of the device's last session; until one has ended, the time of its last event.
    last_active: Timestamp,
    /// Kind of store that the device uses.
    platform_type: String,
}

impl DeviceWithAccess {
    pub(super) fn of(access: &DeviceAccess) -> Self {
        Self {
            claim_type: access.claim_type.as_str().to_owned(),
            first_launch: access.first_launch,
            id: access.id.uuid(),
            last_active: access.last_active,
            platform_type: access.platform_type.clone(),
        }
    }
}

/// Returns the device that was seen last among the first [`MAX_DEVICES`].
pub(super) fn last_seen(devices: &[DeviceAccess]) -> Option<Uuid> {
    let named = devices.iter().take(MAX_DEVICES);
    named
        .max_by_key(|device| (device.seen_at, device.id))
        .map(|device| device.id.uuid())
}
