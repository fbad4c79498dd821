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
    /// URL of the endpoint that receives the events.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("format" = "uri", "examples" = ["https://example.com/hook"]))]
    pub url: Option<Url>,
    /// Whether the path and query of the URL are secret: encrypted, and never shown. Those of a chat message's URL are
    /// never shown. Releases before 0.1.1 cannot read such a URL: its events wait for a newer process.
    #[serde(skip_serializing_if = "is_false")]
    pub secret_url: bool,
    /// The displayed part of the URL, if the URL is encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub sealed_url: Option<String>,
    /// Names of the additional request headers.
    #[schemars(extend("readOnly" = true))]
    pub headers: Vec<String>,
    /// Content of the request body.
    pub body: BodyShape,
    /// Standard Webhooks signature: `v1` with a shared secret, or `v1a` with a key whose public half the receiver
    /// holds.
    pub signature: Signature,
    /// What happens to events of customers without an external id: they are sent, wait up to 30 days for the id, or are
    /// skipped.
    pub without_external_id: WithoutExternalId,
    /// Maximum number of device events in one request. If above 1, the body is always an array, even for one event. A
    /// chat message always covers one event.
    #[schemars(range(min = 1, max = 100))]
    pub device_batch: usize,
    /// Whether device events include the store's ids of purchases and customers that apps report. Knowing both is enough
    /// to claim the purchase on a device.
    pub device_receipts: bool,
    /// Public key `whpk_…` for verifying `v1a` signatures.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("readOnly" = true))]
    pub public_key: Option<String>,
    /// Until when the last of the replaced secrets signs too.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Timestamp", extend("readOnly" = true))]
    pub old_secret_signs_until: Option<Timestamp>,
}

/// Content of the request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BodyShape {
    /// The event as JSON.
    #[default]
    Event,
    /// A chat message in the format of Slack's incoming webhooks: `{"text": …}`.
    Slack,
}

/// Signature scheme of requests.
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
    /// Returns the versions of the signatures, in their order.
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
