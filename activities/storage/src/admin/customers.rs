//! Customers: the users who own purchases, and their external ids. The external id is the app's own id of a customer.
//! Setting it announces nothing by itself: the user's purchases are rechecked, and their next settling announces it.

use crate::admin::platforms::require_app;
use crate::db::audit_log::AuditEntry;
use crate::db::config::Installation;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::secrets::Secrets;
use crate::db::sql::{Clause, Sql, clause, statement};
use crate::db::statement::{clean, row, sql};
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::people::moves::{self, Cause};
use crate::people::names::{self, named};
use crate::purchases::cause::CauseKind;
use crate::purchases::purchase;
use crate::purchases::users::{self, RECEIPT_PREFIX, Raced, UserRow};
use crate::settings::app_lock;
use crate::settings::tombstones::{self, ConcealedName, is_tombstone};
use domain::{AppId, UserId};
use serde_json::json;

/// How the user who owns a purchase is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// By the store's id of the customer.
    AppUser(String),
    Receipt(String),
}

/// How a customer is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerKey {
    ExternalId(String),
    /// By an id of the store.
    Owner(Owner),
}

/// The names of a customer in other systems, which are set together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerNames {
    /// The app's own id of the customer.
    pub external_id: String,
    /// The app's own id of the customer's device in its analytics; `None` leaves it as it is.
    pub analytics_device_id: Option<String>,
}

impl<T: AsRef<str> + ?Sized> From<&T> for CustomerNames {
    fn from(external_id: &T) -> Self {
        Self { external_id: external_id.as_ref().to_owned(), analytics_device_id: None }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The user's id in settle, which never changes.
    pub user_id: UserId,
    /// The app's own id of the customer, if it was set.
    pub external_id: Option<String>,
    /// The id of the customer's device in the app's analytics: the one that was set, else that of the device with the first
    /// verified claim before the customer's first event.
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
    /// Sets the external id of the user who owns a purchase. If another user of the app has that id already, the user
    /// is merged into that one. Events that are sent for the first time from then on have the id of the device, if
    /// `names` has one.
    ///
    /// # Errors
    ///
    /// [`Error::Conflict`] if the user has another external id already. Then nothing is changed.
    pub async fn name_customer(
        &self,
        app: AppId,
        owner: Owner,
        names: impl Into<CustomerNames>,
    ) -> Result<Customer, Error> {
        let secrets = self.secrets.clone();
        let (installation, CustomerNames { external_id, analytics_device_id }) = (self.installation, names.into());
        self.change("customer.name", move |write| {
            require_app(write, app)?;
            let owner = owner.clone().or_tombstone(write.connection, &secrets, app)?;
            let user = name(write, installation, app, &owner, &external_id)?;
            if let Some(id) = &analytics_device_id {
                sql(SET_DEVICE).bind(clean(id).as_ref()).bind(user).run(write.connection)?;
            }
            // No audit entry has a name of a customer: it would outlive a request to erase them.
            let entry = AuditEntry::on(app, user).after(json!({ "analytics_device": analytics_device_id.is_some() }));
            Ok((view(write.connection, user)?, Some(entry)))
        })
        .await
    }

    /// The customer of an app who is this user.
    ///
    /// # Errors
    /// [`Error::Missing`] when the app has no such user.
    pub async fn customer_of(&self, app: AppId, user: UserId) -> Result<Customer, Error> {
        self.read(move |connection| {
            users::find_in_app(connection, app, user)?.ok_or(Error::Missing { what: "customer" })?;
            view(connection, user)
        })
        .await
    }

    pub async fn customer(&self, app: AppId, by: CustomerKey) -> Result<Customer, Error> {
        let secrets = self.secrets.clone();
        self.read(move |connection| {
            let by = match by {
                CustomerKey::Owner(owner) => CustomerKey::Owner(owner.or_tombstone(connection, &secrets, app)?),
                named @ CustomerKey::ExternalId(_) => named,
            };
            let user = match &by {
                CustomerKey::ExternalId(id) => users::named(connection, app, id)?,
                CustomerKey::Owner(owner) => {
                    owner_of(connection, app, owner)?.map(|known| known.find(connection)).transpose()?.flatten()
                }
            };
            view(connection, user.ok_or(Error::Missing { what: "customer" })?)
        })
        .await
    }
}

impl Owner {
    /// The owner, by the tombstone if the customer was erased.
    pub fn or_tombstone(self, connection: &mut AnyConnection, secrets: &Secrets, app: AppId) -> Result<Self, Error> {
        let Self::AppUser(app_user_id) = &self else { return Ok(self) };
        let store: Option<String> = sql(STORE_OF_APP).bind(app).value(connection)?;
        let Some(store) = store else { return Ok(self) };
        let customer = ConcealedName { app, store: &store, app_user_id };
        tombstones::or_tombstone(connection, secrets, customer).map(Self::AppUser)
    }
}

/// Sets the external id of a purchase's owner. Returns the user who is the owner from now on.
pub fn name(
    write: &mut Write<'_>,
    installation: Installation,
    app: AppId,
    owner: &Owner,
    external_id: &str,
) -> Result<UserId, Error> {
    let known = owner_of(write.connection, app, owner)?.ok_or_else(|| nobody(owner))?;
    app_lock::share(write, app)?;
    let user = known_or_new(write, &known)?;
    let other = named(write.connection, app, external_id)?.filter(|other| *other != user);
    let (row, other_row) = lock_both(write, user, other)?;
    // Another transaction may have merged the user or set the id before these locks were taken.
    let taken = named(write.connection, app, external_id)?.filter(|taken| *taken != user);
    if known.find(write.connection)? != Some(user) || taken != other {
        return Err(Error::unavailable(Raced));
    }
    match (&row.external_id, other_row) {
        (Some(called), _) if called == external_id => Ok(user),
        (Some(called), _) => Err(called_otherwise(called, external_id)),
        (None, None) => names::set(write, user, external_id, CauseKind::CustomerId).map(|()| user),
        (None, Some(other)) => moves::merge(write, installation, app, Cause::Naming, &row, &other).map(|_| other.id),
    }
}

/// Locks both users in the order of their ids.
fn lock_both(write: &mut Write<'_>, user: UserId, other: Option<UserId>) -> Result<(UserRow, Option<UserRow>), Error> {
    let rows = moves::lock_users(write, &[Some(user), other].into_iter().flatten().collect())?;
    let (user, other): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.id == user);
    Ok((user.into_iter().next().ok_or(Error::Missing { what: "user" })?, other.into_iter().next()))
}

