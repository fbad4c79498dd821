//! A device's request as the API accepts it, and the fields that belong to each type of event.

use crate::ids::{DeviceId, SessionId};
use crate::names::names;
use crate::notification::MAX_ID_BYTES;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum size in bytes of a signed transaction that a device hands in.
pub const MAX_SIGNED_BYTES: usize = 16 * 1024;

/// Rule of a purchase's id in a report.
const RECEIPT_RULE: &str = "An id of at most 1000 bytes, not a placeholder such as `null`. If the platform's store signs \
     transactions, the signed transaction instead.";

/// The version of the bodies of `device.*`.
pub const DEVICE_VERSION: &str = "1.0";

/// An installation of the app on a device, as described by the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// A random UUID that the app generates at its first launch and stores. Each installation has its own.
    #[schemars(extend("x-expected" = "a random UUID (version 4) that the app generated at its first launch"))]
    pub id: DeviceId,
    /// When the app was first launched, by the device's clock.
    pub first_launch: Timestamp,
    /// Version of the app.
    #[schemars(length(min = 1, max = 64))]
    pub app_version: String,
    /// Operating system of the device.
    pub os: Os,
    /// Version of the SDK that reports.
    #[schemars(length(min = 1, max = 64))]
    pub sdk_version: String,
    /// The app's own id of the device in analytics, if the app itself reports to an analytics service.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128))]
    pub analytics_device_id: Option<String>,
}

/// An operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Os {
    /// Name of the operating system, such as `fireos`.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Version of the operating system.
    #[schemars(length(min = 1, max = 64))]
    pub version: String,
}

/// Type of a device event.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(inline)]
pub enum DeviceEventKind {
    /// A session of the app started.
    #[serde(rename = "device.session.start")]
    SessionStart,
    /// A session of the app ended.
    #[serde(rename = "device.session.end")]
    SessionEnd,
    /// A paywall was shown.
    #[serde(rename = "device.impression")]
    Impression,
    /// A purchase was made or restored on the device.
    #[serde(rename = "device.transaction")]
    Transaction,
}

names! { DeviceEventKind, "the type of an event of a device" {
    SessionStart = "device.session.start",
    SessionEnd = "device.session.end",
    Impression = "device.impression",
    Transaction = "device.transaction",
} }

/// An event reported by a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedEvent {
    /// The app's own id for the event, used only once. It makes repeated requests recognizable.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// Type of the event.
    #[serde(rename = "type")]
    pub kind: DeviceEventKind,
    /// When the event occurred, by the device's clock.
    pub time: Timestamp,
    /// Id of the session; required for `device.session.start` and `device.session.end`.
    #[serde(default)]
    pub session_id: Option<SessionId>,
    /// Purchases on the device; for `device.session.start` only. They identify the store's customers on the device, so
    /// that a login does not take over another customer's purchases. Leave out if unknown.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub receipts: Option<Vec<DeviceReceipt>>,
    /// Paywall that was shown; required for `device.impression`.
    #[serde(default)]
    pub impression: Option<Impression>,
    /// Purchase that was made or restored; required for `device.transaction`.
    #[serde(default)]
    pub transaction: Option<DeviceTransaction>,
}

/// A purchase on a device, by the store's ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceReceipt {
    /// The store's id for the purchase. If the platform's store signs transactions: the signed transaction, of which only
    /// the id of its purchase is stored here.
    #[schemars(length(min = 1, max = MAX_SIGNED_BYTES))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    #[schemars(extend("x-expected" = "text of 1 to 1000 characters", "x-rule" = RECEIPT_RULE))]
    pub receipt_id: String,
    /// The store's id for the customer who is signed in to the store on the device. Required unless the platform's
    /// store identifies a purchase by its receipt alone.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    pub app_user_id: Option<String>,
}

/// A paywall that was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Impression {
    /// Name of the paywall.
    #[schemars(length(min = 1, max = 200))]
    pub paywall: String,
    /// Place in the app where the paywall was shown.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub placement: Option<String>,
    /// Campaign that selected the paywall.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub campaign: Option<String>,
    /// Variant of the campaign.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub variant: Option<String>,
    /// Products offered on the paywall.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub products: Vec<OfferedProduct>,
}

/// A product on a paywall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfferedProduct {
    /// SKU of the subscription's term, or of the product.
    #[schemars(length(min = 1, max = 200), extend("x-trimmed" = true))]
    pub sku: String,
    /// Displayed price.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "decimal"))]
    pub price: Option<Decimal>,
    /// ISO 4217 code of the price's currency.
    #[serde(default)]
    #[schemars(extend("format" = "currency"))]
    pub currency: Option<String>,
    /// Whether the customer is eligible for a free trial; null if not known.
    #[serde(default)]
    pub is_trial_eligible: Option<bool>,
}

