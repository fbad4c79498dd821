//! Joins devices with store customers: a verified claim shows that both are one person.

use crate::devices::claims::present;
use crate::devices::secret;
use crate::people::device_moves::{self, Order};
use crate::people::device_users::{self, DeviceUser};
use crate::people::movement::Cause;
use crate::people::moves::{self, Merge};
use crate::purchases::users::{Raced, StoreCustomer, StoreUser, UserRow};
use crate::settings::app_lock;
use crate::settings::tombstones::is_tombstone;
use db::config::Installation;
use db::error::Error;
use db::writer::Write;
use domain::{DevicePlace, UserId};
use std::collections::{BTreeMap, BTreeSet};

/// Joins a device with the user of the store customer whose purchase it claimed. The user gets the device's id in
/// analytics, unless the user has one or was announced before. The events of the device and those of the purchases then
/// belong to one person in analytics, even without a login.
///
/// A device without a secret can report but owns nothing: it stays with its own anonymous user, since its reports can
/// be forged. A device is not joined either with a customer who is absent from its newest list.
///
/// Locks the app, the users and the device, so call it before the transaction locks a device or a claim.
pub fn join(
    write: &mut Write<'_>,
    installation: Installation,
    place: DevicePlace,
    customer: &StoreUser,
) -> Result<(), Error> {
    if !secret::is_provable(write.connection, place)?
        || present::is_absent(write.connection, place, &customer.app_user_id)?
    {
        return Ok(());
    }
    unite(write, installation, place, customer)?;
    let owner = customer
        .find(write.connection)?
        .filter(|_| !is_tombstone(&customer.app_user_id));
    let device = device_users::find(write.connection, place)?.user_id;
    owner
        .filter(|owner| device == Some(*owner))
        .map_or(Ok(()), |owner| device_users::represent(write, place, owner))
}

/// Makes the device's user and the owner of the claimed purchase one user, whichever came first:
///
/// * A device without a user is assigned to the owner. Two anonymous users are merged, and the one with the lower id
///   stays; an anonymous user is merged into one with an external id.
/// * If both users have external ids, the owner's purchases move to the customer who logged in on the device, if the
///   policy allows it.
/// * After a logout, the purchases that are still on the device do not assign it to an owner with an external id again.
fn unite(
    write: &mut Write<'_>,
    installation: Installation,
    place: DevicePlace,
    customer: &StoreUser,
) -> Result<(), Error> {
    app_lock::share(write, customer.app_id)?;
    let device = device_users::find(write.connection, place)?;
    let owner = match customer.find(write.connection)? {
        Some(owner) => owner,
        None => customer.assign(write, customer.anonymous())?,
    };
    let rows = moves::lock_users(write, &BTreeSet::from([device.id(place), owner]))?;
    let locked = device_users::lock(write, place)?;
    if locked != device || customer.find(write.connection)? != Some(owner) {
        return Err(Error::unavailable(Raced));
    }
    let rows: BTreeMap<UserId, UserRow> = rows.into_iter().map(|row| (row.id, row)).collect();
    let Some(owner) = rows.get(&owner) else {
        return Err(Error::Missing { what: "user" });
    };
    if device.id(place) == owner.id {
        return Ok(());
    }
    let Some(user) = rows
        .get(&device.id(place))
        .filter(|_| device.user_id.is_some())
    else {
        return adopt(write, place, &device, owner);
    };
    let app = customer.app_id;
    let (from, to) = match (&user.external_id, &owner.external_id) {
        (Some(_), Some(_)) => {
            let customers = BTreeSet::from([StoreCustomer::from(customer)]);
            let order = Order {
                app,
                from: owner,
                to: user,
                customers,
                announced_before: 0,
            };
            return device_moves::move_customers(write, installation, place, order).map(drop);
        }
        (None, Some(_)) if device.logouts > 0 => return Ok(()),
        (Some(_), None) => (owner, user),
        (None, Some(_)) => (user, owner),
        (None, None) if user.id < owner.id => (owner, user),
        (None, None) => (user, owner),
    };
    let merge = Merge {
        app,
        cause: Cause::Login,
        author: None,
        from,
        to,
        announced_before: 0,
    };
    moves::merge(write, installation, merge).map(drop)
}

/// Assigns a device without a user to the owner of the claimed purchase.
fn adopt(
    write: &mut Write<'_>,
    place: DevicePlace,
    device: &DeviceUser,
    owner: &UserRow,
) -> Result<(), Error> {
    if owner.external_id.is_some() && device.logouts > 0 {
        return Ok(());
    }
    device_users::set(
        write,
        place,
        &DeviceUser {
            user_id: Some(owner.id),
            ..device.clone()
        },
    )
}
