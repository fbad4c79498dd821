//! Announces the purchases of large transfers after the transaction that moved them, so that no other change waits for
//! the announcements.
//!
//! The row of such a transfer notes the purchase after which the rest is to be announced. The sweep announces the rest,
//! each batch in a transaction of its own, with the states of both users at that moment. A user's transfers are
//! announced in their order: a transfer from a user waits until earlier transfers to that user are announced, however
//! small it is.

use crate::people::movement::Cause;
use crate::people::moves;
use crate::people::transfers::MovedRows;
use crate::purchases::cause::RevisionCause;
use crate::purchases::users::{self, UserRow};
use crate::settings::app_lock;
use crate::settling::transferred::CompletedTransfer;
use crate::store::Store;
use db::config::Installation;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use db::writer::{JobKind, Write};
use domain::{AppId, CollapseKey, TransferId, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// Number of purchases that one transaction announces.
const BATCH: usize = 100;
/// Maximum number of transfers for which one round announces a batch.
const MAX_PENDING: i64 = 1000;

row! {
    struct PendingRow {
        id: TransferId,
        app_id: AppId,
        from_user_id: UserId,
        to_user_id: UserId,
    }
}

row! {
    #[derive(PartialEq, Eq)]
    struct DeferredRow {
        app_id: AppId,
        from_user_id: UserId,
        to_user_id: UserId,
        cause: Cause,
        moved: String,
        author: Option<String>,
        unannounced_after: String,
    }
}

row! {
    struct OwnedKey {
        collapse_key: CollapseKey,
        user_id: UserId,
    }
}

const PENDING: Sql = statement! {"
    SELECT id, app_id, from_user_id, to_user_id
    FROM transfers
    WHERE unannounced_after IS NOT NULL
    ORDER BY created_at, id
    LIMIT {MAX_PENDING}
"};

const FIND: Sql = statement! {"
    SELECT app_id, from_user_id, to_user_id, cause, moved, author, unannounced_after
    FROM transfers
    WHERE id = ? AND unannounced_after IS NOT NULL
"};

// A purchase may have moved to another user since.
const OWNERS: Sql = statement! {"
    SELECT collapse_key, user_id
    FROM purchases
    WHERE collapse_key IN (?*) AND user_id IS NOT NULL
    ORDER BY collapse_key
"};

const CONTINUE: Sql = statement!("UPDATE transfers SET unannounced_after = ? WHERE id = ?");

const RENAME_FORMER: Sql = statement! {"
    UPDATE transfers
    SET from_user_id = ?
    WHERE from_user_id IN (?*) AND unannounced_after IS NOT NULL
"};

const RENAME_NEW: Sql = statement! {"
    UPDATE transfers
    SET to_user_id = ?
    WHERE to_user_id IN (?*) AND unannounced_after IS NOT NULL
"};

/// Replaces erased users by the anonymous user in unannounced transfers. The users must be locked.
pub fn rename(write: &mut Write<'_>, users: &[UserId], anonymous: UserId) -> Result<(), Error> {
    for rename in [RENAME_FORMER, RENAME_NEW] {
        sql(rename)
            .uncached()
            .bind(anonymous)
            .bind_list(users.iter().copied())
            .later(write.connection)?;
    }
    Ok(())
}

/// Result of a round of announcements.
#[derive(Debug, Default)]
pub struct AnnouncedTransfers {
    /// Number of purchases that were announced.
    pub number: usize,
    /// The transfers of which a batch could not be announced.
    pub failed: Vec<(TransferId, Error)>,
}

impl Store {
    /// Announces a batch of each unannounced transfer that is the first one of both its users. If a batch fails, the
    /// others are still announced.
    pub async fn announce_transfers(&self) -> Result<AnnouncedTransfers, Error> {
        let pending: Vec<PendingRow> = self.read(|connection| sql(PENDING).all(connection)).await?;
        let (mut users, mut announced) = (BTreeSet::new(), AnnouncedTransfers::default());
        for PendingRow {
            id,
            app_id,
            from_user_id,
            to_user_id,
        } in pending
        {
            let (is_first_from, is_first_to) =
                (users.insert(from_user_id), users.insert(to_user_id));
            if !is_first_from || !is_first_to {
                continue;
            }
            let (installation, kind) = (self.database.installation, JobKind::People(app_id, None));
            match self
                .database
                .writer
                .write(kind, move |write| announce(write, installation, id))
                .await
            {
                Ok(number) => announced.number += number,
                Err(error) => announced.failed.push((id, error)),
            }
        }
        Ok(announced)
    }
}

/// Announces the next batch of a transfer; returns the number of its purchases.
fn announce(
    write: &mut Write<'_>,
    installation: Installation,
    id: TransferId,
) -> Result<usize, Error> {
    let Some(seen) = find(write.connection, id)? else {
        return Ok(0);
    };
    app_lock::share(write, seen.app_id)?;
    // A merged user was erased since, so both users are the same one.
    if seen.from_user_id == seen.to_user_id {
        return sql(CONTINUE)
            .bind(None::<String>)
            .bind(id)
            .run(write.connection);
    }
    let (keys, is_last) = seen.next_batch()?;
    let owned: Vec<OwnedKey> = sql(OWNERS)
        .uncached()
        .bind_list(keys.iter().copied())
        .all(write.connection)?;
    let users = owned
        .iter()
        .map(|one| one.user_id)
        .chain([seen.from_user_id, seen.to_user_id]);
    let rows = moves::lock_users(write, &users.collect())?;
    // Another process announced this batch meanwhile, or a user was erased.
    if find(write.connection, id)?.as_ref() != Some(&seen) {
        return Ok(0);
    }
    let rows: BTreeMap<UserId, UserRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let announced: Vec<CollapseKey> = owned.into_iter().map(|one| one.collapse_key).collect();
    if !announced.is_empty() {
        let (from, to) = (
            raised(write, &rows, seen.from_user_id)?,
            raised(write, &rows, seen.to_user_id)?,
        );
        let cause = RevisionCause {
            kind: seen.cause.kind(),
            by: seen.author.clone(),
        };
        let (app, owners) = (seen.app_id, &rows);
        CompletedTransfer {
            installation,
            app,
            id,
            cause,
            from: &from,
            to: &to,
            owners,
        }
        .announce(write, &announced)?;
    }
    let last = keys.last().filter(|_| !is_last).map(ToString::to_string);
    sql(CONTINUE).bind(last).bind(id).run(write.connection)?;
    Ok(keys.len())
}

/// Raises the revision of a locked user for the announcement, and returns the user with the new revision.
fn raised(
    write: &mut Write<'_>,
    rows: &BTreeMap<UserId, UserRow>,
    user: UserId,
) -> Result<UserRow, Error> {
    let row = rows.get(&user).ok_or(Error::Missing { what: "user" })?;
    Ok(UserRow {
        revision: users::raise_revision(write, row)?,
        ..row.clone()
    })
}

fn find(connection: &mut AnyConnection, id: TransferId) -> Result<Option<DeferredRow>, Error> {
    sql(FIND).bind(id).first(connection)
}

impl DeferredRow {
    /// Returns the purchases of the next batch, and whether it is the last one.
    fn next_batch(&self) -> Result<(Vec<CollapseKey>, bool), Error> {
        let moved: MovedRows = serde_json::from_str(&self.moved)
            .map_err(|cause| Error::corrupt_by("a transfer is not readable", cause))?;
        let left = moved
            .announced
            .iter()
            .skip_while(|key| key.to_string() <= self.unannounced_after);
        let next: Vec<CollapseKey> = left.clone().take(BATCH).copied().collect();
        Ok((next, left.count() <= BATCH))
    }
}
