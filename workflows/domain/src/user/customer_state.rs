//! The entitlements of a customer: the state of a user, as returned by a query, with the purchases from which it is
//! computed. The same functions compute the state in the bodies of `user.*`.

use super::journey::Journey;
use super::{ActiveEntitlement, OwnedPurchase, UserDevice, active_entitlements, active_skus};
use crate::environment::Environment;
use crate::ids::{CollapseKey, DeviceId, PlatformId};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The state of a user, with the field names of the bodies of `user.*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomerState {
    /// Active entitlements, each listed once with the purchase that grants it longest.
    pub active_entitlements: Vec<ActiveEntitlement>,
    /// SKUs of all purchases that grant an active entitlement, without duplicates.
    pub active_skus: Vec<String>,
    pub customer_journey_state: Journey,
    /// The user's devices, most recently seen first.
    pub devices: Vec<CustomerDevice>,
}

/// A device of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerDevice {
    /// Id of the device.
    pub id: DeviceId,
    /// Platform of the device.
    pub platform: CustomerDevicePlatform,
}

/// The platform of a device: the app on one store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CustomerDevicePlatform {
    /// Id of the platform.
    pub id: PlatformId,
    /// Display name.
    pub name: String,
    /// Name of the store.
    pub platform_type: String,
    /// The store's id for the app.
    pub marketplace_app_id: String,
}

impl From<UserDevice> for CustomerDevice {
    fn from(device: UserDevice) -> Self {
        let platform = CustomerDevicePlatform {
            id: device.platform_id,
            name: device.platform_name,
            platform_type: device.platform_type,
            marketplace_app_id: device.marketplace_app_id,
        };
        Self {
            id: device.id,
            platform,
        }
    }
}

/// A purchase of a customer, as counted for the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CustomerPurchase {
    /// Key of the purchase.
    pub collapse_key: CollapseKey,
    /// Current state of the purchase; null for a past time, which shows the announced record.
    pub state: Option<String>,
    /// Whether the purchase grants access. A purchase replaced by another one grants none.
    pub is_active: Option<bool>,
    /// When the purchase expires or renews; null if it does neither, or if the store has not confirmed it yet.
    pub expires_at: Option<Timestamp>,
    /// SKU of the purchase; null until the store has confirmed the product.
    pub sku: Option<String>,
    /// Whether the purchase is real or in the store's test environment.
    pub environment: Environment,
    /// When the purchase was announced as shown; null for the current state.
    pub announced_at: Option<Timestamp>,
}

impl CustomerState {
    pub fn of(owned: &[OwnedPurchase], devices: Vec<CustomerDevice>) -> Self {
        Self {
            active_entitlements: active_entitlements(owned),
            active_skus: active_skus(owned),
            customer_journey_state: Journey::of(owned),
            devices,
        }
    }

    /// Reads the state from the body of an announced `user.*` event; `apart` has the fields that differ in the event's
    /// environment. `None` if the body was pruned.
    pub fn announced(mut body: Value, apart: Option<Value>) -> Option<Self> {
        if let (Some(fields), Some(Value::Object(apart))) = (body.as_object_mut(), apart) {
            fields.extend(apart);
        }
        serde_json::from_value(body).ok()
    }
}

impl CustomerPurchase {
    /// Returns a purchase in its current state.
    pub fn of(owned: &OwnedPurchase) -> Self {
        let is_active = if owned.is_counted() {
            owned.purchase.state().is_active()
        } else {
            Some(false)
        };
        Self {
            collapse_key: owned.collapse_key,
            state: Some(owned.purchase.state().as_str().to_owned()),
            is_active,
            expires_at: owned.expiration(),
            sku: owned.purchase.sku(owned.product_ref).map(str::to_owned),
            environment: owned.environment,
            announced_at: None,
        }
    }
}

/// The part of the record of a purchase that determines what the purchase grants.
#[derive(Debug, Deserialize)]
struct Announced {
    is_active: Option<bool>,
    expires_at: Option<Timestamp>,
    product_ref_id: Option<String>,
}

/// An announced record of a purchase.
#[derive(Debug, Clone, Copy)]
pub struct AnnouncedRecord<'a> {
    pub collapse_key: CollapseKey,
    /// The environment in which the purchase counted.
    pub environment: Environment,
    pub announced_at: Timestamp,
    /// The body of the `purchase.updated`; without `data` if it was pruned.
    pub body: &'a Value,
}

impl AnnouncedRecord<'_> {
    /// Returns the purchase as it was announced. Of a pruned record, only the time is known.
    pub fn purchase(self) -> CustomerPurchase {
        let data = self
            .body
            .get("data")
            .and_then(|data| Announced::deserialize(data).ok());
        let (is_active, expires_at, sku) = data.map_or((None, None, None), |data| {
            (data.is_active, data.expires_at, data.product_ref_id)
        });
        CustomerPurchase {
            collapse_key: self.collapse_key,
            state: None,
            is_active,
            expires_at,
            sku,
            environment: self.environment,
            announced_at: Some(self.announced_at),
        }
    }
}
