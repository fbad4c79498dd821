//! Alarms: conditions that need a person. An alarm that is raised again is counted in its row.

use crate::db::alarm::NewAlarm;
use crate::db::error::Error;
use crate::db::page::{Page, Paged};
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use domain::{AppId, PlatformId, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

row! {
    /// A condition that needs a person.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
    pub struct Alarm {
        /// When it was raised first.
        pub at: Timestamp,
        /// When it was raised last.
        pub last_at: Timestamp,
        /// How often it was raised.
        pub count: i64,
        /// Which platform it is about.
        pub platform_id: Option<PlatformId>,
        /// A stable name.
        pub kind: String,
        /// A sentence for people, without secrets.
        pub detail: String,
    }
}

row! {
    struct AlarmRow {
        alarm: Alarm,
        seq: i64,
    }
}

const LIST: Sql = statement! {"
    SELECT seq, at, last_at, times AS count, platform_id, kind, detail
    FROM alarms
    WHERE (last_at, seq) < (?, ?) AND {{which}}
    ORDER BY last_at DESC, seq DESC
    LIMIT ?
"};
const OF_ANY: Clause = clause!(&[LIST], "TRUE");
const OF_APP: Clause = clause!(&[LIST], "platform_id IN (SELECT f.id FROM platforms f WHERE f.app_id = ?)");

impl Store {
    /// Raises an alarm. If one with the same platform, kind and detail exists, its count is raised instead.
    pub async fn alarm(&self, platform: Option<PlatformId>, kind: &str, detail: &str) -> Result<(), Error> {
        let (kind, detail) = (kind.to_owned(), detail.to_owned());
        self.write(move |write| {
            raise(write, platform, &kind, &detail);
            Ok(())
        })
        .await
    }

    /// The alarms, the last raised one first.
    pub async fn alarms(&self, page: Page) -> Result<Paged<Alarm>, Error> {
        self.alarms_of(None, page).await
    }

    /// The alarms about platforms of an app, or all alarms, the last raised one first.
    pub async fn alarms_of(&self, app: Option<AppId>, page: Page) -> Result<Paged<Alarm>, Error> {
        let (before, below) = page.numbers_or(i64::MAX)?;
        self.read(move |connection| {
            let list = sql(LIST.of(if app.is_some() { OF_APP } else { OF_ANY })).bind(before).bind(below);
            let list = app.into_iter().fold(list, |list, app| list.bind(app));
            let rows: Vec<AlarmRow> = list.bind(page.size() + 1).all(connection)?;
            let cursor = |row: &AlarmRow| format!("{}_{}", row.alarm.last_at.micros(), row.seq);
            Paged::cut(rows, page.size(), cursor, |row| Ok(row.alarm))
        })
        .await
    }
}

/// Raises an alarm at the end of the caller's transaction: one alarm may be raised by settlings of many purchases.
pub fn raise(write: &mut Write<'_>, platform: Option<PlatformId>, kind: &str, detail: &str) {
    let order = format!("{kind}/{detail}/{}", platform.map(|id| id.to_string()).unwrap_or_default());
    let statement = NewAlarm { platform, kind, detail }.statement(write.now);
    write.run_last(order, statement);
}
