//! The rows of transfers: what moved between which users, why, and what was undone.

use crate::people::movement::{self, Author, Cause, Move};
use crate::purchases::users::StoreCustomer;
use crate::settings::unnamed::PURCHASE_PREFIX;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, insert, statement};
use db::statement::{row, sql};
use db::writer::Write;
use domain::{AppId, CollapseKey, DevicePlace, Timestamp, TransferId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Maximum number of transfers in a list.
pub const MAX_TRANSFERS: usize = 100;

/// The stored rows of a move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MovedRows {
    pub customers: BTreeSet<StoreCustomer>,
    /// The purchases that were announced, in order of their keys.
    pub announced: Vec<CollapseKey>,
    /// The devices; undoing gives them back.
    #[serde(default)]
    pub devices: BTreeSet<DevicePlace>,
}

impl MovedRows {
    /// Whether anything was moved that can be given back. A purchase that the store assigned to another customer cannot.
    pub fn is_reversible(&self) -> bool {
        !self.customers.is_empty() || !self.devices.is_empty()
    }

    /// Returns the store's ids of the customers, without purchases whose customer is unknown.
    pub fn app_user_ids(&self) -> Vec<String> {
        let ids = self.customers.iter().map(|one| &one.app_user_id);
        ids.filter(|id| !id.starts_with(PURCHASE_PREFIX))
            .cloned()
            .collect()
    }
}

/// A transfer that is to be stored.
pub struct NewTransfer<'a> {
    pub id: TransferId,
    pub request: &'a Move<'a>,
    pub moved: &'a MovedRows,
    /// Whether its purchases are announced after its transaction.
    pub is_deferred: bool,
    /// Creation time of the transfer that is announced before this one, if there is one. The current time is not later
    /// than that if both are in one transaction, or if the clock was set back.
    pub after: Option<Timestamp>,
}

