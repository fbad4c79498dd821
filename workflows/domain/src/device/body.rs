//! The bodies of `device.*`: the documented envelope of `attributes` and `data`, version 1.0.

use super::report::{
    Content, DEVICE_VERSION, Device, DeviceEventKind, DeviceReceipt, DeviceTransaction, Impression,
    OfferedProduct, Os, TransactionKind,
};
use crate::ids::{
    AppId, CollapseKey, DestinationId, DevicePlace, EventId, OrgId, SessionId, UserId,
};
use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

/// The input of the body of one device event.
#[derive(Debug, Clone, Copy)]
pub struct DeviceEvent<'a> {
    /// The company that runs the installation.
    pub org_id: OrgId,
    pub app_id: AppId,
    pub place: DevicePlace,
    /// The store of the platform, as in `platforms.store`.
    pub platform_type: &'a str,
    pub event_id: EventId,
    /// When the event occurred, by settle's clock.
    pub event_time: Timestamp,
    /// The device, as the app described it.
    pub device: &'a Device,
    /// The user of the device at that time.
    pub owner: &'a DeviceOwner,
    /// The session to which the event belongs.
    pub session: Option<SessionMark>,
    pub happened: Happened<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceOwner {
    /// User of the device: anonymous until a customer logs in.
    pub user_id: UserId,
    /// The customer's external id, once one has logged in.
    pub external_id: Option<String>,
}

/// A session, as its events identify it.
#[derive(Debug, Clone, Copy)]
pub struct SessionMark {
    pub id: SessionId,
    /// When it began, if that was reported before the event.
    pub started_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy)]
pub enum Happened<'a> {
    Reported(&'a Content),
    /// A session ended because it had no event for half an hour.
    TimedOut,
}

impl Happened<'_> {
    pub const fn kind(self) -> DeviceEventKind {
        match self {
            Self::Reported(Content::SessionStart { .. }) => DeviceEventKind::SessionStart,
            Self::Reported(Content::SessionEnd { .. }) | Self::TimedOut => {
                DeviceEventKind::SessionEnd
            }
            Self::Reported(Content::Impression(_)) => DeviceEventKind::Impression,
            Self::Reported(Content::Transaction(_)) => DeviceEventKind::Transaction,
        }
    }
}

/// The body of a device event; `data` depends on the type.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DeviceBody<Data> {
    /// Metadata of the event.
    attributes: DeviceAttributes,
    /// What happened on the device.
    data: Data,
}

/// Metadata of a device event.
#[derive(Debug, Serialize, JsonSchema)]
struct DeviceAttributes {
    /// Id of the app.
    app_id: Uuid,
    /// Key of the event's subject: a device event concerns only itself, so this is its own id.
    collapse_key: String,
    /// Id of the event, the same for every destination.
    event_id: Uuid,
    /// When the event occurred, by the device's clock, corrected by the server's.
    event_time: Timestamp,
    /// Type of the event.
    event_type: DeviceEventKind,
    /// Id of the installation.
    org_id: Uuid,
    /// Id of the platform: the app on one store.
    platform_id: Uuid,
    /// Id of the destination that receives this delivery.
    subscription_id: Option<Uuid>,
    /// Version of the schema.
    #[schemars(extend("const" = DEVICE_VERSION))]
    version: &'static str,
}

/// Data of every device event.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Common {
    /// Device that reported the event.
    device: DeviceData,
    /// The customer's external id, if one was logged in.
    external_id: Option<String>,
    /// Id of the session; null outside of a session.
    session_id: Option<SessionId>,
    /// When the session started; null if its start was not reported before.
    session_started_at: Option<Timestamp>,
    /// Id of the device's user: anonymous until a customer logs in.
    user_id: Uuid,
}

/// A device that reports events.
#[derive(Debug, Serialize, JsonSchema)]
struct DeviceData {
    /// The app's own id of the device in analytics, if reported.
    analytics_device_id: Option<String>,
    /// Version of the app.
    app_version: String,
    /// When the device was first seen, by its own clock.
    first_launch: Timestamp,
    /// Id of the device.
    id: Uuid,
    /// Operating system of the device.
    os: Os,
    /// Store that the device uses.
    platform_type: String,
    /// Version of the SDK that reported the event.
    sdk_version: String,
}

/// A session of the app started.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionStartData {
    #[serde(flatten)]
    common: Common,
    /// Keys of the purchases on the device, in the order of `receipts`. The app reported them; none is verified.
    collapse_key: Vec<Uuid>,
    /// Purchases on the device, each with the store's customer; only if `device_receipts` of the destination is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<PurchaseIds>", extend("x-setting" = "device_receipts"))]
    receipts: Option<Vec<PurchaseIds>>,
}

