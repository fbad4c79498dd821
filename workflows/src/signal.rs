//! The signals of the workflows `purchase` and `destination`. An unreadable payload never blocks a workflow: see
//! [`Lenient`].
//!
//! People send signals from the `temporal` CLI, so every field is optional in JSON.

use domain::time::{as_millis, as_optional_millis};
use domain::{CollapseKey, DestinationId, EventId, KeyId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use temporalio_common::data_converters::{
    PayloadConversionError, SerializationContext, TemporalDeserializable, TemporalSerializable,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;

/// Maximum number of purchases that one `replay` may name, since the history stores all of them.
pub const MAX_NAMED: usize = 100;

/// One signal to a purchase with its payload, as sent by the dispatcher, the API and the sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// The inbox has new rows.
    Notified(Notified),
    /// Load the purchase now. A window that has not ended stays open.
    Wake,
    /// Settle now, unless the purchase is on hold.
    Flush(Admin),
    Hold(Hold),
    Release(Admin),
    /// Discard the notifications accepted so far.
    Discard(Discard),
    /// Stop waiting for the next attempt of a lane.
    CancelBackoff(CancelBackoff),
}

impl Signal {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Notified(_) => crate::contract::NOTIFIED,
            Self::Wake => crate::contract::WAKE,
            Self::Flush(_) => crate::contract::FLUSH,
            Self::Hold(_) => crate::contract::HOLD,
            Self::Release(_) => crate::contract::RELEASE,
            Self::Discard(_) => crate::contract::DISCARD,
            Self::CancelBackoff(_) => crate::contract::CANCEL_BACKOFF,
        }
    }

    pub fn payload(&self) -> serde_json::Value {
        let json = match self {
            Self::Notified(body) => serde_json::to_value(body),
            Self::Wake => Ok(serde_json::json!({})),
            Self::Flush(body) | Self::Release(body) => serde_json::to_value(body),
            Self::Hold(body) => serde_json::to_value(body),
            Self::Discard(body) => serde_json::to_value(body),
            Self::CancelBackoff(body) => serde_json::to_value(body),
        };
        json.unwrap_or(serde_json::Value::Null)
    }
}

/// One signal to a destination with its payload, as sent by lanes, the API and the sweep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DestinationSignal {
    /// Some deliveries are attempted by no purchase's run.
    Pending,
    /// Send failed deliveries, all events of a time range, or one event again.
    Redeliver(RedeliverEvents),
    /// Send the latest state of purchases; by default only of those whose latest state the destination has not
    /// acknowledged.
    Replay(Replay),
    /// Test the connection with a request that contains no event.
    Test(Admin),
    Enable(Enable),
    /// Disable the destination; its pending deliveries stay pending.
    Disable(Admin),
    Probe(Admin),
}

impl DestinationSignal {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => crate::contract::PENDING,
            Self::Redeliver(_) => crate::contract::REDELIVER,
            Self::Replay(_) => crate::contract::REPLAY,
            Self::Test(_) => crate::contract::TEST,
            Self::Enable(_) => crate::contract::ENABLE,
            Self::Disable(_) => crate::contract::DISABLE,
            Self::Probe(_) => crate::contract::PROBE,
        }
    }

    pub fn payload(&self) -> serde_json::Value {
        let json = match self {
            Self::Pending => Ok(serde_json::json!({})),
            Self::Redeliver(body) => serde_json::to_value(body),
            Self::Replay(body) => serde_json::to_value(body),
            Self::Enable(body) => serde_json::to_value(body),
            Self::Test(body) | Self::Disable(body) | Self::Probe(body) => {
                serde_json::to_value(body)
            }
        };
        json.unwrap_or(serde_json::Value::Null)
    }
}

/// New rows in the inbox: the newest sequence number, and how long its window lasts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notified {
    pub through: i64,
    /// How long until the window ends, from now.
    #[serde(rename = "quiet_ms", with = "as_millis")]
    pub quiet: Duration,
    /// Number of rows since the last signal; for people.
    pub count: i64,
    /// How long until the oldest waiting row reaches the max-wait cap; absent if the platform has none.
    #[serde(
        rename = "cap_ms",
        with = "as_optional_millis",
        skip_serializing_if = "Option::is_none"
    )]
    pub cap: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Admin {
    pub by: Option<String>,
    pub reason: Option<String>,
    /// The API key that requested it; absent for the admin token and for scripts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hold {
    #[serde(flatten)]
    pub admin: Admin,
    /// When the hold ends, in RFC 3339; seven days from now if absent or unreadable.
    pub until: Option<String>,
}

