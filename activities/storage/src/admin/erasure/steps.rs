//! The steps after the first transaction: each removes the names from one batch of one table, and records its progress.

use super::announce::Renamed;
use super::batch::ErasureBatch;
use super::batches;
use super::begin;
use super::columns::Erased;
use super::report::{ErasureRow, ErasureStage, SELECT, seal};
use crate::purchases::users::Raced;
use db::error::Error;
use db::secrets::Secrets;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::user::{ErasedAppUser, ErasedNames};

const NEXT: Sql = statement! {"
    {SELECT}
    WHERE finished_at IS NULL AND stage <> 'destinations'
    ORDER BY due_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
"};
const RESET_USERS: Sql =
    statement!("UPDATE users SET revision = 0 WHERE id IN (?*) AND external_id IS NULL");

/// Takes the next step of the oldest request; returns whether there was one.
pub fn step(write: &mut Write<'_>, secrets: &Secrets, limit: i64) -> Result<bool, Error> {
    let next: Option<ErasureRow> = sql(NEXT).first(write.connection)?;
    let Some(mut row) = next else {
        return Ok(false);
    };
    let (mut names, stage) = (row.names(secrets)?, row.report.stage);
    let who = Erased {
        app: row.report.app_id,
        names: &names,
        anonymous: row.report.user_id,
    };
    let (table, next, removed) = batches::remove(
        write,
        secrets,
        stage,
        ErasureBatch {
            who,
            after: row.after_seq,
            limit,
        },
    )?;
    let count = row.report.counts.entry(table.to_owned()).or_default();
    *count += u64::try_from(removed.changed).unwrap_or(u64::MAX);
    row.report.stage = if removed.next_after.is_some() {
        stage
    } else {
        next
    };
    row.after_seq = removed.next_after.unwrap_or(0);
    if row.report.stage == ErasureStage::Destinations {
        if rename_again(write, secrets, &row, &mut names)? {
            row.report.stage = ErasureStage::Events;
            row.names = Some(seal(write, secrets, row.report.id, &names)?);
        } else {
            // What was announced for these users now counts for the anonymous one.
            sql(RESET_USERS)
                .uncached()
                .bind_list(names.users.iter().copied())
                .run(write.connection)?;
            row.report.removed_at = Some(write.now()?);
        }
    }
    row.note(write)?;
    Ok(true)
}

/// Replaces the customer once more if one of the customer's store ids was stored again while the first transaction ran.
/// All tables are then searched again.
fn rename_again(
    write: &mut Write<'_>,
    secrets: &Secrets,
    row: &ErasureRow,
    names: &mut ErasedNames,
) -> Result<bool, Error> {
    let (app, anonymous) = (row.report.app_id, row.report.user_id);
    let Some(user) = begin::appeared(write, app, names)? else {
        return Ok(false);
    };
    let renamed = Renamed {
        app,
        user,
        anonymous,
    };
    let locked = begin::lock(write, secrets, renamed)?;
    if begin::appeared(write, app, names)? != Some(user) {
        return Err(Error::unavailable(Raced));
    }
    let (renamed, _) = begin::rename(write, secrets, renamed, locked)?;
    names.users.extend(renamed.users);
    names.users.sort_unstable();
    names.users.dedup();
    names.device_ids.extend(renamed.device_ids);
    let is_new = |one: &ErasedAppUser| names.tombstone(&one.app_user_id).is_none();
    let new: Vec<ErasedAppUser> = renamed.app_users.into_iter().filter(is_new).collect();
    names.app_users.extend(new);
    Ok(true)
}
