//! The settings of a webhook, without its secrets. They are stored as JSON.

use super::signature::Version;
use crate::destinations::settings;
use crate::destinations::unnamed::WithoutExternalId;
use domain::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// The settings of a webhook. A new one is also an entry of the form, and a flag of `settle destination`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// The endpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "uri", "examples" = ["https://example.com/hook"]))]
    pub url: Option<Url>,
    /// Whether path and query of the URL are a secret: encrypted, and shown nowhere. Those of a message for a chat are never
    /// shown. Releases before 0.1.1 do not find such a URL: its events wait for a newer process.
    #[serde(skip_serializing_if = "is_false")]
    pub secret_url: bool,
    /// The URL as people see it, where it is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub sealed_url: Option<String>,
    /// The names of its headers.
    #[schemars(extend("readOnly" = true))]
    pub headers: Vec<String>,
    /// What the body of a request is.
    pub body: BodyShape,
    /// Standard Webhooks: `v1` by the shared secret, `v1a` by a key whose public half the receiver has.
    pub signature: Signature,
    /// What happens to events of customers without an external id: they are sent, wait up to 30 days for the id, or are
    /// skipped.
    pub without_external_id: WithoutExternalId,
    /// Maximum number of events of devices in a request. If above 1, the body is always an array, even for one event. A
    /// message is always about one event.
    #[schemars(range(min = 1, max = 100))]
    pub device_batch: usize,
    /// Whether events of devices carry the receipts that apps report, with the store's customers: whoever has both may
    /// claim the purchase on a device.
    pub device_receipts: bool,
    /// `whpk_…`, where signatures need one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("readOnly" = true))]
    pub public_key: Option<String>,
    /// Until when the last of the replaced secrets signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Timestamp", extend("readOnly" = true))]
    pub old_secret_signs_until: Option<Timestamp>,
}

/// What the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyShape {
    /// The event as JSON.
    #[default]
    Event,
    /// A message for a chat, as Slack's incoming webhooks take it: `{"text": …}`.
    Slack,
}

/// How requests are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub enum Signature {
    #[default]
    #[serde(rename = "v1")]
    Shared,
    #[serde(rename = "v1a")]
    Public,
    #[serde(rename = "v1,v1a")]
    Both,
}

impl Signature {
    /// The versions of the signatures, in their order.
    pub const fn versions(self) -> &'static [Version] {
        match self {
            Self::Shared => &[Version::V1],
            Self::Public => &[Version::V1a],
            Self::Both => &[Version::V1, Version::V1a],
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: None,
            secret_url: false,
            sealed_url: None,
            headers: Vec::new(),
            body: BodyShape::default(),
            signature: Signature::default(),
            without_external_id: WithoutExternalId::default(),
            device_batch: 1,
            device_receipts: false,
            public_key: None,
            old_secret_signs_until: None,
        }
    }
}

impl settings::Settings for Settings {}

const fn is_false(value: &bool) -> bool {
    !*value
}
