//! The users, who own purchases. A user is found by the store's id of the customer, or created as an anonymous one.
//!
//! Every announcement or change of a user locks the user's row, before any of the user's purchases. `domain` computes
//! the state of a user.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::purchases::purchase::{Origin, PurchaseRow};
use domain::{AppId, UserId};

row! {
    /// A user as it is stored.
    pub struct UserRow {
        pub id: UserId,
        pub external_id: Option<String>,
        pub revision: i64,
    }
}

/// The key of a customer in `store_users`, which names the user that the customer is.
pub struct StoreUser {
    /// The app.
    pub app_id: AppId,
    /// The store, such as `amazon`.
    pub store: String,
    /// The store's id of the customer; while it is unknown, [`RECEIPT_PREFIX`] and the receipt.
    pub app_user_id: String,
}

/// The customer of a purchase, with the store's id if it is known.
pub struct Customer<'a> {
    /// The app and platform of the purchase.
    pub origin: &'a Origin,
    /// The row of the purchase, as it was before anything was locked.
    pub row: Option<&'a PurchaseRow>,
    /// The store's id of the customer.
    pub app_user_id: Option<&'a str>,
}

impl Customer<'_> {
    /// Finds the customer's user or creates one, and locks it until the end of the transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the customer became another user meanwhile: the transaction is run again.
    pub fn lock(&self, write: &mut Write<'_>) -> Result<UserRow, Error> {
        let id = self.find_or_create(write)?;
        let user = sql(LOCK).bind(id).ahead(write.connection)?;
        let is_shared = write.connection.is_shared();
        let present = if is_shared { self.store_user().find(write.connection)? } else { Some(id) };
        let user = user.first(write.connection)?.ok_or(Error::Missing { what: "user" })?;
        if present != Some(id) {
            return Err(Error::unavailable(Raced));
        }
        Ok(user)
    }

    fn find_or_create(&self, write: &mut Write<'_>) -> Result<UserId, Error> {
        let store_user = self.store_user();
        if let Some(known) = store_user.find(write.connection)? {
            return Ok(known);
        }
        let id = match self.named_by_receipt(write)? {
            // An admin named the user of this receipt before the store's id of its customer was known: both are the
            // same person.
            Some(named) => named,
            None => store_user.anonymous(),
        };
        store_user.assign(write, id)
    }

    /// The customer's key: the store's id of the customer, else the receipt.
    fn store_user(&self) -> StoreUser {
        match self.app_user_id {
            Some(name) => self.store_user_named(name.to_owned()),
            None => self.receipt(),
        }
    }

    fn receipt(&self) -> StoreUser {
        self.store_user_named(format!("{RECEIPT_PREFIX}{}", self.origin.receipt_id))
    }

    fn store_user_named(&self, app_user_id: String) -> StoreUser {
        StoreUser { app_id: self.origin.app_id, store: self.origin.store.clone(), app_user_id }
    }

    fn named_by_receipt(&self, write: &mut Write<'_>) -> Result<Option<UserId>, Error> {
        if self.app_user_id.is_none() || self.row.is_some_and(|row| row.app_user_id.is_some()) {
            return Ok(None);
        }
        let Some(owner) = self.receipt().find(write.connection)? else { return Ok(None) };
        Ok(is_named(write.connection, owner)?.then_some(owner))
    }
}

/// The prefix of the key of a customer whose id at the store is unknown; the receipt follows it.
pub const RECEIPT_PREFIX: &str = "receipt/";

const FIND_STORE_USER: Sql = statement! {"
    SELECT user_id AS value
    FROM store_users
    WHERE app_id = ? AND store = ? AND app_user_id = ?
"};

const INSERT: Sql = statement! {"
    INSERT INTO users (id, app_id, revision, created_at)
    VALUES (?, ?, 0, ?)
    ON CONFLICT DO NOTHING
"};

const INSERT_STORE_USER: Sql = statement! {"
    INSERT INTO store_users (app_id, store, app_user_id, user_id)
    VALUES (?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"};

impl StoreUser {
    /// The user that the customer is.
    pub fn find(&self, connection: &mut AnyConnection) -> Result<Option<UserId>, Error> {
        sql(FIND_STORE_USER)
            .bind(self.app_id)
            .bind(self.store.as_str())
            .bind(self.app_user_id.as_str())
            .value(connection)
    }

    /// Assigns a user to the customer, unless one is assigned already; creates the user if there is none with this id.
    /// Returns the assigned user.
    pub fn assign(&self, write: &mut Write<'_>, user: UserId) -> Result<UserId, Error> {
        sql(INSERT).bind(user).bind(self.app_id).bind(write.now).later(write.connection)?;
        sql(INSERT_STORE_USER)
            .bind(self.app_id)
            .bind(self.store.as_str())
            .bind(self.app_user_id.as_str())
            .bind(user)
            .later(write.connection)?;
        self.find(write.connection)?.ok_or_else(|| Error::unavailable(Raced))
    }

    /// The id of an anonymous user, computed from this key.
    pub fn anonymous(&self) -> UserId {
        UserId::anonymous(self.app_id, &self.store, &self.app_user_id)
    }
}

const LOCK: Sql = statement!("SELECT id, external_id, revision FROM users WHERE id = ? FOR UPDATE");

/// Locks a user until the end of the transaction. Two users must be locked in the order of their ids.
pub fn lock(write: &mut Write<'_>, id: UserId) -> Result<UserRow, Error> {
    sql(LOCK).bind(id).one(write.connection, "user")
}

const FIND: Sql = statement!("SELECT id, external_id, revision FROM users WHERE id = ?");

/// A user, without a lock.
pub fn read(connection: &mut AnyConnection, id: UserId) -> Result<UserRow, Error> {
    sql(FIND).bind(id).one(connection, "user")
}

const LOCK_SHARED: Sql = statement!("SELECT revision AS value FROM users WHERE id = ? FOR SHARE");

/// Locks a user against changes (a shared lock) until the end of the transaction.
pub fn lock_shared(write: &mut Write<'_>, id: UserId) -> Result<(), Error> {
    sql(LOCK_SHARED).bind(id).value::<i64>(write.connection).map(drop)
}

const SET_REVISION: Sql = statement!("UPDATE users SET revision = ? WHERE id = ?");

/// Raises the revision of a user whose state is announced; returns the new revision.
pub fn raise_revision(write: &mut Write<'_>, user: &UserRow) -> Result<i64, Error> {
    let revision = user.revision.saturating_add(1);
    sql(SET_REVISION).bind(revision).bind(user.id).later(write.connection)?;
    Ok(revision)
}

const FIND_NAMED: Sql = statement!("SELECT revision AS value FROM users WHERE id = ? AND external_id IS NOT NULL");

fn is_named(connection: &mut AnyConnection, id: UserId) -> Result<bool, Error> {
    Ok(sql(FIND_NAMED).bind(id).value::<i64>(connection)?.is_some())
}

/// The rows that were read before the lock have changed.
#[derive(Debug, thiserror::Error)]
#[error("somebody named the customer at the same time")]
pub struct Raced;
