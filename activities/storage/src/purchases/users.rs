//! The users, who own purchases. A user is found by the store's id of the customer, or else created as an anonymous
//! user.
//!
//! Every announcement or change of a user locks the user's row, before any of the user's purchases. `domain` computes
//! the state of a user.

use crate::purchases::purchase::{Origin, PurchaseRow};
use crate::settings::unnamed::unnamed;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Single, Statement, row, sql};
use db::writer::Write;
use domain::{AppId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

row! {
    /// A user as it is stored.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct UserRow {
        pub id: UserId,
        pub external_id: Option<String>,
        pub revision: i64,
    }
}

/// The key of a store's customer in `store_users`, which assigns a user to each.
pub struct StoreUser {
    pub app_id: AppId,
    /// The store, such as `amazon`.
    pub store: String,
    /// The store's id of the customer; while it is unknown, the key of the purchase (`settings::unnamed`).
    pub app_user_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct StoreCustomer {
    /// The store, such as `amazon`.
    pub store: String,
    /// The store's id of the customer; while it is unknown, `receipt/` and the store's id of the purchase.
    pub app_user_id: String,
}

impl From<&StoreUser> for StoreCustomer {
    fn from(user: &StoreUser) -> Self {
        Self {
            store: user.store.clone(),
            app_user_id: user.app_user_id.clone(),
        }
    }
}

/// The customer of a purchase, with the store's id if it is known.
pub struct Customer<'a> {
    /// The app and platform of the purchase.
    pub origin: &'a Origin,
    /// The row of the purchase, as it was before anything was locked.
    pub row: Option<&'a PurchaseRow>,
    /// The store's id for the customer.
    pub app_user_id: Option<&'a str>,
}

impl Customer<'_> {
    /// Finds the customer's user, which is not locked yet; if there is none, returns the user that is to be created.
    pub fn find(&self, write: &mut Write<'_>) -> Result<FoundUser, Error> {
        let store_user = self.store_user();
        let may_be_named =
            self.app_user_id.is_some() && self.row.is_none_or(|row| row.app_user_id.is_none());
        let known = store_user.find_ahead(write.connection)?;
        let named = if may_be_named {
            Some(self.by_purchase().find_named_ahead(write.connection)?)
        } else {
            None
        };
        if let Some(id) = known.value(write.connection)? {
            return Ok(FoundUser { id, is_known: true });
        }
        // An admin may have named the user of this purchase before the store's id of its customer was known: both are
        // the same person.
        let named = named.map_or(Ok(None), |named| named.value(write.connection))?;
        Ok(FoundUser {
            id: named.unwrap_or_else(|| store_user.anonymous()),
            is_known: false,
        })
    }

    /// Locks the user until the end of the transaction, and creates it if there is none; its row is fetched later. If
    /// the purchase belonged to another user, locks that user too, in order of their ids: at this moment a lease may
    /// find that a delivery has to wait for the former owner's id. Does not wait for a transaction that has locked one
    /// of them: that is an error, for which the writer sets the job aside.
    pub fn lock_ahead(&self, write: &mut Write<'_>, found: FoundUser) -> Result<LockedUser, Error> {
        let store_user = self.store_user();
        if !found.is_known {
            store_user.insert(write, found.id)?;
        }
        let former = self
            .row
            .and_then(|row| row.user_id)
            .filter(|former| *former != found.id);
        if let Some(former) = former.filter(|former| *former < found.id) {
            try_lock_later(write, former)?;
        }
        let user = sql(LOCK_NOW).bind(found.id).ahead(write.connection)?;
        if let Some(former) = former.filter(|former| *former > found.id) {
            try_lock_later(write, former)?;
        }
        Ok(LockedUser {
            id: found.id,
            user,
            present: store_user.find_ahead(write.connection)?,
        })
    }

    /// Returns the customer's key: the store's id of the customer, else that of the purchase.
    fn store_user(&self) -> StoreUser {
        match self.app_user_id {
            Some(name) => self.store_user_named(name.to_owned()),
            None => self.by_purchase(),
        }
    }

    fn by_purchase(&self) -> StoreUser {
        self.store_user_named(unnamed(&self.origin.receipt_id))
    }

    fn store_user_named(&self, app_user_id: String) -> StoreUser {
        StoreUser {
            app_id: self.origin.app_id,
            store: self.origin.store.clone(),
            app_user_id,
        }
    }
}