/// A purchase on a device, by the store's ids.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DeviceReceipt")]
struct PurchaseIds {
    /// The store's id for the purchase.
    #[schemars(length(min = 1, max = 500), extend("x-identifies" = true, "x-trimmed" = true))]
    receipt_id: String,
    /// The store's id for the customer who is signed in to the store on the device.
    #[schemars(length(min = 1, max = 500), extend("x-identifies" = true, "x-trimmed" = true))]
    app_user_id: String,
}

impl PurchaseIds {
    /// Returns the ids; `None` if the schema that release 0.1.0 published does not allow them: an id is too long, or
    /// the store needs no customer. The event contains the `collapse_key` of such a purchase all the same.
    fn of(reported: &DeviceReceipt) -> Option<Self> {
        let fits = |id: &str| id.chars().count() <= MAX_PUBLISHED_CHARS;
        let app_user_id = reported.app_user_id.as_deref().filter(|id| fits(id))?;
        fits(&reported.receipt_id).then(|| Self {
            receipt_id: reported.receipt_id.clone(),
            app_user_id: app_user_id.to_owned(),
        })
    }
}

/// Maximum length of a store's ids in an event, in characters.
const MAX_PUBLISHED_CHARS: usize = 500;

/// A session of the app ended.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SessionEndData {
    #[serde(flatten)]
    common: Common,
    /// What ended the session: the app, or half an hour without an event.
    closed_by: ClosedBy,
}

/// Cause of the end of a session.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum ClosedBy {
    /// Ended by the app.
    App,
    /// Ended after half an hour without an event.
    Timeout,
}

/// A paywall was shown.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ImpressionData {
    #[serde(flatten)]
    common: Common,
    /// Campaign that selected the paywall.
    campaign: Option<String>,
    /// Name of the paywall.
    paywall: String,
    /// Place in the app where the paywall was shown.
    placement: Option<String>,
    /// Products offered on the paywall.
    products: Vec<ProductData>,
    /// Variant of the campaign.
    variant: Option<String>,
}

/// A product on a paywall.
#[derive(Debug, Serialize, JsonSchema)]
struct ProductData {
    /// ISO 4217 code of the price's currency.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    currency: Option<String>,
    /// Whether the customer is eligible for a free trial.
    is_trial_eligible: Option<bool>,
    /// Displayed price.
    price: Option<Decimal>,
    /// SKU of the subscription's term, or of the product.
    sku_ref_id: String,
}

/// A purchase was made or restored on the device. The app reported it; it is not verified.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TransactionData {
    #[serde(flatten)]
    common: Common,
    /// The store's id for the customer; only if `device_receipts` of the destination is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-setting" = "device_receipts"))]
    app_user_id: Option<String>,
    /// Key of the purchase, as in its own events.
    collapse_key: Uuid,
    /// Event id (in `attributes`) of the `device.impression` that led to the purchase.
    impression_event_id: Option<Uuid>,
    /// Whether the purchase was made or restored.
    kind: TransactionKind,
    /// ISO 4217 code of the price's currency.
    #[schemars(regex(pattern = r"^[A-Z]{3}$"))]
    purchase_currency: Option<String>,
    /// The store's id for the purchase; only if `device_receipts` of the destination is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("x-setting" = "device_receipts"))]
    purchase_guid: Option<String>,
    /// Country of the customer's marketplace.
    #[schemars(regex(pattern = r"^[A-Z]{2}$"))]
    purchase_country: Option<String>,
    /// Price that the store displayed.
    purchase_price: Option<Decimal>,
    /// SKU of the subscription's term, or of the product.
    sku_ref_id: String,
}