fn called_otherwise(called: &str, wanted: &str) -> Error {
    let detail = format!(
        "it is called `{called}` already, and `{wanted}` would be another customer; this call does not move purchases \
         between customers: `settle customer move` does"
    );
    Error::Conflict { what: "external_id", detail }
}

fn nobody(owner: &Owner) -> Error {
    match owner {
        Owner::AppUser(_) => {
            let detail = "the app has no platform yet, so no store could know this customer: make the platform first";
            Error::Conflict { what: "app_user_id", detail: detail.to_owned() }
        }
        Owner::Receipt(_) => Error::Missing { what: "purchase with this `receipt_id` in the app" },
    }
}

const STORE_OF_APP: Sql = statement! {"
    SELECT store AS value
    FROM platforms
    WHERE app_id = ?
    ORDER BY deleted_at IS NOT NULL, created_at
    LIMIT 1
"};

/// The customer of a store whose purchases the owner has; `None` if nothing is known of them.
pub fn owner_of(
    connection: &mut AnyConnection,
    app_id: AppId,
    owner: &Owner,
) -> Result<Option<users::StoreUser>, Error> {
    match owner {
        Owner::AppUser(name) => {
            let store = sql(STORE_OF_APP).bind(app_id).value(connection)?;
            let app_user_id = clean(name).into_owned();
            Ok(store.map(|store| users::StoreUser { app_id, store, app_user_id }))
        }
        Owner::Receipt(receipt) => {
            let receipt = clean(receipt);
            let found = of_receipt(connection, app_id, &receipt)?;
            Ok(found.map(|found| users::StoreUser {
                app_id,
                store: found.store,
                app_user_id: found.app_user_id.unwrap_or_else(|| format!("{RECEIPT_PREFIX}{receipt}")),
            }))
        }
    }
}

const OWNER_BY_PURCHASE: Sql = statement! {"
    SELECT f.store, p.app_user_id
    FROM purchases p
    JOIN platforms f ON f.id = p.platform_id
    WHERE p.receipt_id = ? AND p.app_id = ?
    ORDER BY p.app_user_id IS NULL, p.created_at
    LIMIT 1
"};
const OWNER_BY_NOTIFICATION: Sql = statement! {"
    SELECT f.store, n.app_user_id
    FROM notifications n
    JOIN platforms f ON f.id = n.platform_id
    WHERE n.receipt_id = ? AND f.app_id = ? AND n.outcome IS NULL AND n.waiting_topic_id IS NULL
    ORDER BY n.app_user_id IS NULL, n.seq
    LIMIT 1
"};

/// The owner of a receipt, by its purchase or else by an open notification.
fn of_receipt(connection: &mut AnyConnection, app: AppId, receipt: &str) -> Result<Option<StoreUser>, Error> {
    let mut found: Option<StoreUser> = None;
    for owner in [OWNER_BY_PURCHASE, OWNER_BY_NOTIFICATION] {
        let row: Option<StoreUser> = sql(owner).bind(receipt).bind(app).first(connection)?;
        match row {
            Some(row) if row.app_user_id.is_some() => return Ok(Some(row)),
            row => found = found.or(row),
        }
    }
    Ok(found)
}

/// The user of an owner. Creates an anonymous user if there is none.
fn known_or_new(write: &mut Write<'_>, known: &users::StoreUser) -> Result<UserId, Error> {
    match known.find(write.connection)? {
        Some(user) => Ok(user),
        None => known.assign(write, known.anonymous()),
    }
}

pub const OF_USER: Clause = clause! {&purchase::RECHECKS, hot "purchases_user", "
    user_id = ?
"};

/// The user is locked, since it was named in the same transaction.
const SET_DEVICE: Sql = statement!("UPDATE users SET analytics_device_id = ? WHERE id = ?");

row! {
    struct NamesRow {
        external_id: Option<String>,
        analytics_device_id: Option<String>,
    }
}

const NAMES_OF_USER: Sql = statement!("SELECT external_id, analytics_device_id FROM users WHERE id = ?");

fn view(connection: &mut AnyConnection, user: UserId) -> Result<Customer, Error> {
    let NamesRow { external_id, analytics_device_id } = sql(NAMES_OF_USER).bind(user).one(connection, "customer")?;
    let mut app_user_ids = users::app_user_ids(connection, user)?;
    app_user_ids.retain(|name| !name.starts_with(RECEIPT_PREFIX) && !is_tombstone(name));
    Ok(Customer { user_id: user, external_id, analytics_device_id, app_user_ids })
}