/// The user of a customer, before it is locked.
#[derive(Clone, Copy)]
pub struct FoundUser {
    id: UserId,
    /// Whether the user is assigned to the customer already.
    is_known: bool,
}

impl FoundUser {
    pub const fn id(self) -> UserId {
        self.id
    }
}

/// A locked user, which is fetched later.
pub struct LockedUser {
    id: UserId,
    user: Ahead<'static, UserRow>,
    /// The customer's user as of the lock.
    present: Ahead<'static, Single<UserId>>,
}

impl LockedUser {
    /// Returns the row of the locked user.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the customer was assigned another user meanwhile: the transaction is run again.
    pub fn fetch(self, write: &mut Write<'_>) -> Result<UserRow, Error> {
        let user = self
            .user
            .first(write.connection)?
            .ok_or(Error::Missing { what: "user" })?;
        if self.present.value(write.connection)? != Some(self.id) {
            return Err(Error::unavailable(Raced));
        }
        Ok(user)
    }
}

const FIND_STORE_USER: Sql = statement! {"
    SELECT user_id AS value
    FROM store_users
    WHERE app_id = ? AND store = ? AND app_user_id = ?
"};

const FIND_NAMED: Sql = statement! {"
    SELECT s.user_id AS value
    FROM store_users s
    JOIN users u ON u.id = s.user_id
    WHERE s.app_id = ? AND s.store = ? AND s.app_user_id = ? AND u.external_id IS NOT NULL
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
    /// Returns the customer's user, if one is assigned.
    pub fn find(&self, connection: &mut AnyConnection) -> Result<Option<UserId>, Error> {
        self.find_ahead(connection)?.value(connection)
    }

    fn find_ahead(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<Ahead<'static, Single<UserId>>, Error> {
        self.of(FIND_STORE_USER).value_ahead(connection)
    }

    /// Returns the customer's user, if that user has an external id.
    fn find_named_ahead(
        &self,
        connection: &mut AnyConnection,
    ) -> Result<Ahead<'static, Single<UserId>>, Error> {
        self.of(FIND_NAMED).value_ahead(connection)
    }

    fn of(&self, text: Sql) -> Statement<'static> {
        sql(text).bind((self.app_id, self.store.clone(), self.app_user_id.clone()))
    }

    /// Assigns a user to the customer, unless one is assigned already; creates the user if there is none with this id.
    /// Returns the assigned user.
    pub fn assign(&self, write: &mut Write<'_>, user: UserId) -> Result<UserId, Error> {
        self.insert(write, user)?;
        self.find(write.connection)?
            .ok_or_else(|| Error::unavailable(Raced))
    }

    fn insert(&self, write: &mut Write<'_>, user: UserId) -> Result<(), Error> {
        create(write, self.app_id, user)?;
        self.of(INSERT_STORE_USER)
            .bind(user)
            .later(write.connection)
    }

    /// Returns the id of an anonymous user, computed from this key.
    pub fn anonymous(&self) -> UserId {
        UserId::anonymous(self.app_id, &self.store, &self.app_user_id)
    }
}

const LOCK: Sql = statement!("SELECT id, external_id, revision FROM users WHERE id = ? FOR UPDATE");

/// Locks a user until the end of the transaction. Two users must be locked in order of their ids.
pub fn lock(write: &mut Write<'_>, id: UserId) -> Result<UserRow, Error> {
    sql(LOCK).bind(id).one(write.connection, "user")
}

