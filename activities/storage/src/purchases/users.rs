//! The owners of purchases: found by the store's name of the customer, or created without a name of their own.
//!
//! Every announcement or change of a user locks its row, before any of its purchases. Which state a user is in is
//! `domain`'s.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Number, row, sql};
use crate::db::writer::Write;
use crate::purchases::purchase::{Origin, PurchaseRow};
use domain::{AppId, UserId};
use std::borrow::Cow;

row! {
    /// A user as it is stored.
    pub struct UserRow {
        pub id: UserId,
        pub external_id: Option<String>,
        pub revision: i64,
    }
}

row! {
    struct Named {
        user_id: UserId,
    }
}

/// The customer of a purchase, as far as anybody named them.
pub struct Customer<'a> {
    /// The app and platform of the purchase.
    pub origin: &'a Origin,
    /// The row of the purchase, as it was before anything was locked.
    pub row: Option<&'a PurchaseRow>,
    /// The store's name of the customer.
    pub app_user_id: Option<&'a str>,
}

impl Customer<'_> {
    /// Finds the customer's user or creates one, and locks it until the end of the transaction.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when somebody named the customer in the meantime: the transaction is run again.
    pub fn lock(&self, write: &mut Write<'_>) -> Result<UserRow, Error> {
        let id = self.find_or_make(write)?;
        let user = lock(write, id)?;
        let filed = (self.origin.app_id, self.origin.store.as_str());
        if write.connection.is_shared() && find(write.connection, filed, &self.name())? != Some(id) {
            return Err(Error::unavailable(Raced));
        }
        Ok(user)
    }

    fn find_or_make(&self, write: &mut Write<'_>) -> Result<UserId, Error> {
        let (app, store) = (self.origin.app_id, self.origin.store.as_str());
        let name = self.name();
        if let Some(known) = find(write.connection, (app, store), &name)? {
            return Ok(known);
        }
        let id = match self.named_by_receipt(write)? {
            // Somebody named the owner of this receipt before the store named its customer: they are the same.
            Some(named) => named,
            None => UserId::anonymous(app, store, &name),
        };
        make(write, app, id)?;
        bind(write, (app, store, &name), id)?;
        find(write.connection, (app, store), &name)?.ok_or(Error::Missing { what: "user" })
    }

    /// The name that the customer is filed under: the store's name, else the receipt.
    fn name(&self) -> Cow<'_, str> {
        self.app_user_id.map_or_else(|| Cow::Owned(self.receipt()), Cow::Borrowed)
    }

    fn receipt(&self) -> String {
        format!("{RECEIPT}{}", self.origin.receipt_id)
    }

    fn named_by_receipt(&self, write: &mut Write<'_>) -> Result<Option<UserId>, Error> {
        if self.app_user_id.is_none() || self.row.is_some_and(|row| row.app_user_id.is_some()) {
            return Ok(None);
        }
        let owner = find(write.connection, (self.origin.app_id, &self.origin.store), &self.receipt())?;
        let Some(owner) = owner else { return Ok(None) };
        Ok(is_named(write.connection, owner)?.then_some(owner))
    }
}

/// The prefix under which a receipt is filed while no customer of the store is known for it.
pub const RECEIPT: &str = "receipt/";

const FIND_STORE_USER: Sql = statement! {"
    SELECT user_id
    FROM store_users
    WHERE app_id = ? AND store = ? AND app_user_id = ?
"};

/// The user that a store's own customer is.
pub fn find(
    connection: &mut AnyConnection,
    (app, store): (AppId, &str),
    app_user_id: &str,
) -> Result<Option<UserId>, Error> {
    let named: Option<Named> = sql(FIND_STORE_USER).bind(app).bind(store).bind(app_user_id).first(connection)?;
    Ok(named.map(|named| named.user_id))
}

const INSERT: Sql = statement! {"
    INSERT INTO users (id, app_id, revision, created_at)
    VALUES (?, ?, 0, ?)
    ON CONFLICT DO NOTHING
"};

/// Inserts a user, unless there is one with this id.
pub fn make(write: &mut Write<'_>, app: AppId, id: UserId) -> Result<(), Error> {
    sql(INSERT).bind(id).bind(app).bind(write.now).run(write.connection).map(drop)
}

const INSERT_STORE_USER: Sql = statement! {"
    INSERT INTO store_users (app_id, store, app_user_id, user_id)
    VALUES (?, ?, ?, ?)
    ON CONFLICT DO NOTHING
"};

/// Records which user a store's own customer is, unless that is known.
pub fn bind(write: &mut Write<'_>, (app, store, name): (AppId, &str, &str), user: UserId) -> Result<(), Error> {
    sql(INSERT_STORE_USER).bind(app).bind(store).bind(name).bind(user).run(write.connection).map(drop)
}

const LOCK: Sql = statement!("SELECT id, external_id, revision FROM users WHERE id = ? FOR UPDATE");

/// Locks a user until the end of the transaction. Two are locked in the order of their ids.
pub fn lock(write: &mut Write<'_>, id: UserId) -> Result<UserRow, Error> {
    sql(LOCK).bind(id).first(write.connection)?.ok_or(Error::Missing { what: "user" })
}

const FIND: Sql = statement!("SELECT id, external_id, revision FROM users WHERE id = ?");

/// A user, without a lock.
pub fn read(connection: &mut AnyConnection, id: UserId) -> Result<UserRow, Error> {
    sql(FIND).bind(id).first(connection)?.ok_or(Error::Missing { what: "user" })
}

const LOCK_SHARED: Sql = statement!("SELECT revision AS value FROM users WHERE id = ? FOR SHARE");

/// Locks a user against changes until the end of the transaction.
pub fn lock_shared(write: &mut Write<'_>, id: UserId) -> Result<(), Error> {
    let locked = sql(LOCK_SHARED).bind(id);
    let _: Option<Number> = locked.first(write.connection)?;
    Ok(())
}

const SET_REVISION: Sql = statement!("UPDATE users SET revision = ? WHERE id = ?");

/// Raises the revision of the user, whose state is announced once more; returns it.
pub fn raise_revision(write: &mut Write<'_>, user: &UserRow) -> Result<i64, Error> {
    let revision = user.revision.saturating_add(1);
    sql(SET_REVISION).bind(revision).bind(user.id).run(write.connection)?;
    Ok(revision)
}

const FIND_NAMED: Sql = statement!("SELECT revision AS value FROM users WHERE id = ? AND external_id IS NOT NULL");

fn is_named(connection: &mut AnyConnection, id: UserId) -> Result<bool, Error> {
    let named: Option<Number> = sql(FIND_NAMED).bind(id).first(connection)?;
    Ok(named.is_some())
}

/// The rows that were read before the lock have changed.
#[derive(Debug, thiserror::Error)]
#[error("somebody named the customer at the same time")]
pub struct Raced;
