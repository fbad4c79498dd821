//! The user who owns purchases: their state across all of them, and the body of a `user.*` event.
//!
//! The transaction that records a settling loads the user's purchases and passes them to the functions in this module.
//! The shape is that of the user events in the vendor's documentation; settle only adds fields to it.

mod change;
mod continuation;
mod customer_state;
mod erased;
mod journey;
mod named;
mod profile;
mod shape;
mod spent;
mod succession;
mod transfer;

#[cfg(test)]
mod tests;

pub use crate::event::PROFILE_UPDATED;
pub use change::announce_change;
pub use continuation::announce_continuation;
pub use customer_state::{
    AnnouncedRecord, CustomerDevice, CustomerDevicePlatform, CustomerPurchase, CustomerState,
};
pub use erased::{ErasedAppUser, ErasedNames, LONG_NAME_BYTES, REMOVED, USER_ERASED, UserErased};
pub use journey::Journey;
pub use named::with_external_id;
pub use profile::{Attributes, Profile, ProfileUpdated, paid_in_usd};
pub use shape::shape;
pub use spent::spent;
pub use succession::announce_succession;
pub use transfer::{TRANSFERRED_FROM, TRANSFERRED_TO, TRANSFERS};

pub(crate) use erased::ErasedBody;

use crate::catalogue::{Entitlement, Listing, ProductRef};
use crate::environment::Environment;
use crate::event::{Details, additions_are_optional};
use crate::ids::{CollapseKey, DeviceId, EventId, PlatformId, TransferId, UserId};
use crate::purchase::{Purchase, State};
use crate::stores::{RECEIPT_ID, StorePolicy};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// One purchase of a user, with the catalogue's entry for its product.
#[derive(Debug, Clone)]
pub struct OwnedPurchase {
    pub collapse_key: CollapseKey,
    /// The platform on which the purchase was made.
    pub platform_id: PlatformId,
    /// The store in which the purchase was made, as in `platforms.store`.
    pub platform_type: String,
    /// The environment in which the purchase was made.
    pub environment: Environment,
    pub purchase: Purchase,
    /// Whether another purchase replaced this one, so that it never counts.
    pub is_replaced: bool,
    pub product_ref: ProductRef,
    /// The catalogue's entry for the purchase's product.
    pub listing: Listing,
}

#[derive(Debug, Clone)]
pub struct Customer {
    /// settle's id for the user, which never changes.
    pub user_id: UserId,
    /// The user's id in the company's own system, if known.
    pub external_id: Option<String>,
    /// The store's id of the customer, for the purchase that the event concerns.
    pub app_user_id: Option<String>,
}

/// The input of the body of one `user.*` event.
#[derive(Debug, Clone, Copy)]
pub struct UserEvent<'a> {
    pub id: EventId,
    pub event_type: &'a str,
    /// The store of the purchase that the event concerns.
    pub event_platform: &'a str,
    /// The store's id for that purchase.
    pub receipt_id: &'a str,
    pub details: &'a Details,
    /// When the event occurred, according to the store.
    pub occurred_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub customer: &'a Customer,
    /// Number of announcements of the user's state so far, including this one.
    pub user_revision: i64,
    /// The state of the user after this settling, in the environment of the purchase.
    pub state: &'a UserState,
    /// The user's devices, most recently seen first.
    pub devices: &'a [UserDevice],
    pub transfer: Option<TransferId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserDevice {
    pub id: DeviceId,
    pub platform_id: PlatformId,
    pub platform_name: String,
    /// The store, as in `platforms.store`.
    pub platform_type: String,
    /// The store's id for the app.
    pub marketplace_app_id: String,
}

/// An event of a user, with the user's state after it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(transform = additions_are_optional)]
pub(crate) struct UserBody {
    /// Active entitlements of the user, each listed once, from purchases in the event's environment.
    active_entitlements: Vec<ActiveEntitlement>,
    /// SKUs of all purchases that grant these entitlements, without duplicates.
    active_skus: Vec<String>,
    /// Journey state of the user, from the same purchases.
    customer_journey_state: Journey,
    /// Devices of the user.
    devices: Vec<Device>,
    /// Type of the event.
    event_type: String,
    /// Store of the purchase that the event is about.
    event_platform: String,
    /// Ids of the user and the purchase in other systems.
    external_ids: Vec<ExternalId>,
    /// Id of the user, which never changes.
    user_id: Uuid,
    /// Id of the event, the same for every destination.
    id: Uuid,
    /// When the event was recorded.
    #[schemars(extend("format" = "date-time"))]
    created_date: String,
    /// Number that increases with each announcement of the user's state.
    #[schemars(range(min = 1))]
    user_revision: i64,
    /// When the event occurred, by the store's clock; null if not known.
    occurred_at: Option<Timestamp>,
    /// Data about the purchase that the event is about.
    #[serde(flatten)]
    details: Details,
    /// Id of the transfer, the same in both of its events; absent from all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer_id: Option<TransferId>,
}

