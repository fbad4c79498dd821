//! The bodies of the `alarm.*` events, which inform operators of problems that a person must solve.

use crate::ids::{AlarmId, AppId, DestinationId, EventId, PlatformId};
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

/// The input of the body of one `alarm.*` event.
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
    /// The name of the affected platform or destination.
    pub about: Option<&'a str>,
    /// The name of the app of that platform or destination.
    pub app_name: Option<&'a str>,
    /// The failures of the affected destination, if they are the problem.
    pub trouble: Option<Trouble<'a>>,
    /// The public address of the dashboard, without a slash at the end.
    pub dashboard: Option<&'a str>,
    pub platform: Option<PlatformId>,
    pub destination: Option<DestinationId>,
    /// When the alarm was first and last raised, and how often.
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub count: i64,
    /// The person who closed the alarm, and their note; `None` while it is open, and for an alarm of the whole
    /// installation.
    pub closed_by: Option<&'a str>,
    pub note: Option<&'a str>,
}

/// The failures of a destination at the time of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble<'a> {
    /// Error of the last failed request.
    pub cause: Option<&'a str>,
    /// Number of consecutive failures.
    pub failures: i64,
    /// Number of pending deliveries, up to a bound.
    pub pending: i64,
}

/// An alarm that was opened or closed.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct AlarmBody {
    /// Id of the event, the same for every destination that receives it.
    id: Uuid,
    /// Type of the event.
    event_type: String,
    /// When the event was recorded.
    #[schemars(extend("format" = "date-time"))]
    created_date: String,
    /// Id of the app whose destinations receive the event.
    app_id: Uuid,
    /// Name of the app of the affected platform or destination; absent for an alarm of the whole installation.
    #[serde(skip_serializing_if = "Option::is_none")]
    app_name: Option<String>,
    /// Alarm that was opened or closed.
    alarm: AlarmIdentity,
    /// Who closed the alarm: a person, or `settle` when its cause is gone; null while it is open, and for an alarm of
    /// the whole installation.
    closed_by: Option<String>,
    /// Why the alarm was closed, for people.
    note: Option<String>,
}

/// The alarm that an event is about.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Alarm")]
struct AlarmIdentity {
    /// Id of the alarm, the same each time it is raised.
    id: Uuid,
    /// Stable name of the kind of alarm.
    kind: String,
    /// What is wrong and how to fix it, for people.
    detail: String,
    /// Name of the affected platform or destination; null if the alarm concerns the whole installation.
    about: Option<String>,
    /// Id of the affected platform.
    platform_id: Option<Uuid>,
    /// Id of the affected destination.
    destination_id: Option<Uuid>,
    /// When the alarm was first raised.
    first_at: Timestamp,
    /// When the alarm was last raised.
    last_at: Timestamp,
    /// Number of times the alarm was raised.
    #[schemars(range(min = 1))]
    count: i64,
    /// Last failure of the destination at the time of this event; absent where the detail lists all.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    /// Number of the destination's consecutive failures at the time of this event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    failures: Option<i64>,
    /// Number of deliveries pending for the destination at the time of this event, counted up to 100,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pending: Option<i64>,
    /// URL of the alarm's page, if a setting contains the public address of the dashboard.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl AlarmEvent<'_> {
    /// Returns the body, which is the same for every destination.
    pub fn body(&self) -> Value {
        let body = AlarmBody {
            id: self.id.uuid(),
            event_type: self.event_type.to_owned(),
            created_date: self.created_at.with_offset(),
            app_id: self.app.uuid(),
            app_name: self.app_name.map(str::to_owned),
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
                cause: self
                    .trouble
                    .and_then(|trouble| trouble.cause)
                    .map(str::to_owned),
                failures: self.trouble.map(|trouble| trouble.failures),
                pending: self.trouble.map(|trouble| trouble.pending),
                url: self.url(),
            },
            closed_by: self.closed_by.map(str::to_owned),
            note: self.note.map(str::to_owned),
        };
        // Serialization fails only for maps whose keys are not strings; the body has none.
        serde_json::to_value(body).unwrap_or_default()
    }

    /// Returns the URL of the page that shows the problem.
    fn url(&self) -> Option<String> {
        let base = self.dashboard?;
        Some(match (self.destination, self.platform) {
            (Some(id), _) => format!("{base}/ui/destinations/{id}"),
            (None, Some(id)) => format!("{base}/ui/connect/platforms/{id}"),
            (None, None) => format!("{base}/ui/alarms"),
        })
    }
}
