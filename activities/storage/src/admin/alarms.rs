//! Acknowledging alarms. An alarm that is raised again reopens, and an acknowledgement that refers to its earlier state
//! is refused.

use crate::reports::alarms::{self, Alarm};
use crate::store::Store;
use db::audit_log::AuditEntry;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{clean, sql};
use db::writer::Write;
use domain::{AlarmId, Timestamp};
use serde_json::json;

/// Maximum length of a note, in characters.
const MAX_NOTE_CHARS: usize = 1000;

const ACKNOWLEDGE: Sql = statement! {"
    UPDATE alarms
    SET acknowledged_at = ?, acknowledged_by = ?, note = ?
    WHERE id = ?
"};

impl Store {
    /// Acknowledges an alarm as this handle's actor. `seen` is the alarm's `last_at` when the actor read it; without
    /// it, nothing is compared.
    ///
    /// # Errors
    /// [`Error::Missing`] if no alarm has this id; [`Error::Conflict`] if the alarm was raised again since `seen`, or
    /// is already acknowledged.
    pub async fn acknowledge_alarm(
        &self,
        id: AlarmId,
        note: &str,
        seen: Option<Timestamp>,
    ) -> Result<Alarm, Error> {
        let note: String = clean(note).chars().take(MAX_NOTE_CHARS).collect();
        let by = self.actor().name.clone();
        self.change("alarm.acknowledge", move |write| {
            let before = alarms::lock(write.connection, id)?;
            if let Some(detail) = seen.and_then(|seen| changed(&before, seen)) {
                return Err(Error::Conflict {
                    what: "acknowledgement",
                    detail,
                });
            }
            acknowledge(write, id, &by, &note)?;
            let entry = AuditEntry::on(before.app_id, id)
                .before(json!({ "acknowledged_at": before.acknowledged_at }))
                .after(json!({ "acknowledged_at": write.now()?, "kind": before.kind }));
            let (acknowledged_at, acknowledged_by) = (Some(write.now()?), Some(by.clone()));
            Ok((
                Alarm {
                    acknowledged_at,
                    acknowledged_by,
                    note: Some(note.clone()),
                    ..before
                },
                Some(entry),
            ))
        })
        .await
    }
}

/// Acknowledges an alarm; does nothing if it was never raised.
pub fn acknowledge(write: &mut Write<'_>, id: AlarmId, by: &str, note: &str) -> Result<(), Error> {
    let note: String = clean(note).chars().take(MAX_NOTE_CHARS).collect();
    sql(ACKNOWLEDGE)
        .bind((write.now()?, by, note, id))
        .run(write.connection)
        .map(drop)
}

/// Describes how an alarm changed since it was read with `last_at` equal to `seen`; `None` if it did not.
fn changed(alarm: &Alarm, seen: Timestamp) -> Option<String> {
    let Alarm {
        last_at,
        acknowledged_at,
        acknowledged_by,
        ..
    } = alarm;
    if *last_at != seen {
        return Some(format!(
            "the alarm was raised again at {last_at}: read it first, then acknowledge it"
        ));
    }
    let by = acknowledged_by.as_deref().unwrap_or("somebody");
    acknowledged_at.map(|at| format!("{by} already acknowledged it, at {at}"))
}