/// The part of a body that depends on the user's purchases. Events of one revision share it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UserState {
    active_entitlements: Vec<ActiveEntitlement>,
    active_skus: Vec<String>,
    customer_journey_state: Journey,
}

/// An active entitlement, with the purchase that grants it longest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActiveEntitlement {
    /// Further details, for display.
    pub description: Option<String>,
    /// Reference id: the entitlement's name in your own system.
    pub entitlement_ref_id: String,
    /// When the purchase expires or renews; null if it does neither, or if the store has not confirmed it yet.
    pub expiration: Option<Timestamp>,
    /// When the store last confirmed the purchase; null if it never did.
    pub last_verified: Option<Timestamp>,
    /// Display name.
    pub name: String,
    /// Store of the purchase.
    pub purchase_platform: String,
    /// SKU of the purchase.
    pub sku_ref_id: Option<String>,
}

/// A device of a user.
#[derive(Debug, Serialize, JsonSchema)]
struct Device {
    /// Id of the device.
    id: Uuid,
    /// Platform of the device.
    platform: DevicePlatform,
}

/// The platform of a device: the app on one store.
#[derive(Debug, Serialize, JsonSchema)]
struct DevicePlatform {
    /// Id of the platform.
    id: Uuid,
    /// Display name.
    name: String,
    /// Name of the store.
    platform_type: String,
    /// The store's id for the app.
    marketplace_app_id: String,
}

impl Device {
    fn of(device: &UserDevice) -> Self {
        let platform = DevicePlatform {
            id: device.platform_id.uuid(),
            name: device.platform_name.clone(),
            platform_type: device.platform_type.clone(),
            marketplace_app_id: device.marketplace_app_id.clone(),
        };
        Self {
            id: device.id.uuid(),
            platform,
        }
    }
}

/// An id in another system.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ExternalId {
    /// Name of the kind of id.
    pub key: String,
    /// Format of the id.
    #[serde(rename = "type")]
    pub kind: String,
    /// The id.
    pub value: String,
}

impl UserEvent<'_> {
    /// Returns the body, which is the same for every destination.
    pub fn body(&self) -> Value {
        let body = UserBody {
            active_entitlements: self.state.active_entitlements.clone(),
            active_skus: self.state.active_skus.clone(),
            customer_journey_state: self.state.customer_journey_state,
            devices: self.devices.iter().map(Device::of).collect(),
            event_type: self.event_type.to_owned(),
            event_platform: self.event_platform.to_owned(),
            external_ids: external_ids(
                self.customer,
                purchase_id(self.event_platform, self.receipt_id),
            ),
            user_id: self.customer.user_id.uuid(),
            id: self.id.uuid(),
            created_date: self.created_at.with_offset(),
            user_revision: self.user_revision,
            occurred_at: self.occurred_at,
            details: self.details.clone(),
            transfer_id: self.transfer,
        };
        // Serialization fails only for maps whose keys are not strings; the body has none.
        serde_json::to_value(body).unwrap_or_default()
    }
}

/// Returns the user's state over the purchases of one environment, as in the body; `None` if it equals the state over
/// all purchases.
pub fn state_apart(owned: &[OwnedPurchase], environment: Environment) -> Option<Value> {
    let apart: Vec<OwnedPurchase> = owned
        .iter()
        .filter(|one| one.environment == environment)
        .cloned()
        .collect();
    if apart.len() == owned.len() {
        return None;
    }
    let state = state(&apart);
    (state != self::state(owned)).then_some(state)
}

/// Returns the purchases of a user on these platforms; all purchases if `platforms` is empty.
pub fn on_platforms(owned: &[OwnedPurchase], platforms: &[PlatformId]) -> Vec<OwnedPurchase> {
    let is_wanted =
        |one: &&OwnedPurchase| platforms.is_empty() || platforms.contains(&one.platform_id);
    owned.iter().filter(is_wanted).cloned().collect()
}

/// Returns the user's state over these purchases, as in the body.
pub fn state(owned: &[OwnedPurchase]) -> Value {
    // Serialization fails only for maps whose keys are not strings; the state has none.
    serde_json::to_value(UserState::of(owned)).unwrap_or_default()
}

impl UserState {
    /// Returns the state over the purchases of one environment, so that a test purchase grants no access in production.
    /// The purchases must be in the order of their keys.
    pub fn apart(owned: &[OwnedPurchase], environment: Environment) -> Self {
        if owned.iter().all(|one| one.environment == environment) {
            return Self::of(owned);
        }
        let apart: Vec<OwnedPurchase> = owned
            .iter()
            .filter(|one| one.environment == environment)
            .cloned()
            .collect();
        Self::of(&apart)
    }

