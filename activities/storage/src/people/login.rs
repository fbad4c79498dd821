//! What a login on a device moves, and what a logout leaves.
//!
//! A login makes the device its customer's, and with it the store's customers whose receipts the device has by verified
//! claims: their purchases move to the customer who logged in. A former owner without an external id was an anonymous
//! user, who becomes the customer; from a customer with another one the purchases are transferred, if
//! `reviews::may_move` lets them: the platform's `TransferPolicy` and a person's answer. Both are announced, the former
//! if a state of the anonymous user ever was. A claim that the store has not confirmed moves nothing, so the public key
//! and somebody's receipt are not enough.

use crate::db::config::Installation;
use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::store::Store;
use crate::db::writer::Write;
use crate::devices::secret::{self, SecretHash};
use crate::people::device_moves::{self, Order};
use crate::people::device_users::{self, DeviceUser, PlatformRow};
use crate::people::moves::{self, Cause, Merge, Moved};
use crate::people::names;
use crate::people::reviews;
use crate::purchases::cause::CauseKind;
use crate::purchases::users::{self, Raced, StoreCustomer, StoreUser, UserRow};
use crate::settings::app_lock;
use domain::device::Device;
use domain::{AppId, DevicePlace, UserId};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone)]
pub struct Login {
    /// The platform whose publishable key the request has, and the device.
    pub place: DevicePlace,
    /// The device as it describes itself.
    pub device: Device,
    pub secret: SecretHash,
    pub external_id: String,
    /// Whether the customer's own server signed it.
    pub is_signed: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The user of the device from now on.
    pub user_id: UserId,
    /// The device's own user, by its logouts: it says nothing of others.
    pub device_user_id: UserId,
    /// The transfers from other users that were announced.
    pub transfers: Vec<Moved>,
}

impl Store {
    /// Logs a customer in on a device. A repetition changes nothing. A device with another secret, or without one, is
    /// refused with [`Error::Unproved`].
    pub async fn login(&self, login: Login) -> Result<LoggedIn, Error> {
        let installation = self.installation;
        self.write(move |write| log_in(write, installation, &login)).await
    }

    /// Logs out on a device: it gets a new anonymous user, and what it claimed stays with the customer. Returns that
    /// user; a device on which nobody is logged in keeps the one it has.
    pub async fn logout(&self, place: DevicePlace, device: Device, secret: SecretHash) -> Result<UserId, Error> {
        self.write(move |write| {
            // Whoever has the public key can name any device: one that is not known has nobody to log out.
            if !device_users::is_known(write.connection, place)? {
                return Ok(UserId::of_device(place, 0));
            }
            secret::prove(write.connection, place, &secret)?;
            let mut user = device_users::store(write, place, &device, &secret)?;
            if names::external_id(write.connection, user.id(place))?.is_some() {
                user = user.logged_out();
                device_users::set(write, place, &user)?;
            }
            Ok(user.id(place))
        })
        .await
    }
}

/// Everything that a login depends on, as it was read before the locks were taken.
#[derive(PartialEq, Eq)]
struct Situation {
    device: DeviceUser,
    /// Whether that user has an external id, and which.
    name: Option<String>,
    /// The user with the external id of the login.
    named: Option<UserId>,
    /// The owners of what the device claimed.
    owners: BTreeMap<StoreCustomer, UserId>,
}

fn log_in(write: &mut Write<'_>, installation: Installation, login: &Login) -> Result<LoggedIn, Error> {
    let place = login.place;
    let PlatformRow { app_id: app, store } = device_users::platform(write.connection, place)?;
    // Before the locks, so that a stranger holds nobody up.
    secret::prove(write.connection, place, &login.secret)?;
    let seen = Situation::read(write.connection, app, &store, login)?;
    let user = seen.target(login);
    app_lock::share(write, app)?;
    users::create(write, app, user.id(place))?;
    let mut involved: BTreeSet<UserId> = seen.owners.values().copied().collect();
    involved.extend([seen.device.id(place), user.id(place)]);
    let rows = moves::lock_users(write, &involved)?;
    device_users::store(write, place, &login.device, &login.secret)?;
    if Situation::read(write.connection, app, &store, login)? != seen {
        return Err(Error::unavailable(Raced));
    }
    let rows: BTreeMap<UserId, UserRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let target = user.id(place);
    let device_user_id = UserId::of_device(place, user.logouts);
    if seen.named.is_none() {
        names::set(write, target, &login.external_id, CauseKind::Login)?;
    }
    let mut to = rows.get(&target).cloned().ok_or(Error::Missing { what: "user" })?;
    to.external_id = Some(login.external_id.clone());
    // The events of a transfer show the device as its customer's.
    device_users::set(write, place, &user)?;
    let mut transfers = Vec::new();
    // Apps log in at each start. What a person took back, or another device's login moved since, stays where it is.
    if seen.is_repeated() {
        // A review for which there was no room, or no policy, is stored now.
        for owner in rows.values().filter(|row| row.id != target && row.external_id.is_some()) {
            reviews::may_move(write, app, place.platform, owner.id, target)?;
        }
        return Ok(LoggedIn { user_id: target, device_user_id, transfers });
    }
    for from in involved.iter().filter(|id| **id != target).filter_map(|id| rows.get(id)) {
        let customers = seen.owned_by(from.id);
        let moved = if from.external_id.is_none() {
            moves::merge(write, installation, Merge { app, cause: Cause::Login, author: None, from, to: &to })?
        } else if customers.is_empty() {
            continue;
        } else {
            match device_moves::move_customers(write, installation, place, Order { app, from, to: &to, customers })? {
                Some(moved) => moved,
                None => continue,
            }
        };
        if !moved.announced_keys.is_empty() {
            to.revision = to.revision.saturating_add(1);
            transfers.push(moved);
        }
    }
    Ok(LoggedIn { user_id: target, device_user_id, transfers })
}

impl Situation {
    fn read(connection: &mut AnyConnection, app: AppId, store: &str, login: &Login) -> Result<Self, Error> {
        let device = device_users::find(connection, login.place)?;
        let name = names::external_id(connection, device.id(login.place))?;
        let mut owners = BTreeMap::new();
        for customer in device_users::claimed(connection, login.place, store)? {
            let known = StoreUser { app_id: app, store: store.to_owned(), app_user_id: customer.app_user_id.clone() };
            if let Some(owner) = known.find(connection)? {
                owners.insert(customer, owner);
            }
        }
        Ok(Self { device, name, named: names::named(connection, app, &login.external_id)?, owners })
    }

    /// Whose the device is after the login. The first one by this external id gives it to the device's anonymous user;
    /// on a device of another customer, to the anonymous user after a logout.
    fn target(&self, login: &Login) -> DeviceUser {
        let is_other = self.name.as_ref().is_some_and(|name| *name != login.external_id);
        let device = if is_other { self.device.logged_out() } else { self.device.clone() };
        let user = self.named.unwrap_or_else(|| device.id(login.place));
        DeviceUser { user_id: Some(user), is_signed: login.is_signed, ..device }
    }

    /// Whether this customer is logged in on the device already.
    fn is_repeated(&self) -> bool {
        self.named.is_some() && self.device.user_id == self.named
    }

    fn owned_by(&self, user: UserId) -> BTreeSet<StoreCustomer> {
        self.owners.iter().filter(|(_, owner)| **owner == user).map(|(customer, _)| customer.clone()).collect()
    }
}

impl DeviceUser {
    fn logged_out(&self) -> Self {
        Self { user_id: None, logouts: self.logouts.saturating_add(1), is_signed: false }
    }
}
