//! The steps after the first transaction: each removes the names from one page of one table, and notes how far it came.

use super::begin::{self, Renamed};
use super::report::{DeletionState, DeletionStatus, ForgettingRow, ForgettingStage, SELECT, json, seal};
use super::rows::{self, Page, Removed};
use super::{devices, texts};
use crate::db::error::Error;
use crate::db::secrets::Secrets;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use crate::db::writer::Write;
use crate::purchases::users::Raced;
use domain::Timestamp;
use domain::user::{ForgottenAppUser, ForgottenNames};
use std::collections::BTreeMap;

const NEXT: Sql = statement! {"
    {SELECT}
    WHERE finished_at IS NULL AND stage <> 'destinations'
    ORDER BY due_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
"};
const NOTE: Sql = statement! {"
    UPDATE forgettings
    SET stage = ?, after_seq = ?, counts = ?, names = ?, removed_at = ?, finished_at = ?
    WHERE id = ?
"};

/// Takes the next step of the oldest request; returns whether there was one.
pub fn step(write: &mut Write<'_>, secrets: &Secrets, limit: i64) -> Result<bool, Error> {
    let next: Option<ForgettingRow> = sql(NEXT).first(write.connection)?;
    let Some(row) = next else { return Ok(false) };
    let mut names = row.names(secrets)?;
    let page = Page { app: row.app_id, names: &names, anonymous: row.user_id, after: row.after_seq, limit };
    let (table, removed) = remove(write, row.stage, page)?;
    let mut next = match removed.through {
        Some(through) => Next { stage: row.stage, after: through },
        None => Next { stage: row.stage.next(), after: 0 },
    };
    if row.stage == ForgettingStage::Rest {
        if rename_again(write, secrets, &row, &mut names)? {
            next = Next { stage: ForgettingStage::Events, after: 0 };
        } else {
            texts::reset_users(write, &names)?;
        }
    }
    note(write, secrets, Step { row, names, table, changed: removed.changed, next })?;
    Ok(true)
}

struct Next {
    stage: ForgettingStage,
    after: i64,
}

/// A step that is about to be noted.
struct Step {
    row: ForgettingRow,
    names: ForgottenNames,
    table: &'static str,
    changed: usize,
    next: Next,
}

fn remove(write: &mut Write<'_>, stage: ForgettingStage, page: Page<'_>) -> Result<(&'static str, Removed), Error> {
    Ok(match stage {
        ForgettingStage::Events => ("events", rows::events(write, page)?),
        ForgettingStage::EventsOfUser => ("events", rows::events_of_users(write, page)?),
        ForgettingStage::Deliveries => ("deliveries", rows::deliveries(write, page)?),
        ForgettingStage::DeviceEvents => ("device_events", devices::events(write, page)?),
        ForgettingStage::Notifications => ("notifications", rows::notifications(write, page)?),
        ForgettingStage::Claims => ("claims", devices::claims(write, page)?),
        ForgettingStage::Alarms => ("alarms", texts::alarms(write, page)?),
        ForgettingStage::Rest => ("transfers", Removed { changed: texts::transfers(write, page)?, through: None }),
        ForgettingStage::Destinations | ForgettingStage::Done => ("events", Removed::default()),
    })
}

/// Renames the customer once more if an id of theirs was stored again while the first transaction ran: then all tables
/// are walked again.
fn rename_again(
    write: &mut Write<'_>,
    secrets: &Secrets,
    row: &ForgettingRow,
    names: &mut ForgottenNames,
) -> Result<bool, Error> {
    let Some(user) = begin::appeared(write, row.app_id, names)? else { return Ok(false) };
    let renamed = Renamed { app: row.app_id, user, anonymous: row.user_id };
    let locked = begin::lock(write, secrets, renamed)?;
    if begin::appeared(write, row.app_id, names)? != Some(user) {
        return Err(Error::unavailable(Raced));
    }
    let (renamed, _) = begin::rename(write, secrets, renamed, locked)?;
    names.users.extend(renamed.users);
    names.users.sort_unstable();
    names.users.dedup();
    names.device_ids.extend(renamed.device_ids);
    let is_new = |one: &ForgottenAppUser| names.tombstone(&one.app_user_id).is_none();
    let new: Vec<ForgottenAppUser> = renamed.app_users.into_iter().filter(is_new).collect();
    names.app_users.extend(new);
    Ok(true)
}

fn note(write: &mut Write<'_>, secrets: &Secrets, step: Step) -> Result<(), Error> {
    let Step { row, names, table, changed, mut next } = step;
    let unreadable = |cause| Error::corrupt_by("a report is not readable", cause);
    let mut counts: BTreeMap<String, u64> = serde_json::from_value(row.counts).map_err(unreadable)?;
    *counts.entry(table.to_owned()).or_default() += u64::try_from(changed).unwrap_or(u64::MAX);
    let destinations: Vec<DeletionState> = serde_json::from_value(row.destinations).map_err(unreadable)?;
    let is_removed = next.stage == ForgettingStage::Destinations;
    if is_removed && destinations.iter().all(|one| one.status != DeletionStatus::Owed) {
        next.stage = ForgettingStage::Done;
    }
    let is_done = next.stage == ForgettingStage::Done;
    let now = write.now()?;
    let at = |is_reached: bool| is_reached.then_some(now);
    let (removed_at, finished_at): (Option<Timestamp>, Option<Timestamp>) = (at(is_removed), at(is_done));
    let sealed = if is_done { None } else { Some(seal(write, secrets, row.id, &names)?) };
    sql(NOTE)
        .bind(next.stage)
        .bind(next.after)
        .bind(json(&counts)?)
        .bind(sealed.as_deref())
        .bind(removed_at)
        .bind(finished_at)
        .bind(row.id)
        .run(write.connection)
        .map(drop)
}

impl ForgettingStage {
    const fn next(self) -> Self {
        match self {
            Self::Events => Self::EventsOfUser,
            Self::EventsOfUser => Self::Deliveries,
            Self::Deliveries => Self::DeviceEvents,
            Self::DeviceEvents => Self::Notifications,
            Self::Notifications => Self::Claims,
            Self::Claims => Self::Alarms,
            Self::Alarms => Self::Rest,
            Self::Rest => Self::Destinations,
            Self::Destinations | Self::Done => Self::Done,
        }
    }
}
