//! The body of a Pub/Sub push: the wrapper around a message.
//! <https://cloud.google.com/pubsub/docs/push#receive_push>
//!
//! Each field of a message comes in two spellings, either of which is enough.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use domain::Timestamp;
use domain::text::is_plain;
use serde_json::{Map, Value};

/// Maximum size of a body that is parsed: 64 KiB. A notification from Google has about 500 bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Maximum size of a body that is read: the largest push, which has a message of 10 MB in base64
/// (<https://cloud.google.com/pubsub/quotas#resource_limits>). If it were not read, Pub/Sub would repeat it for days.
pub const MAX_PUSH_BYTES: usize = 14 * 1024 * 1024;
const MAX_ID_CHARS: usize = 255;

/// A Pub/Sub message.
pub struct Envelope {
    /// `messageId`, the same on every retry.
    pub message_id: Option<String>,
    /// `publishTime`
    pub published_at: Option<Timestamp>,
    /// Name of the subscription that pushed the message.
    pub subscription: Option<String>,
    /// `data`, in base64.
    data: Option<String>,
}

/// Parses a body; `None` if it has no wrapper, because the subscription is configured to push unwrapped data.
pub fn parse(body: &[u8]) -> Option<Envelope> {
    let wrapper: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let message = wrapper.get("message")?.as_object()?;
    let text = |name: &str| message.get(name).and_then(Value::as_str);
    let message_id = text("messageId").or_else(|| text("message_id"));
    let published_at = text("publishTime").or_else(|| text("publish_time"));
    Some(Envelope {
        message_id: message_id
            .filter(|id| is_plain(id, MAX_ID_CHARS))
            .map(str::to_owned),
        published_at: published_at.and_then(|time| time.parse().ok()),
        subscription: wrapper
            .get("subscription")
            .and_then(Value::as_str)
            .map(str::to_owned),
        data: text("data").map(str::to_owned),
    })
}

impl Envelope {
    /// Returns the message's data; `None` if there is none or it is not base64.
    pub fn data(&self) -> Option<Vec<u8>> {
        STANDARD.decode(self.data.as_ref()?).ok()
    }
}
