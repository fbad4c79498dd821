//! Logins and logouts on a device, and the purchases that they move.
//!
//! A login assigns the device to the customer who logs in, and with it the store customers in the device's verified
//! claims, unless its newest list leaves them out: their purchases move to the customer. A former owner without an
//! external id is an anonymous user and is merged into the customer. From a former owner with another external id, the
//! purchases are transferred if `reviews::may_move` allows it, by the platform's `TransferPolicy` and a person's
//! answer. A transfer is announced; a merge is announced only if a state of the anonymous user was. A claim that the
//! store has not confirmed moves nothing, so the public key and the id of another customer's purchase are not enough.

use crate::devices::secret::{self, SecretHash};
use crate::people::device_moves::{self, Order};
use crate::people::device_users;
use crate::people::login_context::{Found, Login, LoginContext, LoginContextAhead};
use crate::people::movement::Cause;
use crate::people::moves::{self, Merge, Moved};
use crate::people::names;
use crate::people::reviews;
use crate::purchases::cause::CauseKind;
use crate::purchases::users::{self, Raced, UserRow};
use crate::settings::app_lock;
use crate::store::Store;
use db::config::Installation;
use db::error::Error;
use db::writer::{JobKind, Write};
use domain::device::Device;
use domain::{AppId, DevicePlace, UserId};
use std::collections::BTreeMap;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// The user of the device from now on.
    pub user_id: UserId,
    /// The device's own anonymous user, computed from its logouts. It reveals nothing about other users.
    pub device_user_id: UserId,
    /// The transfers from other users that were announced.
    pub transfers: Vec<Moved>,
}

