//! What a customer may access: now, according to the purchases, and at an earlier time, according to the events
//! announced until then. Also what a device may access.

mod device;
mod past;

pub use device::DeviceAccess;
pub use past::{Announcement, AnnouncementStatus, MoveSince};

use crate::purchases::owned;
use crate::purchases::user_devices;
use crate::purchases::users::{self, StoreUser};
use crate::settings::tombstones::{self, ConcealedName, is_tombstone};
use crate::settings::unnamed::PURCHASE_PREFIX;
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::page::{Page, Paged};
use db::secrets::Secrets;
use db::sql::{Sql, statement};
use db::statement::{clean, sql};
use domain::user::{CustomerDevice, CustomerPurchase, CustomerState, OwnedPurchase};
use domain::{AppId, Environment, Timestamp, UserId};
use std::collections::BTreeSet;

/// Maximum number of purchases that are returned with a state.
const MAX_SHOWN: i64 = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerName {
    /// The app's own id for the customer.
    ExternalId(String),
    /// The store's id for the customer, if customers of one store alone have it.
    AppUser(String),
    /// The store's id for the customer, and the store.
    StoreUser { store: String, app_user_id: String },
    /// settle's id for the user.
    User(UserId),
}

impl CustomerName {
    /// The store's id for the customer, of this store; without one, of the only store that knows it.
    pub fn of_store(store: Option<String>, app_user_id: String) -> Self {
        match store {
            Some(store) => Self::StoreUser { store, app_user_id },
            None => Self::AppUser(app_user_id),
        }
    }
}

/// A customer with the state over their purchases in one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomerStatus {
    pub user_id: UserId,
    /// How many times the user's state was announced.
    pub user_revision: i64,
    /// The app's own id of the customer, as currently known.
    pub external_id: Option<String>,
    /// The stores' ids of the customer, as currently known.
    pub app_user_ids: Vec<String>,
    /// The state; `None` if nothing is known about that time.
    pub state: Option<CustomerState>,
    /// Purchases, in order of their keys; at most a thousand.
    pub purchases: Vec<CustomerPurchase>,
    /// The cursor of the next page of purchases; `None` on the last page, and if no page was requested.
    pub next_cursor: Option<String>,
    /// The announcement from which the state is taken; `None` for the current state.
    pub announcement: Option<Announcement>,
    /// The moves of purchases from or to the user since that time, oldest first.
    pub moved_since: Vec<MoveSince>,
}

impl Store {
    /// Returns what a customer may access now, according to the purchases in one environment, with the last settled
    /// purchases.
    ///
    /// # Errors
    /// [`Error::Missing`] when the app has no such customer, [`Error::WrongStore`] when the store of the customer is not
    /// clear.
    pub async fn customer_state(
        &self,
        app: AppId,
        name: CustomerName,
        environment: Environment,
    ) -> Result<CustomerStatus, Error> {
        self.state_now(app, name, environment, None).await
    }

    /// Returns the same as [`Self::customer_state`], with a page of the purchases. A page can have fewer purchases than
    /// its limit even if another page follows, because it is read over both environments.
    ///
    /// # Errors
    /// [`Error::Cursor`] if the cursor names no purchase.
    pub async fn customer_state_page(
        &self,
        app: AppId,
        name: CustomerName,
        environment: Environment,
        page: Page,
    ) -> Result<CustomerStatus, Error> {
        self.state_now(app, name, environment, Some(page)).await
    }

    async fn state_now(
        &self,
        app: AppId,
        name: CustomerName,
        environment: Environment,
        page: Option<Page>,
    ) -> Result<CustomerStatus, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let user = find(connection, &secrets, app, &name)?
                .ok_or(Error::Missing { what: "customer" })?;
            let mut status = status(connection, app, user)?;
            let shown = match &page {
                Some(page) => owned::page(connection, app, user, page)?,
                None => Paged {
                    items: owned::newest(connection, app, user, MAX_SHOWN)?,
                    next_cursor: None,
                },
            };
            let is_in = |one: &&OwnedPurchase| one.environment == environment;
            status.purchases = shown
                .items
                .iter()
                .filter(is_in)
                .map(CustomerPurchase::of)
                .collect();
            status.next_cursor = shown.next_cursor;
            let counted = owned::counted(connection, app, user)?;
            let counted: Vec<OwnedPurchase> = counted.iter().filter(is_in).cloned().collect();
            status.state = Some(state(connection, user, &counted)?);
            Ok(status)
        })
        .await
    }

    /// Returns what was known and announced about a customer at a time, according to the events recorded until then.
    /// The user is the one that the customer was at that time: a store's customer may have become another user since.
    ///
    /// # Errors
    /// [`Error::Missing`] if the app has no such customer.
    pub async fn customer_state_at(
        &self,
        app: AppId,
        name: CustomerName,
        seen: Past,
        page: Page,
    ) -> Result<CustomerStatus, Error> {
        let secrets = self.database.secrets.clone();
        self.read(move |connection| {
            let user = find_at(connection, &secrets, app, &name, Some(seen.at))?
                .ok_or(Error::Missing { what: "customer" })?;
            let now = status(connection, app, user)?;
            past::status(connection, now, seen, &page)
        })
        .await
    }
}