impl DeviceEvent<'_> {
    /// Returns the body as it is stored: `subscription_id`, which differs for each destination, is null; all data that
    /// a destination may receive is included.
    pub fn body(&self, epoch: i64) -> Value {
        let attributes = DeviceAttributes {
            app_id: self.app_id.uuid(),
            collapse_key: self.event_id.to_string(),
            event_id: self.event_id.uuid(),
            event_time: self.event_time,
            event_type: self.happened.kind(),
            org_id: self.org_id.uuid(),
            platform_id: self.place.platform.uuid(),
            subscription_id: None,
            version: DEVICE_VERSION,
        };
        json!({ "attributes": attributes, "data": self.data(epoch) })
    }

    fn data(&self, epoch: i64) -> Value {
        let common = self.common();
        let data = match self.happened {
            Happened::TimedOut => serde_json::to_value(SessionEndData {
                common,
                closed_by: ClosedBy::Timeout,
            }),
            Happened::Reported(Content::SessionEnd { .. }) => {
                serde_json::to_value(SessionEndData {
                    common,
                    closed_by: ClosedBy::App,
                })
            }
            Happened::Reported(Content::SessionStart { receipts, .. }) => {
                let key = |one: &DeviceReceipt| self.purchase(&one.receipt_id);
                let receipts = receipts.as_deref().unwrap_or_default();
                serde_json::to_value(SessionStartData {
                    common,
                    collapse_key: receipts.iter().map(key).collect(),
                    receipts: Some(receipts.iter().filter_map(PurchaseIds::of).collect()),
                })
            }
            Happened::Reported(Content::Impression(impression)) => {
                serde_json::to_value(ImpressionData::of(common, impression))
            }
            Happened::Reported(Content::Transaction(transaction)) => {
                let impression = transaction.impression_id.as_deref();
                let impression = impression.map(|id| EventId::of_device(self.place, epoch, id));
                let key = self.purchase(&transaction.receipt_id);
                serde_json::to_value(TransactionData::of(common, key, transaction, impression))
            }
        };
        // Serialization fails only for maps whose keys are not strings; the data has none.
        data.unwrap_or_default()
    }

    /// Returns the collapse key of the purchase that the store identifies by `receipt_id`.
    fn purchase(&self, receipt_id: &str) -> Uuid {
        CollapseKey::of(self.place.platform, receipt_id).uuid()
    }

    fn common(&self) -> Common {
        let Self {
            device,
            session,
            owner,
            platform_type,
            ..
        } = *self;
        let device = DeviceData {
            analytics_device_id: device.analytics_device_id.clone(),
            app_version: device.app_version.clone(),
            first_launch: device.first_launch,
            id: device.id.uuid(),
            os: device.os.clone(),
            platform_type: platform_type.to_owned(),
            sdk_version: device.sdk_version.clone(),
        };
        Common {
            device,
            external_id: owner.external_id.clone(),
            session_id: session.map(|session| session.id),
            session_started_at: session.and_then(|session| session.started_at),
            user_id: owner.user_id.uuid(),
        }
    }
}

impl ImpressionData {
    fn of(common: Common, impression: &Impression) -> Self {
        let Impression {
            paywall,
            placement,
            campaign,
            variant,
            products,
        } = impression.clone();
        let products = products.into_iter().map(ProductData::of).collect();
        Self {
            common,
            campaign,
            paywall,
            placement,
            products,
            variant,
        }
    }
}

impl ProductData {
    fn of(product: OfferedProduct) -> Self {
        let OfferedProduct {
            sku,
            price,
            currency,
            is_trial_eligible,
        } = product;
        Self {
            currency,
            is_trial_eligible,
            price,
            sku_ref_id: sku,
        }
    }
}

impl TransactionData {
    fn of(
        common: Common,
        key: Uuid,
        transaction: &DeviceTransaction,
        impression: Option<EventId>,
    ) -> Self {
        let DeviceTransaction {
            kind,
            receipt_id,
            app_user_id,
            sku,
            price,
            currency,
            marketplace,
            impression_id: _,
        } = transaction.clone();
        Self {
            common,
            app_user_id,
            collapse_key: key,
            impression_event_id: impression.map(EventId::uuid),
            kind,
            purchase_currency: currency,
            purchase_guid: Some(receipt_id),
            purchase_country: marketplace,
            purchase_price: price,
            sku_ref_id: sku,
        }
    }
}

/// The fields of `data` that contain the store's id of a purchase or customer. Both together suffice to claim a
/// purchase, so they leave the installation only if a setting allows it; `collapse_key` identifies the purchase
/// everywhere.
const PROOFS: [&str; 3] = ["app_user_id", "purchase_guid", "receipts"];

/// Removes the store's ids of purchases and their customers from a body.
pub fn without_receipts(mut body: Value) -> Value {
    if let Some(data) = body.get_mut("data").and_then(Value::as_object_mut) {
        data.retain(|name, _| !PROOFS.contains(&name.as_str()));
    }
    body
}

/// Returns the body as it is sent to one destination.
pub fn for_destination(mut body: Value, destination: DestinationId) -> Value {
    if let Some(attributes) = body.get_mut("attributes").and_then(Value::as_object_mut) {
        attributes.insert("subscription_id".to_owned(), json!(destination));
    }
    body
}
