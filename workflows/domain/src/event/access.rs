//! The devices that have access to a purchase, as listed in `purchase.updated`.

use crate::ids::DeviceId;
use crate::names::names;
use crate::store_state::SharedAccess;
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
    /// The device is signed in to the store as a member of the buyer's family.
    FamilySharing,
    /// The device is signed in to the store as the holder of a seat that the buyer assigned.
    Assigned,
}

names!(ClaimType {
    OriginalPurchaser = "original_purchaser",
    CrossPlatformShared = "cross_platform_shared",
    FamilySharing = "family_sharing",
    Assigned = "assigned",
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
    /// Returns how a device has access to a purchase, which may be shared with its holder.
    pub(super) fn of(access: &DeviceAccess, shared: Option<SharedAccess>) -> Self {
        let claim_type = match (access.claim_type, shared) {
            (ClaimType::OriginalPurchaser, Some(SharedAccess::Family)) => ClaimType::FamilySharing,
            (ClaimType::OriginalPurchaser, Some(SharedAccess::Seat)) => ClaimType::Assigned,
            (claim_type, _) => claim_type,
        };
        Self {
            claim_type: claim_type.as_str().to_owned(),
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

#[cfg(test)]
mod tests {
    use super::{ClaimType, DeviceAccess, DeviceWithAccess};
    use crate::ids::DeviceId;
    use crate::store_state::SharedAccess;
    use crate::time::Timestamp;
    use uuid::Uuid;

    #[test]
    fn what_another_customer_paid_has_a_claim_type_of_its_own() {
        let shown = |claim_type, shared| {
            let at = Timestamp::from_millis(0);
            let access = DeviceAccess {
                id: DeviceId::new(Uuid::nil()),
                platform_type: String::new(),
                claim_type,
                first_launch: at,
                last_active: at,
                seen_at: at,
            };
            DeviceWithAccess::of(&access, shared).claim_type
        };
        let (own, other) = (ClaimType::OriginalPurchaser, ClaimType::CrossPlatformShared);
        assert_eq!(shown(own, None), "original_purchaser");
        assert_eq!(shown(own, Some(SharedAccess::Family)), "family_sharing");
        assert_eq!(shown(own, Some(SharedAccess::Seat)), "assigned");
        for shared in [None, Some(SharedAccess::Family)] {
            assert_eq!(shown(other, shared), "cross_platform_shared");
        }
    }
}
