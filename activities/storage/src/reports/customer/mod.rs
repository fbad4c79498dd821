//! What a customer may access: now, according to the purchases, and at an earlier time, according to the events
//! announced until then. Also what a device may access.

mod device;
mod past;

pub use device::DeviceAccess;
pub use past::{Announcement, AnnouncementStatus, MoveSince};

use crate::purchases::owned;
use crate::purchases::user_devices;
use crate::purchases::users;
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

/// Maximum number of purchases that are returned with a state.
const MAX_SHOWN: i64 = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerName {
    /// The app's own id for the customer.
    ExternalId(String),
    /// The store's id for the customer.
    AppUser(String),
    /// settle's id for the user.
    User(UserId),
}

/// A customer with the state over all purchases in one environment.
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
    /// # Errors [`Error::Missing`] if the app has no such customer.
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
    /// # Errors [`Error::Cursor`] if the cursor names no purchase.
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
        let secrets = self.secrets.clone();
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
    /// # Errors [`Error::Missing`] if the app has no such customer.
    pub async fn customer_state_at(
        &self,
        app: AppId,
        name: CustomerName,
        seen: Past,
        page: Page,
    ) -> Result<CustomerStatus, Error> {
        let secrets = self.secrets.clone();
        self.read(move |connection| {
            let then = match &name {
                CustomerName::AppUser(name) => {
                    let name = app_user(connection, &secrets, app, name)?;
                    past::user_of_app_user(connection, app, &name, seen.at)?
                }
                CustomerName::ExternalId(_) | CustomerName::User(_) => None,
            };
            let user = then.map_or_else(
                || find(connection, &secrets, app, &name),
                |user| Ok(Some(user)),
            )?;
            let user = user.ok_or(Error::Missing { what: "customer" })?;
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

const OF_APP_USER: Sql = statement! {"
    SELECT user_id AS value
    FROM store_users
    WHERE app_id = ? AND store IN (SELECT store FROM platforms WHERE app_id = ?) AND app_user_id = ?
    ORDER BY store
    LIMIT 1
"};

/// Returns the current user of a name. An erased customer is found by the store's id, and is anonymous.
pub fn find(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    app: AppId,
    name: &CustomerName,
) -> Result<Option<UserId>, Error> {
    match name {
        CustomerName::ExternalId(name) => users::named(connection, app, &clean(name)),
        CustomerName::AppUser(name) => {
            let name = app_user(connection, secrets, app, name)?;
            sql(OF_APP_USER).bind((app, app, name)).value(connection)
        }
        CustomerName::User(user) => Ok(Some(*user)),
    }
}

const STORES: Sql =
    statement!("SELECT DISTINCT store AS value FROM platforms WHERE app_id = ? ORDER BY store");

/// Returns a store's id of a customer, or its tombstone if the customer was erased.
fn app_user(
    connection: &mut AnyConnection,
    secrets: &Secrets,
    app: AppId,
    name: &str,
) -> Result<String, Error> {
    let stores: Vec<String> = sql(STORES).bind(app).values(connection)?;
    let tombstone = |store: &String| {
        ConcealedName {
            app,
            store,
            app_user_id: name,
        }
        .tombstone(secrets)
    };
    let known = tombstones::known(connection, stores.iter().map(tombstone))?;
    Ok(known
        .into_iter()
        .next()
        .unwrap_or_else(|| clean(name).into_owned()))
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