row! {
    struct TransferRow {
        id: TransferId,
        app_id: AppId,
        from_user_id: UserId,
        to_user_id: UserId,
        from_external_id: Option<String>,
        is_from_erased: bool,
        to_external_id: Option<String>,
        cause: Cause,
        moved: String,
        author: Option<String>,
        reason: Option<String>,
        undoes: Option<TransferId>,
        undone_by: Option<TransferId>,
        created_at: Timestamp,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    pub id: TransferId,
    pub app_id: AppId,
    pub from: UserId,
    /// The former owner's current external id.
    pub from_external_id: Option<String>,
    /// Whether the former owner has since been erased.
    pub is_from_erased: bool,
    pub to: UserId,
    /// The new owner's current external id.
    pub to_external_id: Option<String>,
    pub cause: Cause,
    pub moved: MovedRows,
    pub author: Option<Author>,
    /// Id of the transfer that this one undoes.
    pub undoes: Option<TransferId>,
    /// Id of the transfer that undid this one.
    pub undone_by: Option<TransferId>,
    /// Whether the transfer can be undone: it has not been, and its customers still belong to the new owner.
    pub can_undo: bool,
    pub created_at: Timestamp,
}

const SELECT: &str = "
    SELECT t.id, t.app_id, t.from_user_id, t.to_user_id, f.external_id AS from_external_id,
        EXISTS (SELECT 1 FROM erasures x WHERE x.user_id = t.from_user_id) AS is_from_erased,
        o.external_id AS to_external_id, t.cause, t.moved, t.author, t.reason, t.undoes, u.id AS undone_by,
        t.created_at
    FROM transfers t
    JOIN users f ON f.id = t.from_user_id
    JOIN users o ON o.id = t.to_user_id
    LEFT JOIN transfers u ON u.undoes = t.id";

const FIND: Sql = statement!("{SELECT} WHERE t.id = ?");

const OF_USER: Sql = statement! {"
    {SELECT}
    WHERE t.from_user_id = ? OR t.to_user_id = ?
    ORDER BY t.created_at DESC, t.id
    LIMIT {MAX_TRANSFERS}
"};

/// Selects the moves to a user since a time, except those that a person made.
const GATHERED: Sql = statement! {"
    SELECT moved AS value
    FROM transfers
    WHERE to_user_id = ? AND created_at > ? AND cause IN ('login', 'naming')
    ORDER BY created_at DESC
    LIMIT {MAX_TRANSFERS}
"};

/// Returns the stores' ids of the customers that moved to a user by logins and names since a time, from the newest
/// hundred transfers.
pub fn gathered(
    connection: &mut AnyConnection,
    user: UserId,
    since: Timestamp,
) -> Result<BTreeSet<String>, Error> {
    let moved: Vec<String> = sql(GATHERED).bind(user).bind(since).values(connection)?;
    let mut ids = BTreeSet::new();
    for text in &moved {
        ids.extend(read(text)?.app_user_ids());
    }
    Ok(ids)
}

fn read(moved: &str) -> Result<MovedRows, Error> {
    serde_json::from_str(moved)
        .map_err(|cause| Error::corrupt_by("a transfer is not readable", cause))
}

pub fn insert(write: &mut Write<'_>, new: &NewTransfer<'_>) -> Result<(), Error> {
    let NewTransfer {
        id,
        request,
        moved,
        is_deferred,
        after,
    } = new;
    let behind = after.map(|after| after.plus(Duration::from_micros(1)));
    let created_at = write.now()?;
    let moved = serde_json::to_string(moved)
        .map_err(|cause| Error::corrupt_by("a transfer cannot be written as JSON", cause))?;
    insert!(transfers {
        id: *id,
        app_id: request.app,
        from_user_id: request.from.id,
        to_user_id: request.to.id,
        cause: request.cause,
        moved,
        author: request.author.as_ref().map(|author| author.by.as_str()),
        reason: request
            .author
            .as_ref()
            .and_then(|author| author.reason.as_deref()),
        undoes: request.undoes,
        created_at: behind.map_or(created_at, |behind| behind.max(created_at)),
        unannounced_after: is_deferred.then_some(""),
    })
    .run(write.connection)
    .map(drop)
}

const PENDING_TO: Sql = statement! {"
    SELECT created_at AS value
    FROM transfers
    WHERE to_user_id = ? AND unannounced_after IS NOT NULL
    ORDER BY created_at DESC
    LIMIT 1
"};

/// Returns the creation time of the newest unannounced transfer to a user, if there is one.
pub fn pending_to(
    connection: &mut AnyConnection,
    user: UserId,
) -> Result<Option<Timestamp>, Error> {
    sql(PENDING_TO).bind(user).value(connection)
}

pub fn find(connection: &mut AnyConnection, id: TransferId) -> Result<Transfer, Error> {
    let row: TransferRow = sql(FIND).bind(id).one(connection, "transfer")?;
    let owned = movement::customers(connection, row.to_user_id)?;
    row.transfer(&owned)
}

impl TransferRow {
    /// Returns the transfer; `owned` are the store customers who belong to the new owner now.
    fn transfer(self, owned: &BTreeSet<StoreCustomer>) -> Result<Transfer, Error> {
        let moved = read(&self.moved)?;
        Ok(Transfer {
            id: self.id,
            app_id: self.app_id,
            from: self.from_user_id,
            from_external_id: self.from_external_id,
            is_from_erased: self.is_from_erased,
            to: self.to_user_id,
            to_external_id: self.to_external_id,
            cause: self.cause,
            can_undo: self.undone_by.is_none()
                && moved.is_reversible()
                && moved.customers.is_subset(owned),
            moved,
            author: self.author.map(|by| Author {
                by,
                reason: self.reason,
            }),
            undoes: self.undoes,
            undone_by: self.undone_by,
            created_at: self.created_at,
        })
    }
}

impl Store {
    pub async fn transfer(&self, id: TransferId) -> Result<Transfer, Error> {
        self.read(move |connection| find(connection, id)).await
    }

    /// Returns the newest transfers from and to a user, at most a hundred, newest first.
    pub async fn transfers(&self, user: UserId) -> Result<Vec<Transfer>, Error> {
        self.read(move |connection| {
            let rows: Vec<TransferRow> = sql(OF_USER).bind(user).bind(user).all(connection)?;
            let (mut owned, mut transfers) = (BTreeMap::new(), Vec::with_capacity(rows.len()));
            for row in rows {
                let owned = match owned.entry(row.to_user_id) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(unknown) => {
                        unknown.insert(movement::customers(connection, row.to_user_id)?)
                    }
                };
                transfers.push(row.transfer(owned)?);
            }
            Ok(transfers)
        })
        .await
    }
}
