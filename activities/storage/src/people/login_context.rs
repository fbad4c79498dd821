//! The data that a login depends on, read before and after its locks are taken.

use crate::devices::secret::{self, SecretHash};
use crate::people::device_users::{self, DeviceUser};
use crate::people::names;
use crate::purchases::users::StoreCustomer;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Single, row, sql};
use domain::device::Device;
use domain::{AppId, DevicePlace, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// A request to log a customer in on a device.
#[derive(Debug, Clone)]
pub struct Login {
    /// The platform whose publishable key the request has, and the device.
    pub place: DevicePlace,
    /// The device as it describes itself.
    pub device: Device,
    pub secret: SecretHash,
    pub external_id: String,
    /// Whether the customer's own server signed the login.
    pub is_signed: bool,
}

/// Everything that the result of a login depends on.
#[derive(PartialEq, Eq)]
pub struct LoginContext {
    pub device: DeviceUser,
    /// The external id of the device's user, if there is one.
    name: Option<String>,
    /// The user with the external id of the login.
    pub named: Option<UserId>,
    /// The owners of the store customers whose purchases the device claimed.
    pub owners: BTreeMap<StoreCustomer, UserId>,
}

/// The context of a login, and what else is stored of the device.
pub struct Found {
    pub app: AppId,
    pub context: LoginContext,
    /// The device's last description of itself; `None` for an unknown device.
    described: Option<String>,
}

row! {
    struct DeviceRow {
        user_id: Option<UserId>,
        logouts: i64,
        is_signed: bool,
        secret_hash: Option<String>,
        device: String,
        external_id: Option<String>,
    }
}

row! {
    struct OwnerRow {
        store: String,
        app_user_id: String,
        user_id: UserId,
    }
}

/// The app of a platform that is not deleted.
pub const APP: Sql =
    statement!("SELECT app_id AS value FROM platforms WHERE id = ? AND deleted_at IS NULL");

/// For a device without a user, binds the id of its anonymous user, which is computed from the number of its logouts.
const DEVICE: Sql = statement! {"
    SELECT d.user_id, d.logouts, d.is_signed, d.secret_hash, d.device, u.external_id
    FROM devices d
    LEFT JOIN users u ON u.id = COALESCE(d.user_id, ?)
    WHERE d.platform_id = ? AND d.id = ?
"};

const NAMED: Sql = statement! {"
    SELECT u.id AS value
    FROM platforms f
    JOIN users u ON u.app_id = f.app_id AND u.external_id = ?
    WHERE f.id = ?
"};

/// Selects the owners of the store customers in the device's verified claims, except customers who are absent from its
/// newest list.
const OWNERS: Sql = statement! {"
    SELECT DISTINCT s.store, s.app_user_id, s.user_id
    FROM claims c
    JOIN platforms f ON f.id = c.platform_id
    JOIN store_users s ON s.app_id = f.app_id AND s.store = f.store AND s.app_user_id = c.app_user_id
    WHERE c.platform_id = ? AND c.device_id = ? AND c.status = 'verified' AND c.absent_since IS NULL
"};

/// The statements that read a login context, whose results are fetched later.
pub struct LoginContextAhead {
    /// The number of logouts that the device is expected to have.
    logouts: i64,
    app: Ahead<'static, Single<AppId>>,
    device: Ahead<'static, DeviceRow>,
    named: Ahead<'static, Single<UserId>>,
    owners: Ahead<'static, OwnerRow>,
}

impl LoginContextAhead {
    /// Begins to read in a transaction; the statements are sent with the next one whose result is needed.
    pub fn begin(
        connection: &mut AnyConnection,
        login: &Login,
        logouts: i64,
    ) -> Result<Self, Error> {
        let place = login.place;
        let anonymous = UserId::of_device(place, logouts);
        Ok(Self {
            logouts,
            app: sql(APP).bind(place.platform).value_ahead(connection)?,
            device: sql(DEVICE)
                .bind((anonymous, place.platform, place.device))
                .ahead(connection)?,
            named: sql(NAMED)
                .bind(login.external_id.clone())
                .bind(place.platform)
                .value_ahead(connection)?,
            owners: sql(OWNERS)
                .bind(place.platform)
                .bind(place.device)
                .ahead(connection)?,
        })
    }

    /// # Errors
    /// [`Error::Missing`] when the platform is unknown; [`Error::Unproved`] when the device has another secret.
    pub fn fetch(self, connection: &mut AnyConnection, login: &Login) -> Result<Found, Error> {
        let app = self
            .app
            .value(connection)?
            .ok_or(Error::Missing { what: "platform" })?;
        let row = self.device.first(connection)?;
        let named = self.named.value(connection)?;
        let owners = self.owners.all(connection)?.into_iter();
        let owners = owners.map(|row| {
            (
                StoreCustomer {
                    store: row.store,
                    app_user_id: row.app_user_id,
                },
                row.user_id,
            )
        });
        let (device, described, name) = match row {
            Some(DeviceRow {
                user_id,
                logouts,
                is_signed,
                secret_hash,
                device,
                external_id,
            }) => {
                secret::prove_created(secret_hash, &login.secret)?;
                let is_expected = user_id.is_some() || logouts == self.logouts;
                (
                    DeviceUser {
                        user_id,
                        logouts,
                        is_signed,
                    },
                    Some(device),
                    is_expected.then_some(external_id),
                )
            }
            None => (
                DeviceUser {
                    user_id: None,
                    logouts: 0,
                    is_signed: false,
                },
                None,
                None,
            ),
        };
        let name = match name {
            Some(name) => name,
            None => names::external_id(connection, device.id(login.place))?,
        };
        Ok(Found {
            app,
            context: LoginContext {
                device,
                name,
                named,
                owners: owners.collect(),
            },
            described,
        })
    }
}

impl Found {
    /// Returns whether a login is stored already, so that it changes only the time: this customer is logged in on the
    /// device, whose description is the same as before, and owns all purchases that the device claimed.
    pub fn is_stored(&self, login: &Login) -> Result<bool, Error> {
        let LoginContext {
            device,
            named,
            owners,
            ..
        } = &self.context;
        let is_owner = owners.values().all(|owner| Some(*owner) == *named);
        let is_same = self.context.is_repeated() && device.is_signed == login.is_signed && is_owner;
        Ok(is_same && self.described.as_ref() == Some(&device_users::description(&login.device)?))
    }
}

impl LoginContext {
    /// Returns the user of the device after the login. The first login with an external id assigns that id to the
    /// device's anonymous user; on another customer's device, to the anonymous user after a logout.
    pub fn target(&self, login: &Login) -> DeviceUser {
        let is_other = self
            .name
            .as_ref()
            .is_some_and(|name| *name != login.external_id);
        let device = if is_other {
            self.device.logged_out()
        } else {
            self.device.clone()
        };
        let user = self.named.unwrap_or_else(|| device.id(login.place));
        DeviceUser {
            user_id: Some(user),
            is_signed: login.is_signed,
            ..device
        }
    }

    /// Returns the users that the login concerns, in the order in which it locks them.
    pub fn involved(&self, login: &Login) -> BTreeSet<UserId> {
        let users = [
            self.device.id(login.place),
            self.target(login).id(login.place),
        ];
        self.owners.values().copied().chain(users).collect()
    }

    /// Returns whether this customer is logged in on the device already.
    pub fn is_repeated(&self) -> bool {
        self.named.is_some() && self.device.user_id == self.named
    }

    pub fn owned_by(&self, user: UserId) -> BTreeSet<StoreCustomer> {
        self.owners
            .iter()
            .filter(|(_, owner)| **owner == user)
            .map(|(customer, _)| customer.clone())
            .collect()
    }
}