/// A time in the past, and the environment whose purchases are requested.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    pub at: Timestamp,
    pub environment: Environment,
}

/// The user of a name, as it is now. A customer who was erased is found by the store's id, and is anonymous.
///
/// # Errors
/// [`Error::WrongStore`] when the name has a store that the app does not have, or has none while the store's id is that
/// of several users in the app's stores.
pub fn find(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    app: AppId,
    name: &CustomerName,
) -> Result<Option<UserId>, Error> {
    find_at(connection, secrets, app, name, None)
}

/// The user of a name; of a store's id the one who the customer was at that time, if an event of then says so.
fn find_at(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    app: AppId,
    name: &CustomerName,
    at: Option<Timestamp>,
) -> Result<Option<UserId>, Error> {
    let (store, app_user_id) = match name {
        CustomerName::ExternalId(name) => return users::named(connection, app, &clean(name)),
        CustomerName::User(user) => return Ok(Some(*user)),
        CustomerName::AppUser(app_user_id) => (None, app_user_id),
        CustomerName::StoreUser { store, app_user_id } => (Some(store), app_user_id),
    };
    let stores: Vec<String> = sql(STORES).bind(app).values(connection)?;
    if !stores.is_empty() && store.is_some_and(|store| !stores.contains(store)) {
        return Err(Error::WrongStore(stores));
    }
    let chosen = stores
        .iter()
        .filter(|one| store.is_none_or(|store| store == *one));
    let mut users: BTreeSet<UserId> = BTreeSet::new();
    for customer in store_users(connection, secrets, app, chosen, app_user_id)? {
        let then = match at {
            Some(at) => past::user_of_customer(connection, &customer, at)?,
            None => None,
        };
        users.extend(match then {
            Some(user) => Some(user),
            None => customer.find(connection)?,
        });
    }
    if users.len() > 1 {
        return Err(Error::WrongStore(stores));
    }
    Ok(users.pop_first())
}

const STORES: Sql =
    statement!("SELECT DISTINCT store AS value FROM platforms WHERE app_id = ? ORDER BY store");

/// The customers with this id in these stores, each by the tombstone if the customer was erased.
fn store_users<'s>(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    app: AppId,
    stores: impl Iterator<Item = &'s String>,
    app_user_id: &str,
) -> Result<Vec<StoreUser>, Error> {
    let conceal = |store: &'s String| {
        let name = ConcealedName {
            app,
            store,
            app_user_id,
        };
        (store, name.tombstone(secrets))
    };
    let concealed: Vec<(&String, String)> = stores.map(conceal).collect();
    let erased = tombstones::known(connection, concealed.iter().map(|(_, one)| one.clone()))?;
    let customers = concealed.into_iter().map(|(store, tombstone)| StoreUser {
        app_id: app,
        store: store.clone(),
        app_user_id: if erased.contains(&tombstone) {
            tombstone
        } else {
            clean(app_user_id).into_owned()
        },
    });
    Ok(customers.collect())
}

fn status(
    connection: &mut AnyConnection,
    app: AppId,
    user: UserId,
) -> Result<CustomerStatus, Error> {
    let row =
        users::find_in_app(connection, app, user)?.ok_or(Error::Missing { what: "customer" })?;
    let mut app_user_ids = users::app_user_ids(connection, user)?;
    app_user_ids.retain(|name| !name.starts_with(PURCHASE_PREFIX) && !is_tombstone(name));
    Ok(CustomerStatus {
        user_id: user,
        user_revision: row.revision,
        external_id: row.external_id,
        app_user_ids,
        state: None,
        purchases: Vec::new(),
        next_cursor: None,
        announcement: None,
        moved_since: Vec::new(),
    })
}

fn state(
    connection: &mut AnyConnection,
    user: UserId,
    owned: &[OwnedPurchase],
) -> Result<CustomerState, Error> {
    let devices = user_devices::of(connection, user)?;
    Ok(CustomerState::of(
        owned,
        devices.into_iter().map(CustomerDevice::from).collect(),
    ))
}
