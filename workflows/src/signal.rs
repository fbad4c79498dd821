//! What a workflow `purchase` can be told, and how an unreadable word is kept from blocking it.
//!
//! All of it can be sent by hand from the `temporal` CLI, so every field is optional in JSON.

use domain::DestinationId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use temporalio_common::data_converters::{
    PayloadConversionError, SerializationContext, TemporalDeserializable, TemporalSerializable,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;

/// One signal with its payload: what the dispatcher, the API and the sweep send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// There are new rows in the inbox.
    Notified(Notified),
    /// Look at the purchase now, without a window.
    Wake,
    /// Settle now; never through a hold.
    Flush(Admin),
    /// Stop settling.
    Hold(Hold),
    /// End a hold.
    Release(Admin),
    /// End what was accepted so far, unrecorded.
    Discard(Discard),
    /// Send the newest state again.
    Redeliver(Redeliver),
}

impl Signal {
    /// The signal's public name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Notified(_) => crate::contract::NOTIFIED,
            Self::Wake => crate::contract::WAKE,
            Self::Flush(_) => crate::contract::FLUSH,
            Self::Hold(_) => crate::contract::HOLD,
            Self::Release(_) => crate::contract::RELEASE,
            Self::Discard(_) => crate::contract::DISCARD,
            Self::Redeliver(_) => crate::contract::REDELIVER,
        }
    }

    /// The payload as JSON.
    #[must_use]
    pub fn payload(&self) -> serde_json::Value {
        let json = match self {
            Self::Notified(body) => serde_json::to_value(body),
            Self::Wake => Ok(serde_json::json!({})),
            Self::Flush(body) | Self::Release(body) => serde_json::to_value(body),
            Self::Hold(body) => serde_json::to_value(body),
            Self::Discard(body) => serde_json::to_value(body),
            Self::Redeliver(body) => serde_json::to_value(body),
        };
        json.unwrap_or(serde_json::Value::Null)
    }
}

/// New rows in the inbox: the newest sequence number, and how long it still has to be quiet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notified {
    /// The newest sequence number.
    pub through: i64,
    /// Milliseconds for which it still has to be quiet, counted from now.
    pub quiet_ms: i64,
    /// How many rows are new since the last signal; for people.
    pub count: i64,
    /// Milliseconds until the max-wait cap of the oldest waiting row, when the platform has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap_ms: Option<i64>,
}

/// Who asked, and why.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Admin {
    /// Who asked.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// Stop settling for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hold {
    /// Who asked.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Until when, RFC 3339; seven days when absent or unreadable.
    pub until: Option<String>,
}

/// Throw away what was accepted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Discard {
    /// Who asked.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The newest sequence number that the asker saw; all that is open when absent.
    pub through: Option<i64>,
}

/// Send the newest state again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redeliver {
    /// Who asked.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// To whom; to every destination when absent.
    pub destination_id: Option<DestinationId>,
}

/// A signal's payload that always decodes: what could not be read is an `Err` with the reason.
/// A payload that fails to decode would block the workflow for ever.
#[derive(Debug, Clone)]
pub struct Lenient<T>(pub Result<T, String>);

impl<T> From<T> for Lenient<T> {
    fn from(value: T) -> Self {
        Self(Ok(value))
    }
}

impl<T: DeserializeOwned + Default + 'static> TemporalDeserializable for Lenient<T> {
    fn from_payload(context: &SerializationContext<'_>, payload: Payload) -> Result<Self, PayloadConversionError> {
        Self::from_payloads(context, vec![payload])
    }

    fn from_payloads(_: &SerializationContext<'_>, payloads: Vec<Payload>) -> Result<Self, PayloadConversionError> {
        if payloads.len() > 1 {
            return Ok(Self(Err(format!("expected one input, got {}", payloads.len()))));
        }
        let data = payloads.first().map_or(&[][..], |payload| &payload.data[..]).trim_ascii();
        if data.is_empty() || data == b"null" {
            return Ok(Self(Ok(T::default())));
        }
        // A list would be read as the fields in their order.
        if !data.starts_with(b"{") {
            return Ok(Self(Err("expected a JSON object, such as {\"reason\":\"…\"}".to_owned())));
        }
        Ok(Self(serde_json::from_slice(data).map_err(|error| error.to_string())))
    }
}

impl<T: Serialize + 'static> TemporalSerializable for Lenient<T> {
    fn to_payload(&self, _: &SerializationContext<'_>) -> Result<Payload, PayloadConversionError> {
        let data = match &self.0 {
            Ok(value) => serde_json::to_vec(value).unwrap_or_default(),
            Err(_) => b"null".to_vec(),
        };
        let metadata = [("encoding".to_owned(), b"json/plain".to_vec())].into_iter().collect();
        Ok(Payload { metadata, data, ..Default::default() })
    }
}
