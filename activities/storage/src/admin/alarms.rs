//! Acknowledging alarms: a person knows of it. Raised again, it is open again.

use crate::db::act::Act;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{clean, sql};
use crate::db::store::Store;
use crate::reports::alarms::{self, Alarm};
use domain::{AlarmId, AppId};
use serde_json::json;

/// Maximum length of a note, in characters.
const MAX_NOTE_CHARS: usize = 1000;

const ACKNOWLEDGE: Sql = statement! {"
    UPDATE alarms
    SET acknowledged_at = ?, acknowledged_by = ?, note = ?
    WHERE id = ?
"};

const APP: Sql = statement!("SELECT app_id AS value FROM platforms WHERE id = ?");

impl Store {
    /// Notes that the actor of this handle knows of an alarm.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none with this id.
    pub async fn acknowledge_alarm(&self, id: AlarmId, note: &str) -> Result<Alarm, Error> {
        let note: String = clean(note).chars().take(MAX_NOTE_CHARS).collect();
        let by = self.actor().name.clone();
        self.change("alarm.acknowledge", move |write| {
            let before = alarms::lock(write.connection, id)?;
            let app: Option<AppId> = match before.platform_id {
                Some(platform) => sql(APP).bind(platform).value(write.connection)?,
                None => None,
            };
            let set = sql(ACKNOWLEDGE).bind(write.now).bind(by.as_str()).bind(note.as_str());
            set.bind(id).run(write.connection)?;
            let act = Act::on(app, id)
                .before(json!({ "acknowledged_at": before.acknowledged_at }))
                .after(json!({ "acknowledged_at": write.now, "kind": before.kind }));
            let (acknowledged_at, acknowledged_by) = (Some(write.now), Some(by.clone()));
            Ok((Alarm { acknowledged_at, acknowledged_by, note: Some(note.clone()), ..before }, Some(act)))
        })
        .await
    }
}