/// Discard the notifications accepted so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Discard {
    #[serde(flatten)]
    pub admin: Admin,
    /// The newest sequence number that the requester saw; absent to discard all open ones.
    pub through: Option<i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Redeliver {
    #[serde(flatten)]
    pub admin: Admin,
    pub destination_id: Option<DestinationId>,
}

/// Stop waiting for the next attempt of a lane, because it is no longer needed or can be made now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CancelBackoff {
    pub destination_id: Option<DestinationId>,
}

/// Send failed deliveries, all events of a time range, or one event to a destination again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RedeliverEvents {
    #[serde(flatten)]
    pub admin: Admin,
    /// The beginning of the time range, in RFC 3339, together with `until`; if both are absent, failed deliveries are
    /// sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Only this event; for a `purchase.updated`, the latest one of its purchase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event_id: Option<EventId>,
}

impl From<Admin> for RedeliverEvents {
    fn from(admin: Admin) -> Self {
        Self {
            admin,
            ..Self::default()
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Enable {
    #[serde(flatten)]
    pub admin: Admin,
    /// Whether to skip the pending `user.*` events first, so that only the latest states are sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub newest_only: bool,
}

impl From<Admin> for Enable {
    fn from(admin: Admin) -> Self {
        Self {
            admin,
            ..Self::default()
        }
    }
}

/// Send a destination the latest state of purchases; by default only of those whose latest state it has not
/// acknowledged.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Replay {
    #[serde(flatten)]
    pub admin: Admin,
    /// Whether to send acknowledged states too.
    pub all: bool,
    /// Only these purchases, at most [`MAX_NAMED`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collapse_keys: Option<Vec<CollapseKey>>,
}

/// A signal's payload that always decodes: an unreadable one becomes an `Err` with the reason.
/// A payload that fails to decode would block the workflow forever.
#[derive(Debug, Clone)]
pub struct Lenient<T>(pub Result<T, String>);

impl<T> From<T> for Lenient<T> {
    fn from(value: T) -> Self {
        Self(Ok(value))
    }
}

impl<T: DeserializeOwned + Default + 'static> TemporalDeserializable for Lenient<T> {
    fn from_payload(
        context: &SerializationContext<'_>,
        payload: Payload,
    ) -> Result<Self, PayloadConversionError> {
        Self::from_payloads(context, vec![payload])
    }

    fn from_payloads(
        _: &SerializationContext<'_>,
        payloads: Vec<Payload>,
    ) -> Result<Self, PayloadConversionError> {
        if payloads.len() > 1 {
            return Ok(Self(Err(format!(
                "expected one input, got {}",
                payloads.len()
            ))));
        }
        let data = payloads
            .first()
            .map_or(&[][..], |payload| &payload.data[..])
            .trim_ascii();
        if data.is_empty() || data == b"null" {
            return Ok(Self(Ok(T::default())));
        }
        // serde would read a list as the fields in their declared order.
        if !data.starts_with(b"{") {
            return Ok(Self(Err(
                "expected a JSON object, such as {\"reason\":\"…\"}".to_owned(),
            )));
        }
        Ok(Self(
            serde_json::from_slice(data).map_err(|error| error.to_string()),
        ))
    }
}

impl<T: Serialize + 'static> TemporalSerializable for Lenient<T> {
    fn to_payload(&self, _: &SerializationContext<'_>) -> Result<Payload, PayloadConversionError> {
        let data = match &self.0 {
            Ok(value) => serde_json::to_vec(value).unwrap_or_default(),
            Err(_) => b"null".to_vec(),
        };
        let metadata = [("encoding".to_owned(), b"json/plain".to_vec())]
            .into_iter()
            .collect();
        Ok(Payload {
            metadata,
            data,
            ..Default::default()
        })
    }
}
