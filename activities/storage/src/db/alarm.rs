//! Raising and closing alarms. The room `events` defines which alarms exist.

use crate::connection::AnyConnection;
use crate::error::Error;
use crate::sql::{Sql, statement};
use crate::statement::{Statement, clean, sql};
use domain::{AlarmId, DestinationId, PlatformId, Timestamp};

/// Maximum length of a detail in characters: it is indexed, and must fit into a page of the index.
const MAX_DETAIL_CHARS: usize = 500;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    Platform(PlatformId),
    Destination(DestinationId),
    All,
}

impl From<Option<PlatformId>> for About {
    fn from(platform: Option<PlatformId>) -> Self {
        platform.map_or(Self::All, Self::Platform)
    }
}

impl From<DestinationId> for About {
    fn from(destination: DestinationId) -> Self {
        Self::Destination(destination)
    }
}

impl About {
    pub const fn ids(self) -> (Option<PlatformId>, Option<DestinationId>) {
        match self {
            Self::Platform(id) => (Some(id), None),
            Self::Destination(id) => (None, Some(id)),
            Self::All => (None, None),
        }
    }
}

/// An alarm, a condition that needs a person, before it is stored.
#[derive(Debug, Clone, Copy)]
pub struct NewAlarm<'a> {
    pub about: About,
    pub kind: &'a str,
    /// A sentence for people, without secrets.
    pub detail: &'a str,
}

const RAISE: Sql = statement! {"
    INSERT INTO alarms (at, last_at, times, platform_id, destination_id, kind, detail, id, app_id)
    VALUES (?, ?, 1, ?, ?, ?, ?, ?, COALESCE(
        (SELECT f.app_id FROM platforms f WHERE f.id = ?), (SELECT d.app_id FROM destinations d WHERE d.id = ?)
    ))
    ON CONFLICT (kind, detail, COALESCE(platform_id, destination_id, ''))
    DO UPDATE SET last_at = excluded.last_at, times = alarms.times + 1, acknowledged_at = NULL,
        acknowledged_by = NULL, note = NULL
"};

const CLOSE: Sql = statement! {"
    UPDATE alarms
    SET acknowledged_at = ?, acknowledged_by = ?, note = ?
    WHERE id = ? AND acknowledged_at + 0 IS NULL
"};
/// Author of the acknowledgement of an alarm whose cause is gone.
const SYSTEM: &str = "settle";

/// Counts a stored alarm in the metrics of this process, which raised it.
pub fn count(kind: &str) {
    metrics::counter!("settle_alarms_total", "kind" => kind.to_owned()).increment(1);
}

impl NewAlarm<'_> {
    /// Stores the alarm in the caller's transaction; the caller then counts it ([`count`]). An alarm that was raised
    /// before is counted in its row and opened again.
    pub fn raise(&self, connection: &mut AnyConnection, now: Timestamp) -> Result<(), Error> {
        self.statement(now).run(connection).map(drop)
    }

    pub fn statement(&self, now: Timestamp) -> Statement<'static> {
        let (detail, id) = self.identity();
        let (platform, destination) = self.about.ids();
        let raise = sql(RAISE).bind((now, now, platform, destination, self.kind.to_owned()));
        raise.bind((detail, id, platform, destination))
    }

    /// Returns the statement that closes the alarm, if it is open, because its cause is gone.
    pub fn closing(&self, now: Timestamp, why: &str) -> Statement<'static> {
        sql(CLOSE).bind((now, SYSTEM, why.to_owned(), self.id()))
    }

    /// Returns the id of the alarm, the same each time it is raised.
    pub fn id(&self) -> AlarmId {
        self.identity().1
    }

    /// Returns the stored detail and the id of the alarm.
    fn identity(&self) -> (String, AlarmId) {
        let detail: String = clean(self.detail).chars().take(MAX_DETAIL_CHARS).collect();
        let (platform, destination) = self.about.ids();
        let about = platform
            .map(PlatformId::uuid)
            .or(destination.map(DestinationId::uuid));
        let id = AlarmId::of(about, self.kind, &detail);
        (detail, id)
    }

    /// Returns a text; the rows of several alarms are locked in the order of these texts.
    pub fn order(&self) -> String {
        let (platform, destination) = self.about.ids();
        let of = platform
            .map(|id| id.to_string())
            .or(destination.map(|id| id.to_string()));
        format!("{}/{}/{}", self.kind, self.detail, of.unwrap_or_default())
    }
}
