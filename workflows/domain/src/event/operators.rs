//! The bodies of the `destination.*` events, which inform operators about a destination.

use crate::health::State;
use crate::ids::{AppId, DestinationId, EventId};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// The input of the body of one `destination.*` event.
#[derive(Debug, Clone, Copy)]
pub struct DestinationEvent<'a> {
    pub id: EventId,
    pub event_type: &'a str,
    pub created_at: Timestamp,
    pub destination: DestinationId,
    /// The app whose events the destination receives.
    pub app: AppId,
    pub name: &'a str,
    pub kind: &'a str,
    pub state: State,
    pub reason: Option<&'a str>,
    /// When the destination entered its state.
    pub since: Timestamp,
    /// Number of consecutive failures, each for another purchase than the previous one.
    pub failures: i64,
    /// Number of deliveries pending for the destination.
    pub pending: i64,
}

/// A change of a destination's state that operators should know about.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DestinationBody {
    /// Id of the event, the same for every destination that receives it.
    id: Uuid,
    /// Type of the event.
    event_type: String,
    /// When the event was recorded.
    #[schemars(extend("format" = "date-time"))]
    created_date: String,
    /// Destination whose state changed.
    destination: DestinationIdentity,
    /// State of the destination: `healthy`, `failing`, `open` while only probes are sent, or `disabled`.
    #[schemars(extend("enum" = ["healthy", "failing", "open", "disabled"]))]
    state: &'static str,
    /// Reason for the state, for people.
    reason: Option<String>,
    /// When the destination entered its state.
    since: Timestamp,
    /// Number of consecutive failures; consecutive failures of the same purchase count once.
    #[schemars(range(min = 0))]
    failures: i64,
    /// Number of deliveries pending for the destination, counted up to 100,000.
    #[schemars(range(min = 0))]
    pending: i64,
}

/// The destination that an event is about.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Concerned")]
struct DestinationIdentity {
    /// Id of the destination.
    id: Uuid,
    /// Name of the destination.
    name: String,
    /// Kind of the destination.
    kind: String,
    /// Id of the app whose events the destination receives.
    app_id: Uuid,
}

impl DestinationEvent<'_> {
    /// Returns the body, which is the same for every destination.
    pub fn body(&self) -> Value {
        let body = DestinationBody {
            id: self.id.uuid(),
            event_type: self.event_type.to_owned(),
            created_date: self.created_at.with_offset(),
            destination: DestinationIdentity {
                id: self.destination.uuid(),
                name: self.name.to_owned(),
                kind: self.kind.to_owned(),
                app_id: self.app.uuid(),
            },
            state: self.state.as_str(),
            reason: self.reason.map(str::to_owned),
            since: self.since,
            failures: self.failures,
            pending: self.pending,
        };
        // Serialization fails only for maps whose keys are not strings; the body has none.
        serde_json::to_value(body).unwrap_or_default()
    }
}