impl Store {
    /// Logs a customer in on a device. A repeated login stores only that the device was seen. A device with another
    /// secret, or without one, is refused with [`Error::Unproved`].
    pub async fn login(&self, login: Login) -> Result<LoggedIn, Error> {
        let installation = self.database.installation;
        let (found, login) = self
            .read_for_devices(move |connection| {
                let found = connection.at_one_moment(|connection| {
                    LoginContextAhead::begin(connection, &login, 0)?.fetch(connection, &login)
                })?;
                Ok((found, login))
            })
            .await?;
        let Found { app, context, .. } = &found;
        let kind = JobKind::People(*app, context.involved(&login).first().copied());
        if found.is_stored(&login)? {
            let user = context.target(&login);
            let (user_id, device_user_id) = (
                user.id(login.place),
                UserId::of_device(login.place, user.logouts),
            );
            let seen = move |write: &mut Write<'_>| {
                device_users::note_seen(write, login.place);
                Ok(())
            };
            self.database.writer.write(kind, seen).await?;
            return Ok(LoggedIn {
                user_id,
                device_user_id,
                transfers: Vec::new(),
            });
        }
        let (app, logouts) = (*app, context.device.logouts);
        self.database
            .writer
            .write(kind, move |write| {
                log_in(write, installation, app, logouts, &login)
            })
            .await
    }

    /// Logs a customer out on a device: the device gets a new anonymous user, and the purchases that it claimed stay
    /// with the customer. Returns the new user; without a login, the device keeps its current user.
    pub async fn logout(
        &self,
        place: DevicePlace,
        device: Device,
        secret: SecretHash,
    ) -> Result<UserId, Error> {
        // The public key is enough to name any device: an unknown one has no customer to log out.
        let app = self
            .read_for_devices(move |connection| device_users::app(connection, place))
            .await?;
        let Some(app) = app else {
            return Ok(UserId::of_device(place, 0));
        };
        self.database
            .writer
            .write(JobKind::People(app, None), move |write| {
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

/// Logs a customer in, in the writer's transaction. `logouts` is the number of the device's logouts as read before.
fn log_in(
    write: &mut Write<'_>,
    installation: Installation,
    app: AppId,
    logouts: i64,
    login: &Login,
) -> Result<LoggedIn, Error> {
    let place = login.place;
    app_lock::share(write, app)?;
    let seen = LoginContextAhead::begin(write.connection, login, logouts)?
        .fetch(write.connection, login)?
        .context;
    let user = seen.target(login);
    if seen.named.is_none() {
        users::create(write, app, user.id(place))?;
    }
    let involved = seen.involved(login);
    let locked = moves::lock_users_ahead(write, &involved)?;
    let device = device_users::store_ahead(write, place, &login.device, &login.secret)?;
    let present = LoginContextAhead::begin(write.connection, login, seen.device.logouts)?;
    let mut rows: BTreeMap<UserId, UserRow> = BTreeMap::new();
    for row in locked {
        rows.extend(row.first(write.connection)?.map(|row| (row.id, row)));
    }
    let device = device
        .first(write.connection)?
        .ok_or(Error::Missing { what: "device" })?;
    device.proved(&login.secret)?;
    if present.fetch(write.connection, login)?.context != seen {
        return Err(Error::unavailable(Raced));
    }
    let target = user.id(place);
    let device_user_id = UserId::of_device(place, user.logouts);
    if seen.named.is_none() {
        names::set(write, target, &login.external_id, CauseKind::Login)?;
    }
    let mut to = rows
        .get(&target)
        .cloned()
        .ok_or(Error::Missing { what: "user" })?;
    to.external_id = Some(login.external_id.clone());
    // Before the transfers, whose events show the device as the customer's.
    device_users::set(write, place, &user)?;
    // Apps log in at each start. Purchases that a person took back, or that another device's login moved since, stay
    // where they are.
    if seen.is_repeated() {
        // Stores a review now for which there was no room before, or no policy.
        for owner in rows
            .values()
            .filter(|row| row.id != target && row.external_id.is_some())
        {
            reviews::may_move(write, app, place.platform, owner.id, target)?;
        }
        return Ok(LoggedIn {
            user_id: target,
            device_user_id,
            transfers: Vec::new(),
        });
    }
    let from: Vec<&UserRow> = involved
        .iter()
        .filter(|id| **id != target)
        .filter_map(|id| rows.get(id))
        .collect();
    let transfers = take_over(
        write,
        installation,
        Taking {
            app,
            place,
            seen: &seen,
            from: &from,
            to,
        },
    )?;
    Ok(LoggedIn {
        user_id: target,
        device_user_id,
        transfers,
    })
}

/// The parties of the moves by a login. All users are locked, and the device belongs to the customer already.
struct Taking<'a> {
    app: AppId,
    place: DevicePlace,
    seen: &'a LoginContext,
    /// The users whose purchases the device has, and the device's user before the login.
    from: &'a [&'a UserRow],
    /// Row of the customer who logged in.
    to: UserRow,
}

/// Moves the purchases of all former owners; returns the transfers that are announced.
fn take_over(
    write: &mut Write<'_>,
    installation: Installation,
    taking: Taking<'_>,
) -> Result<Vec<Moved>, Error> {
    let Taking {
        app,
        place,
        seen,
        from,
        mut to,
    } = taking;
    let (mut transfers, mut announced_before) = (Vec::new(), 0_usize);
    for from in from.iter().copied() {
        let customers = seen.owned_by(from.id);
        let moved = if from.external_id.is_none() {
            let merge = Merge {
                app,
                cause: Cause::Login,
                author: None,
                from,
                to: &to,
                announced_before,
            };
            moves::merge(write, installation, merge)?
        } else if customers.is_empty() {
            continue;
        } else {
            let order = Order {
                app,
                from,
                to: &to,
                customers,
                announced_before,
            };
            match device_moves::move_customers(write, installation, place, order)? {
                Some(moved) => moved,
                None => continue,
            }
        };
        to.revision = moved.to_revision;
        if !moved.is_deferred {
            announced_before = announced_before.saturating_add(moved.announced_keys.len());
        }
        if !moved.announced_keys.is_empty() {
            transfers.push(moved);
        }
    }
    Ok(transfers)
}