/// Like [`lock`], but the row is fetched later and the user need not exist. A job that may be set aside does not wait
/// for another transaction that has locked the user: that is an error.
pub fn lock_ahead(write: &mut Write<'_>, id: UserId) -> Result<Ahead<'static, UserRow>, Error> {
    sql(if write.may_wait { LOCK } else { LOCK_NOW })
        .bind(id)
        .ahead(write.connection)
}

/// Creates an anonymous user, unless there is one with this id.
pub fn create(write: &mut Write<'_>, app: AppId, id: UserId) -> Result<(), Error> {
    sql(INSERT)
        .bind((id, app, write.now()?))
        .later(write.connection)
}

const LOCK_NOW: Sql =
    statement!("SELECT id, external_id, revision FROM users WHERE id = ? FOR UPDATE NOWAIT");

/// Locks a user until the end of the transaction, if there is such a user. Fails if another transaction has locked it.
pub fn try_lock_later(write: &mut Write<'_>, id: UserId) -> Result<(), Error> {
    sql(LOCK_NOW)
        .bind(id)
        .ahead::<UserRow>(write.connection)
        .map(drop)
}

const LOCK_FREE: Sql = statement! {"
    SELECT id AS value
    FROM users
    WHERE id IN (?*)
    ORDER BY id
    FOR UPDATE SKIP LOCKED
"};

const EXISTING: Sql = statement!("SELECT id AS value FROM users WHERE id IN (?*)");

/// Locks these users until the end of the transaction, except those that another transaction has locked. Returns the
/// exceptions.
pub fn lock_free(
    write: &mut Write<'_>,
    users: impl Iterator<Item = UserId>,
) -> Result<BTreeSet<UserId>, Error> {
    let users: Vec<UserId> = users.collect();
    let list = |text| sql(text).uncached().bind_list(users.iter().copied());
    let locked = list(LOCK_FREE).value_ahead(write.connection)?;
    let existing: Vec<UserId> = list(EXISTING).values(write.connection)?;
    let locked: BTreeSet<UserId> = locked.values(write.connection)?.into_iter().collect();
    Ok(existing
        .into_iter()
        .filter(|user| !locked.contains(user))
        .collect())
}

const FIND: Sql = statement!("SELECT id, external_id, revision FROM users WHERE id = ?");

pub fn read(connection: &mut AnyConnection, id: UserId) -> Result<UserRow, Error> {
    sql(FIND).bind(id).one(connection, "user")
}

const FIND_EXTERNAL: Sql =
    statement!("SELECT id AS value FROM users WHERE external_id = ? AND app_id = ?");

/// Returns the user of an app with this external id.
pub fn named(
    connection: &mut AnyConnection,
    app: AppId,
    external_id: &str,
) -> Result<Option<UserId>, Error> {
    sql(FIND_EXTERNAL)
        .bind(external_id)
        .bind(app)
        .value(connection)
}

const APP_USER_IDS: Sql = statement! {"
    SELECT app_user_id AS value
    FROM store_users
    WHERE user_id = ?
    ORDER BY app_user_id
"};

/// Returns the stores' ids of a user, including the keys that stand for a purchase.
pub fn app_user_ids(connection: &mut AnyConnection, user: UserId) -> Result<Vec<String>, Error> {
    sql(APP_USER_IDS).bind(user).values(connection)
}

const FIND_IN_APP: Sql =
    statement!("SELECT id, external_id, revision FROM users WHERE id = ? AND app_id = ?");

/// Returns a user of an app, without a lock.
pub fn find_in_app(
    connection: &mut AnyConnection,
    app: AppId,
    id: UserId,
) -> Result<Option<UserRow>, Error> {
    sql(FIND_IN_APP).bind(id).bind(app).first(connection)
}

const LOCK_SHARED: Sql =
    statement!("SELECT revision AS value FROM users WHERE id = ? FOR SHARE SKIP LOCKED");

/// Locks a user against changes (a shared lock) until the end of the transaction, unless another transaction is
/// changing it. Returns whether it is locked.
pub fn lock_shared(write: &mut Write<'_>, id: UserId) -> Result<bool, Error> {
    Ok(sql(LOCK_SHARED)
        .bind(id)
        .value::<i64>(write.connection)?
        .is_some())
}

const SET_REVISION: Sql = statement!("UPDATE users SET revision = ? WHERE id = ?");

/// Raises the revision of a user whose state is announced; returns the new revision.
pub fn raise_revision(write: &mut Write<'_>, user: &UserRow) -> Result<i64, Error> {
    let revision = user.revision.saturating_add(1);
    sql(SET_REVISION)
        .bind(revision)
        .bind(user.id)
        .later(write.connection)?;
    Ok(revision)
}

/// The rows that were read before the lock have changed.
#[derive(Debug, thiserror::Error)]
#[error("another request named the customer at the same time")]
pub struct Raced;
