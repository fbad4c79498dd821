//! Customers: the users who own purchases, and their external ids. The external id is the app's own id of a customer.

use crate::purchases::purchase;
use crate::purchases::users;
use crate::settings::tombstones::{self, ConcealedName, is_tombstone};
use crate::settings::unnamed::{PURCHASE_PREFIX, unnamed};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::partial::OPEN_OF_STORE_ID_N;
use db::secrets::Secrets;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{clean, row, sql};
use domain::text::spellings;
use domain::{AppId, UserId};

/// How the user who owns a purchase is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// The customer's id at the app's only store.
    AppUser(String),
    /// The customer's id at the named store.
    StoreUser {
        store: String,
        app_user_id: String,
    },
    Receipt(String),
}

/// How a customer is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerKey {
    ExternalId(String),
    /// A store's id of the customer or of a purchase.
    Owner(Owner),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The user's id in settle, which never changes.
    pub user_id: UserId,
    /// The app's own id of the customer, if it was set.
    pub external_id: Option<String>,
    /// The id of the customer's device in the app's analytics: the one that was set explicitly, or else that of the
    /// device with the first verified claim before the customer's first event.
    pub analytics_device_id: Option<String>,
    /// The stores' ids of the customer.
    pub app_user_ids: Vec<String>,
}

row! {
    struct StoreUser {
        store: String,
        app_user_id: Option<String>,
    }
}

impl Store {
    /// Returns a user of an app as a customer.
    ///
    /// # Errors
    /// [`Error::Missing`] when the app has no such user.
    pub async fn customer_of(&self, app: AppId, user: UserId) -> Result<Customer, Error> {
        self.read(move |connection| {
            users::find_in_app(connection, app, user)?
                .ok_or(Error::Missing { what: "customer" })?;
            view(connection, user)
        })
        .await
    }

    /// Finds another customer of the app whose external id a reader may take for this one, and returns that id. It
    /// differs only in the case of ASCII letters, in invisible characters, in how letters are composed, or in letters
    /// that look like ASCII.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database cannot be read.
    pub async fn twin_of_id(&self, app: AppId, external_id: &str) -> Result<Option<String>, Error> {
        let external_id = external_id.to_owned();
        self.read(move |connection| {
            let spellings = spellings(&external_id);
            let query = sql(ALIKE).bind_all(spellings.iter().map(String::as_str));
            query.bind(app).bind(external_id.as_str()).value(connection)
        })
        .await
    }

    pub async fn customer(&self, app: AppId, by: CustomerKey) -> Result<Customer, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let by = match by {
                CustomerKey::Owner(owner) => {
                    CustomerKey::Owner(owner.or_tombstone(connection, &secrets, app)?)
                }
                named @ CustomerKey::ExternalId(_) => named,
            };
            let user = match &by {
                CustomerKey::ExternalId(id) => users::named(connection, app, id)?,
                CustomerKey::Owner(owner) => owner_of(connection, app, owner)?
                    .map(|known| known.find(connection))
                    .transpose()?
                    .flatten(),
            };
            view(connection, user.ok_or(Error::Missing { what: "customer" })?)
        })
        .await
    }
}

impl Owner {
    /// Builds an owner from a customer's id at a store; without a store, at the app's only store.
    pub fn of_store(store: Option<String>, app_user_id: String) -> Self {
        match store {
            Some(store) => Self::StoreUser { store, app_user_id },
            None => Self::AppUser(app_user_id),
        }
    }

    /// Adds the store to the owner, and replaces the id by its tombstone if the customer was erased.
    ///
    /// # Errors
    /// [`Error::WrongStore`] if the app has no such store, or if the owner names no store and the app has several.
    pub fn or_tombstone(
        self,
        connection: &mut AnyConnection,
        secrets: &Secrets,
        app: AppId,
    ) -> Result<Self, Error> {
        let (named, app_user_id) = match &self {
            Self::AppUser(app_user_id) => (None, app_user_id),
            Self::StoreUser { store, app_user_id } => (Some(store.as_str()), app_user_id),
            Self::Receipt(_) => return Ok(self),
        };
        let Some(store) = store_of(connection, app, named)? else {
            return Ok(self);
        };
        let customer = ConcealedName {
            app,
            store: &store,
            app_user_id,
        };
        let app_user_id = tombstones::or_tombstone(connection, secrets, customer)?;
        Ok(Self::StoreUser { store, app_user_id })
    }
}

