//! Raising an alarm. What raised alarms look like is in the room `events`.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Statement, clean, sql};
use domain::{AlarmId, PlatformId, Timestamp};

/// Maximum length of a detail in characters: it is indexed, and must fit into a page of the index.
const MAX_DETAIL_CHARS: usize = 500;

/// A condition that needs a person, before it is stored.
#[derive(Debug, Clone, Copy)]
pub struct NewAlarm<'a> {
    /// Which platform it is about.
    pub platform: Option<PlatformId>,
    /// A stable name.
    pub kind: &'a str,
    /// A sentence for people, without secrets.
    pub detail: &'a str,
}

const RAISE: Sql = statement! {"
    INSERT INTO alarms (at, last_at, times, platform_id, kind, detail, id)
    VALUES (?, ?, 1, ?, ?, ?, ?)
    ON CONFLICT (kind, detail, COALESCE(platform_id, ''))
    DO UPDATE SET last_at = excluded.last_at, times = alarms.times + 1, acknowledged_at = NULL,
        acknowledged_by = NULL, note = NULL
"};

impl NewAlarm<'_> {
    /// Stores it in the transaction of the caller. An alarm that was raised before is counted in its row, and open again.
    pub fn raise(&self, connection: &mut AnyConnection, now: Timestamp) -> Result<(), Error> {
        self.statement(now).run(connection).map(drop)
    }

    /// The statement that stores it.
    pub fn statement(&self, now: Timestamp) -> Statement<'static> {
        let detail: String = clean(self.detail).chars().take(MAX_DETAIL_CHARS).collect();
        let id = AlarmId::of(self.platform, self.kind, &detail);
        sql(RAISE).bind(now).bind(now).bind(self.platform).bind(self.kind.to_owned()).bind(detail).bind(id)
    }
}