/// A purchase that was made or restored on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceTransaction {
    /// Whether the purchase was made or restored.
    pub kind: TransactionKind,
    /// The store's id for the purchase. If the platform's store signs transactions: the signed transaction, of which only
    /// the id of its purchase is stored here.
    #[schemars(length(min = 1, max = MAX_SIGNED_BYTES))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    #[schemars(extend("x-expected" = "text of 1 to 1000 characters", "x-rule" = RECEIPT_RULE))]
    pub receipt_id: String,
    /// The store's id of the customer. Required unless the platform's store identifies a purchase by its receipt
    /// alone.
    #[serde(default)]
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    pub app_user_id: Option<String>,
    /// SKU of the subscription's term, or of the product.
    #[schemars(length(min = 1, max = 200), extend("x-trimmed" = true))]
    pub sku: String,
    /// Price that the store displayed.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "decimal"))]
    pub price: Option<Decimal>,
    /// ISO 4217 code of the price's currency.
    #[serde(default)]
    #[schemars(extend("format" = "currency"))]
    pub currency: Option<String>,
    /// Country of the customer's marketplace.
    #[serde(default)]
    #[schemars(extend("format" = "country"))]
    pub marketplace: Option<String>,
    /// Id of the `device.impression` that led to the purchase.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub impression_id: Option<String>,
}

/// How a purchase came to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TransactionKind {
    /// Made on this device.
    Purchased,
    /// Made elsewhere and restored on this device.
    Restored,
}

/// Data of an event besides its time and session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    SessionStart {
        session: SessionId,
        /// The purchases on the device; `None` if the report does not list them.
        receipts: Option<Vec<DeviceReceipt>>,
    },
    SessionEnd {
        session: SessionId,
    },
    Impression(Impression),
    /// A purchase was made or restored.
    Transaction(DeviceTransaction),
}

impl Content {
    /// Returns the stores' customer ids in the content.
    pub fn app_user_ids(&mut self) -> impl Iterator<Item = &mut String> {
        let (receipts, transaction) = match self {
            Self::SessionStart { receipts, .. } => (receipts.as_mut(), None),
            Self::Transaction(transaction) => (None, Some(transaction)),
            Self::SessionEnd { .. } | Self::Impression(_) => (None, None),
        };
        let of_receipts = receipts
            .into_iter()
            .flatten()
            .filter_map(|receipt| receipt.app_user_id.as_mut());
        of_receipts.chain(transaction.and_then(|transaction| transaction.app_user_id.as_mut()))
    }

    /// Returns the texts that the app chooses.
    pub fn chosen_texts(&mut self) -> impl Iterator<Item = &mut String> {
        let impression = match self {
            Self::Impression(impression) => Some(impression),
            Self::SessionStart { .. } | Self::SessionEnd { .. } | Self::Transaction(_) => None,
        };
        impression.into_iter().flat_map(
            |Impression {
                 paywall,
                 placement,
                 campaign,
                 variant,
                 ..
             }| {
                [
                    Some(paywall),
                    placement.as_mut(),
                    campaign.as_mut(),
                    variant.as_mut(),
                ]
                .into_iter()
                .flatten()
            },
        )
    }

    /// Returns the app's own id of the impression that led to the transaction.
    pub fn impression_id(&mut self) -> Option<&mut String> {
        match self {
            Self::Transaction(transaction) => transaction.impression_id.as_mut(),
            Self::SessionStart { .. } | Self::SessionEnd { .. } | Self::Impression(_) => None,
        }
    }
}

/// A field of a report that does not fit the type of its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongField {
    pub field: &'static str,
    pub expected: &'static str,
}

impl ReportedEvent {
    /// Returns the content, if the fields match the type.
    ///
    /// # Errors
    /// The first field that is missing, or that belongs to another type.
    pub fn content(&self) -> Result<Content, WrongField> {
        let Self {
            kind,
            session_id,
            receipts,
            impression,
            transaction,
            ..
        } = self;
        let unexpected = [
            (
                "receipts",
                receipts.is_some(),
                DeviceEventKind::SessionStart,
            ),
            (
                "impression",
                impression.is_some(),
                DeviceEventKind::Impression,
            ),
            (
                "transaction",
                transaction.is_some(),
                DeviceEventKind::Transaction,
            ),
        ];
        if let Some((field, ..)) = unexpected
            .into_iter()
            .find(|(_, is_present, of)| *is_present && of != kind)
        {
            return Err(WrongField {
                field,
                expected: "nothing: it belongs to another type of event",
            });
        }
        let session = session_id.ok_or(WrongField {
            field: "session_id",
            expected: "the session that it is about",
        });
        match kind {
            DeviceEventKind::SessionStart => Ok(Content::SessionStart {
                session: session?,
                receipts: receipts.clone(),
            }),
            DeviceEventKind::SessionEnd => Ok(Content::SessionEnd { session: session? }),
            DeviceEventKind::Impression => {
                impression
                    .clone()
                    .map(Content::Impression)
                    .ok_or(WrongField {
                        field: "impression",
                        expected: "what was shown",
                    })
            }
            DeviceEventKind::Transaction => {
                transaction
                    .clone()
                    .map(Content::Transaction)
                    .ok_or(WrongField {
                        field: "transaction",
                        expected: "what was bought or restored",
                    })
            }
        }
    }
}