    /// Returns the state over these purchases, which must be in the order of their keys.
    pub fn of(owned: &[OwnedPurchase]) -> Self {
        Self {
            active_entitlements: active_entitlements(owned),
            active_skus: active_skus(owned),
            customer_journey_state: Journey::of(owned),
        }
    }
}

impl OwnedPurchase {
    /// Whether the purchase counts for the user's state: a replaced purchase does not.
    fn is_counted(&self) -> bool {
        !self.is_replaced && self.purchase.state() != State::Replaced
    }

    fn is_active(&self) -> bool {
        self.is_counted() && self.purchase.state().is_active() == Some(true)
    }

    /// Returns when the purchase's access ends or renews. A one-time purchase has no end, whatever the store shows.
    fn expiration(&self) -> Option<Timestamp> {
        if self.purchase.is_one_time_purchase() {
            None
        } else {
            self.purchase.expires_at()
        }
    }

    /// Returns a sort key: the purchase with the greatest key grants access longest. An unknown end sorts before any
    /// known one. The last two parts only make the choice between equal ends deterministic.
    fn endurance(&self) -> (bool, Option<Timestamp>, Option<Timestamp>, CollapseKey) {
        let purchase = &self.purchase;
        (
            purchase.is_one_time_purchase(),
            self.expiration(),
            purchase.last_verified(),
            self.collapse_key,
        )
    }
}

/// Returns each active entitlement once, in order of its reference id.
fn active_entitlements(owned: &[OwnedPurchase]) -> Vec<ActiveEntitlement> {
    let mut longest: BTreeMap<&str, (&OwnedPurchase, &Entitlement)> = BTreeMap::new();
    for purchase in owned.iter().filter(|owned| owned.is_active()) {
        for entitlement in &purchase.listing.entitlements {
            let known = longest
                .entry(&entitlement.entitlement_ref_id)
                .or_insert((purchase, entitlement));
            if known.0.endurance() < purchase.endurance() {
                *known = (purchase, entitlement);
            }
        }
    }
    let described = longest
        .into_values()
        .map(|(owned, entitlement)| ActiveEntitlement {
            description: entitlement.description.clone(),
            entitlement_ref_id: entitlement.entitlement_ref_id.clone(),
            expiration: owned.expiration(),
            last_verified: owned.purchase.last_verified(),
            name: entitlement.name.clone(),
            purchase_platform: owned.platform_type.clone(),
            sku_ref_id: owned.purchase.sku(owned.product_ref).map(str::to_owned),
        });
    described.collect()
}

/// Returns the SKUs of all purchases that grant an active entitlement, without duplicates, in alphabetical order.
fn active_skus(owned: &[OwnedPurchase]) -> Vec<String> {
    let giving = owned
        .iter()
        .filter(|owned| owned.is_active() && !owned.listing.entitlements.is_empty());
    let skus: BTreeSet<&str> = giving
        .flat_map(|owned| owned.purchase.skus(owned.product_ref))
        .collect();
    skus.into_iter().map(str::to_owned).collect()
}

/// Returns the store's id for a purchase.
fn purchase_id(store: &str, receipt_id: &str) -> ExternalId {
    let policy = StorePolicy::of(store);
    let key = policy.map_or(RECEIPT_ID, |policy| policy.purchase_id_key);
    ExternalId::new(key, key, receipt_id)
}

/// Returns the app's own id of the customer, if known, the store's id of the customer, and the store's id for the
/// purchase.
fn external_ids(customer: &Customer, purchase_id: ExternalId) -> Vec<ExternalId> {
    let mut names = customer_ids(
        customer.external_id.as_deref(),
        customer.app_user_id.as_slice(),
    );
    names.push(purchase_id);
    names
}

/// Returns the app's own id of the customer, if known, and the stores' ids of the customer.
pub fn customer_ids(external_id: Option<&str>, app_user_ids: &[String]) -> Vec<ExternalId> {
    let named = external_id.map(|value| ExternalId::new("external_id", id_format(value), value));
    let of_stores = app_user_ids
        .iter()
        .map(|value| ExternalId::new("app_user_id", "app_user_id", value));
    named.into_iter().chain(of_stores).collect()
}

impl ExternalId {
    fn new(key: &str, kind: &str, value: &str) -> Self {
        Self {
            key: key.to_owned(),
            kind: kind.to_owned(),
            value: value.to_owned(),
        }
    }
}

/// Returns the format of the app's own id of a customer, judged by its characters alone.
pub fn id_format(external_id: &str) -> &'static str {
    let is_hex = || external_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match external_id.len() {
        36 if Uuid::try_parse(external_id).is_ok() => "uuid",
        64 if is_hex() => "sha256",
        _ => "custom",
    }
}
