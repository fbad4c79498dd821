//! The bodies of the `alarm.*` events, which inform operators that something needs a person.

use crate::ids::{AlarmId, AppId, DestinationId, EventId, PlatformId};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// Everything that goes into the body of one `alarm.*` event.
#[derive(Debug, Clone, Copy)]
pub struct AlarmEvent<'a> {
    pub id: EventId,
    pub event_type: &'a str,
    pub created_at: Timestamp,
    /// The app whose destinations receive it.
    pub app: AppId,
    pub alarm: AlarmId,
    pub kind: &'a str,
    pub detail: &'a str,
    /// The name of the platform or destination that it is about.
    pub about: Option<&'a str>,
    pub platform: Option<PlatformId>,
    pub destination: Option<DestinationId>,
    /// When it was raised first and last, and how often.
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub count: i64,
    /// Who closed it, and their note; none while it is open, and where it concerns the whole installation.
    pub closed_by: Option<&'a str>,
    pub note: Option<&'a str>,
}

/// An alarm that was opened or closed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlarmBody {
    /// Names the event, the same for every destination that receives it.
    id: Uuid,
    /// The type of the event.
    event_type: String,
    /// When it was recorded.
    #[schemars(extend("format" = "date-time"))]
    created_date: String,
    /// The app whose destinations receive it.
    app_id: Uuid,
    /// The alarm.
    alarm: AlarmIdentity,
    /// Who closed it: a person, or `settle` when its cause is gone; null while it is open, and for an alarm of the whole
    /// installation.
    closed_by: Option<String>,
    /// Why it was closed, for people.
    note: Option<String>,
}

/// The alarm that an event is about.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Alarm")]
struct AlarmIdentity {
    /// Its id, the same however often it is raised.
    id: Uuid,
    /// A stable name of its kind.
    kind: String,
    /// What is wrong and what to do, for people.
    detail: String,
    /// The name of the platform or destination that it is about; null when it concerns the whole installation.
    about: Option<String>,
    /// The platform that it is about.
    platform_id: Option<Uuid>,
    /// The destination that it is about.
    destination_id: Option<Uuid>,
    /// When it was raised first.
    first_at: Timestamp,
    /// When it was raised last.
    last_at: Timestamp,
    /// How often it was raised.
    #[schemars(range(min = 1))]
    count: i64,
}

impl AlarmEvent<'_> {
    /// The body; it is the same for every destination.
    pub fn body(&self) -> Value {
        let body = AlarmBody {
            id: self.id.uuid(),
            event_type: self.event_type.to_owned(),
            created_date: self.created_at.with_offset(),
            app_id: self.app.uuid(),
            alarm: AlarmIdentity {
                id: self.alarm.uuid(),
                kind: self.kind.to_owned(),
                detail: self.detail.to_owned(),
                about: self.about.map(str::to_owned),
                platform_id: self.platform.map(PlatformId::uuid),
                destination_id: self.destination.map(DestinationId::uuid),
                first_at: self.first_at,
                last_at: self.last_at,
                count: self.count,
            },
            closed_by: self.closed_by.map(str::to_owned),
            note: self.note.map(str::to_owned),
        };
        // Serialization fails only for maps with keys that are no strings, and there is none.
        serde_json::to_value(body).unwrap_or_default()
    }
}
