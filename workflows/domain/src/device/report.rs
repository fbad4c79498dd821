//! What one request of a device says, as the API takes it, and which parts belong to which type of event.

use crate::ids::{DeviceId, SessionId};
use crate::names::names;
use crate::notification::MAX_ID_BYTES;
use crate::time::Timestamp;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The version of the bodies of `device.*`.
pub const DEVICE_VERSION: &str = "1.0";

/// An installation of the app on a device, as the app describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// A random UUID that the app makes at its first launch and keeps; another installation has another one.
    #[schemars(extend("x-expected" = "a random UUID (version 4) that the app generated at its first launch"))]
    pub id: DeviceId,
    /// When the app was first launched, by the device's clock.
    pub first_launch: Timestamp,
    /// The version of the app.
    #[schemars(length(min = 1, max = 64))]
    pub app_version: String,
    /// The operating system.
    pub os: Os,
    /// The version of the client that reports.
    #[schemars(length(min = 1, max = 64))]
    pub sdk_version: String,
    /// The app's own device id in Amplitude, if it uses Amplitude itself.
    #[serde(default)]
    #[schemars(length(min = 1, max = 128))]
    pub analytics_device_id: Option<String>,
}

/// An operating system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Os {
    /// Its name, such as `fireos`.
    #[schemars(length(min = 1, max = 64))]
    pub name: String,
    /// Its version.
    #[schemars(length(min = 1, max = 64))]
    pub version: String,
}

/// The type of an event of a device.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[schemars(inline)]
pub enum DeviceEventKind {
    /// A session of the app began.
    #[serde(rename = "device.session.start")]
    SessionStart,
    /// A session ended.
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

/// One event, as a device reports it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportedEvent {
    /// The app's own id of the event, which it uses once: a repeated request is recognized by it.
    #[schemars(length(min = 1, max = 64))]
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: DeviceEventKind,
    /// When it happened, by the device's clock.
    pub time: Timestamp,
    /// The session that it belongs to; required at the start and the end of one.
    #[serde(default)]
    pub session_id: Option<SessionId>,
    /// The receipts on the device, for `device.session.start` alone. They name the customers of the store on it: a login
    /// takes nothing of another one's. Leave it out while they are not known.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub receipts: Option<Vec<DeviceReceipt>>,
    /// What was shown; required for `device.impression`.
    #[serde(default)]
    pub impression: Option<Impression>,
    /// What was bought or restored; required for `device.transaction`.
    #[serde(default)]
    pub transaction: Option<DeviceTransaction>,
}

/// A receipt on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceReceipt {
    /// The store's id of the receipt.
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    pub receipt_id: String,
    /// The store's id of the customer who is signed in to the store on the device.
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    pub app_user_id: String,
}

/// A paywall that was shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Impression {
    /// The paywall.
    #[schemars(length(min = 1, max = 200))]
    pub paywall: String,
    /// Where in the app it was shown.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub placement: Option<String>,
    /// The campaign that chose it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub campaign: Option<String>,
    /// The variant of the campaign.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub variant: Option<String>,
    /// The products that it offered.
    #[serde(default)]
    #[schemars(length(max = 50))]
    pub products: Vec<OfferedProduct>,
}

/// A product on a paywall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OfferedProduct {
    /// Its SKU: that of the term.
    #[schemars(length(min = 1, max = 200), extend("x-trimmed" = true))]
    pub sku: String,
    /// The shown price.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "decimal"))]
    pub price: Option<Decimal>,
    /// The currency of the price.
    #[serde(default)]
    #[schemars(extend("format" = "currency"))]
    pub currency: Option<String>,
    /// Whether the customer may have a free trial of it; null when that is not known.
    #[serde(default)]
    pub is_trial_eligible: Option<bool>,
}

/// A purchase that was made or restored on a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeviceTransaction {
    /// Whether it was made or restored.
    pub kind: TransactionKind,
    /// The store's id of the receipt.
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    pub receipt_id: String,
    /// The store's id of the customer.
    #[schemars(length(min = 1, max = 1000))]
    #[schemars(extend("x-maxBytes" = MAX_ID_BYTES, "x-identifies" = true, "x-trimmed" = true))]
    pub app_user_id: String,
    /// The SKU of the term.
    #[schemars(length(min = 1, max = 200), extend("x-trimmed" = true))]
    pub sku: String,
    /// The price that the store showed.
    #[serde(default)]
    #[schemars(with = "Option<String>", extend("format" = "decimal"))]
    pub price: Option<Decimal>,
    /// The currency of the price.
    #[serde(default)]
    #[schemars(extend("format" = "currency"))]
    pub currency: Option<String>,
    /// The country of the customer's marketplace.
    #[serde(default)]
    #[schemars(extend("format" = "country"))]
    pub marketplace: Option<String>,
    /// The id of the `device.impression` that led to it.
    #[serde(default)]
    #[schemars(length(min = 1, max = 64))]
    pub impression_id: Option<String>,
}

/// How a purchase came to a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum TransactionKind {
    /// It was made there.
    Purchased,
    /// It was made elsewhere, and restored.
    Restored,
}

/// What an event of a type says beside its time and session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    SessionStart {
        session: SessionId,
        /// The receipts on the device; `None` where the report does not say which there are.
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
    /// The stores' ids of customers that it names.
    pub fn app_user_ids(&mut self) -> impl Iterator<Item = &mut String> {
        let (receipts, transaction) = match self {
            Self::SessionStart { receipts, .. } => (receipts.as_mut(), None),
            Self::Transaction(transaction) => (None, Some(transaction)),
            Self::SessionEnd { .. } | Self::Impression(_) => (None, None),
        };
        let of_receipts = receipts
            .into_iter()
            .flatten()
            .map(|receipt| &mut receipt.app_user_id);
        of_receipts.chain(transaction.map(|transaction| &mut transaction.app_user_id))
    }

    /// The texts that the app chooses.
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

    /// The app's own id of the impression that led to it.
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
    /// The content, if the parts fit the type.
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
