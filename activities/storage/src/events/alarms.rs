//! Alarms: conditions that need a person's attention. An alarm that is raised again is counted in its row and reopens.
//! The folder `reports` lists alarms.

use crate::store::Store;
use db::alarm::{About, NewAlarm};
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::PlatformId;

/// The detail of the two alarms about a store's outage: that the store does not answer, and that notifications wait for
/// it. It contains no time or number, so that each platform has only one alarm of each kind.
pub const STORE_SILENT: &str = "the store does not answer: purchases wait until it does. When the patience with it ends, \
     what is certain without it is announced unverified, and the rest waits for at most a day; `settle status` shows \
     since when, and how many wait";
/// The kind of the alarm that notifications wait for a store, which is raised when the patience with it ends.
pub const VERIFICATION_WAITS: &str = "verification_waits";

impl Store {
    /// Raises an alarm. If one with the same subject, kind and detail exists, its count is increased instead.
    pub async fn alarm(
        &self,
        about: impl Into<About>,
        kind: &str,
        detail: &str,
    ) -> Result<(), Error> {
        let about = about.into();
        let (kind, detail) = (kind.to_owned(), detail.to_owned());
        self.write(move |write| raise(write, about, &kind, &detail))
            .await
    }

    /// Closes an alarm whose cause is gone, if it is open.
    pub async fn close_alarm(
        &self,
        about: impl Into<About>,
        kind: &str,
        detail: &str,
        why: &str,
    ) -> Result<(), Error> {
        let (about, kind) = (about.into(), kind.to_owned());
        let (detail, why) = (detail.to_owned(), why.to_owned());
        self.write(move |write| {
            close(
                write,
                NewAlarm {
                    about,
                    kind: &kind,
                    detail: &detail,
                },
                &why,
            )
        })
        .await
    }
}

/// Raises an alarm at the end of the caller's transaction, since settlings of many purchases may raise the same alarm
/// and would wait for its row.
pub fn raise(write: &mut Write<'_>, about: About, kind: &str, detail: &str) -> Result<(), Error> {
    write.raise(NewAlarm {
        about,
        kind,
        detail,
    })
}

/// Closes an alarm whose cause is gone, at the end of the caller's transaction. An alarm that a person acknowledged
/// does not change.
pub fn close(write: &mut Write<'_>, alarm: NewAlarm<'_>, why: &str) -> Result<(), Error> {
    let statement = alarm.closing(write.now()?, why);
    write.run_last(alarm.order(), statement);
    Ok(())
}

const RAISED: Sql = statement! {"
    SELECT platform_id AS value
    FROM alarms
    WHERE kind = ? AND detail = ? AND platform_id IS NOT NULL
"};

/// Closes an alarm as [`close`] does, for each platform about which it was raised.
pub fn close_everywhere(
    write: &mut Write<'_>,
    kind: &str,
    detail: &str,
    why: &str,
) -> Result<(), Error> {
    let raised: Vec<PlatformId> = sql(RAISED)
        .bind(kind)
        .bind(detail)
        .values(write.connection)?;
    for platform in raised {
        close(
            write,
            NewAlarm {
                about: About::Platform(platform),
                kind,
                detail,
            },
            why,
        )?;
    }
    Ok(())
}