/// Finds ids that look alike, with one parameter for each of [`spellings`].
const ALIKE: Sql = statement! {hot "users_folded", "
    SELECT external_id AS value
    FROM users
    WHERE external_id IS NOT NULL
        AND lower(external_id) IN (
            lower(?), lower(?), lower(?), lower(?), lower(?), lower(?),
            lower(?), lower(?), lower(?), lower(?), lower(?), lower(?), lower(?)
        )
        AND app_id = ?
        AND external_id <> ?
    LIMIT 1
"};

const STORES_OF_APP: Sql = statement! {"
    SELECT store, COUNT(*) - COUNT(deleted_at) AS live
    FROM platforms
    WHERE app_id = ?
    GROUP BY store
    ORDER BY store
"};

row! {
    /// A store of an app.
    struct AppStore {
        store: String,
        /// Number of its platforms that are not deleted.
        live: i64,
    }
}

/// Returns the store of an app with this name; without a name, the app's only store. Without a name, stores whose
/// platforms are all deleted count only if there is no other. `None` if the app has no platform.
fn store_of(
    connection: &mut AnyConnection,
    app: AppId,
    named: Option<&str>,
) -> Result<Option<String>, Error> {
    let all: Vec<AppStore> = sql(STORES_OF_APP).bind(app).all(connection)?;
    let has_live = all.iter().any(|one| one.live > 0);
    let mut fitting = all.iter().filter(|one| match named {
        Some(named) => one.store == named,
        None => one.live > 0 || !has_live,
    });
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(Some(only.store.clone())),
        (None, _) if all.is_empty() => Ok(None),
        _ => {
            let stores = all.into_iter().map(|one| one.store);
            Err(Error::WrongStore(stores.collect()))
        }
    }
}

/// Resolves an owner to a customer of a store; `None` if the customer is unknown.
pub fn owner_of(
    connection: &mut AnyConnection,
    app_id: AppId,
    owner: &Owner,
) -> Result<Option<users::StoreUser>, Error> {
    match owner {
        Owner::AppUser(name) => {
            let store = store_of(connection, app_id, None)?;
            let app_user_id = clean(name).into_owned();
            Ok(store.map(|store| users::StoreUser {
                app_id,
                store,
                app_user_id,
            }))
        }
        Owner::StoreUser { store, app_user_id } => {
            let store = store_of(connection, app_id, Some(store))?;
            let app_user_id = clean(app_user_id).into_owned();
            Ok(store.map(|store| users::StoreUser {
                app_id,
                store,
                app_user_id,
            }))
        }
        Owner::Receipt(store_id) => {
            let store_id = clean(store_id);
            let found = of_store_id(connection, app_id, &store_id)?;
            Ok(found.map(|found| users::StoreUser {
                app_id,
                store: found.store,
                app_user_id: found.app_user_id.unwrap_or_else(|| unnamed(&store_id)),
            }))
        }
    }
}

/// `|| ''` keeps SQLite, which has no statistics, from reading all purchases of the app.
const OWNER_BY_PURCHASE: Sql = statement! {"
    SELECT f.store, p.app_user_id
    FROM purchases p
    JOIN platforms f ON f.id = p.platform_id
    WHERE p.receipt_id = ? AND p.app_id || '' = ?
    ORDER BY p.app_user_id IS NULL, p.created_at
    LIMIT 1
"};
const OWNER_BY_NOTIFICATION: Sql = statement! {"
    SELECT f.store, n.app_user_id
    FROM notifications n
    JOIN platforms f ON f.id = n.platform_id
    WHERE n.receipt_id = ? AND f.app_id = ? AND {OPEN_OF_STORE_ID_N} AND n.waiting_topic_id IS NULL
    ORDER BY n.app_user_id IS NULL, n.seq
    LIMIT 1
"};

/// Finds the owner of a purchase by the store's id of the purchase: in its record, or else in an open notification.
fn of_store_id(
    connection: &mut AnyConnection,
    app: AppId,
    store_id: &str,
) -> Result<Option<StoreUser>, Error> {
    let mut found: Option<StoreUser> = None;
    for owner in [OWNER_BY_PURCHASE, OWNER_BY_NOTIFICATION] {
        let row: Option<StoreUser> = sql(owner).bind(store_id).bind(app).first(connection)?;
        match row {
            Some(row) if row.app_user_id.is_some() => return Ok(Some(row)),
            row => found = found.or(row),
        }
    }
    Ok(found)
}

pub const OF_USER: Clause = clause! {&purchase::RECHECKS, hot "purchases_user", "
    user_id = ?
"};

row! {
    struct NamesRow {
        external_id: Option<String>,
        analytics_device_id: Option<String>,
    }
}

const NAMES_OF_USER: Sql =
    statement!("SELECT external_id, analytics_device_id FROM users WHERE id = ?");

/// Returns a user as a customer.
pub fn view(connection: &mut AnyConnection, user: UserId) -> Result<Customer, Error> {
    let NamesRow {
        external_id,
        analytics_device_id,
    } = sql(NAMES_OF_USER).bind(user).one(connection, "customer")?;
    let app_user_ids = shown_ids(users::app_user_ids(connection, user)?);
    Ok(Customer {
        user_id: user,
        external_id,
        analytics_device_id,
        app_user_ids,
    })
}

/// Returns the stores' ids of a customer, without stand-ins for purchases and without tombstones.
pub fn shown_ids(mut app_user_ids: Vec<String>) -> Vec<String> {
    app_user_ids.retain(|name| !name.starts_with(PURCHASE_PREFIX) && !is_tombstone(name));
    app_user_ids
}

#[cfg(test)]
mod tests {
    use super::ALIKE;

    /// The locale of the tests' PostgreSQL folds ASCII letters alone, as Rust does; others fold more.
    #[test]
    fn the_database_folds_both_ids() {
        assert!(
            ALIKE.text.contains("lower(external_id) IN ("),
            "{}",
            ALIKE.text
        );
        assert_eq!(
            ALIKE.text.matches('?').count(),
            ALIKE.text.matches("lower(?)").count() + 2,
            "{}",
            ALIKE.text
        );
    }
}
