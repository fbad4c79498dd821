//! The user of a device. Without a login and without a verified claim, a device belongs to an anonymous user of its
//! own, which has no row: the id is computed from the device and the number of its logouts.

use crate::devices::secret::{self, SecretHash};
use crate::store::Store;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, insert, statement};
use db::statement::{Ahead, row, sql};
use db::writer::{JobKind, Write};
use domain::device::Device;
use domain::{AppId, DeviceId, DevicePlace, PlatformId, UserId};
use serde_json::Value as Json;
use std::collections::BTreeSet;

row! {
    /// The stored user of a device.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DeviceUser {
        pub user_id: Option<UserId>,
        pub logouts: i64,
        pub is_signed: bool,
    }
}

const FIND: Sql =
    statement!("SELECT user_id, logouts, is_signed FROM devices WHERE platform_id = ? AND id = ?");

/// Loads the user of a device; `user_id` is `None` if the device is unknown.
pub fn find(connection: &mut AnyConnection, place: DevicePlace) -> Result<DeviceUser, Error> {
    let row: Option<DeviceUser> = sql(FIND)
        .bind(place.platform)
        .bind(place.device)
        .first(connection)?;
    Ok(row.unwrap_or(DeviceUser {
        user_id: None,
        logouts: 0,
        is_signed: false,
    }))
}

const IS_KNOWN: Sql =
    statement!("SELECT COUNT(*) AS value FROM devices WHERE platform_id = ? AND id = ?");

/// Returns whether a device has reported or logged in.
pub fn is_known(connection: &mut AnyConnection, place: DevicePlace) -> Result<bool, Error> {
    let found: Option<i64> = sql(IS_KNOWN)
        .bind(place.platform)
        .bind(place.device)
        .value(connection)?;
    Ok(found.is_some_and(|found| found > 0))
}

const HAS_CUSTOMER: Sql = statement! {"
    SELECT COUNT(*) AS value
    FROM devices d
    WHERE d.platform_id = ? AND d.id = ? AND ((d.user_id IS NOT NULL AND d.is_signed) OR EXISTS (
        SELECT 1 FROM claims c
        WHERE c.platform_id = d.platform_id AND c.device_id = d.id AND c.verified_at IS NOT NULL
    ))
"};

/// Returns whether a device has a signed login or a verified claim. An unsigned login proves nothing.
pub fn has_customer(connection: &mut AnyConnection, place: DevicePlace) -> Result<bool, Error> {
    let found: Option<i64> = sql(HAS_CUSTOMER)
        .bind(place.platform)
        .bind(place.device)
        .value(connection)?;
    Ok(found.is_some_and(|found| found > 0))
}

const APP: Sql = statement! {"
    SELECT f.app_id AS value
    FROM devices d
    JOIN platforms f ON f.id = d.platform_id
    WHERE d.platform_id = ? AND d.id = ?
"};

/// Returns the app of a device; `None` for an unknown device.
pub fn app(connection: &mut AnyConnection, place: DevicePlace) -> Result<Option<AppId>, Error> {
    sql(APP)
        .bind(place.platform)
        .bind(place.device)
        .value(connection)
}

impl Store {
    /// Runs `work` in the next transaction for the people of a device's app (`JobKind::People`). `work` may run more
    /// than once before the commit.
    pub(crate) async fn write_of_device<T, F>(
        &self,
        place: DevicePlace,
        work: F,
    ) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnMut(&mut Write<'_>) -> Result<T, Error> + Send + 'static,
    {
        let app = self.read(move |connection| app(connection, place)).await?;
        self.database
            .writer
            .write(
                app.map_or(JobKind::Other, |app| JobKind::People(app, None)),
                work,
            )
            .await
    }
}

row! {
    /// A locked device, with the hash of the secret that it was created with, if any.
    pub struct LockedDevice {
        user_id: Option<UserId>,
        logouts: i64,
        is_signed: bool,
        secret_hash: Option<String>,
    }
}

impl LockedDevice {
    /// Returns the user of the device, if it has this secret: another process may have created the device meanwhile,
    /// with another secret.
    pub fn proved(self, secret: &SecretHash) -> Result<DeviceUser, Error> {
        let Self {
            user_id,
            logouts,
            is_signed,
            secret_hash,
        } = self;
        secret::prove_created(secret_hash, secret)?;
        Ok(DeviceUser {
            user_id,
            logouts,
            is_signed,
        })
    }
}

const LOCK: Sql = statement! {"
    SELECT user_id, logouts, is_signed, secret_hash
    FROM devices
    WHERE platform_id = ? AND id = ?
    FOR UPDATE
"};

/// Locks a device until the end of the transaction. Users must be locked before.
pub fn lock(write: &mut Write<'_>, place: DevicePlace) -> Result<DeviceUser, Error> {
    sql(LOCK)
        .bind(place.platform)
        .bind(place.device)
        .one(write.connection, "device")
}

/// Returns the stored form of a device's description of itself.
pub fn description(device: &Device) -> Result<String, Error> {
    serde_json::to_string(device)
        .map_err(|cause| Error::corrupt_by("a device cannot be written as JSON", cause))
}

/// Stores a device's current description of itself, and locks the device until the end of the transaction. Creates an
/// unknown device with this secret; fails if a known one has another secret. Users must be locked before.
pub fn store(
    write: &mut Write<'_>,
    place: DevicePlace,
    device: &Device,
    secret: &SecretHash,
) -> Result<DeviceUser, Error> {
    store_ahead(write, place, device, secret)?
        .first(write.connection)?
        .ok_or(Error::Missing { what: "device" })?
        .proved(secret)
}

/// Like [`store`], but the device is fetched later and its secret is compared then.
pub fn store_ahead(
    write: &mut Write<'_>,
    place: DevicePlace,
    device: &Device,
    secret: &SecretHash,
) -> Result<Ahead<'static, LockedDevice>, Error> {
    insert!(
        devices {
            platform_id: place.platform,
            id: place.device,
            device: description(device)?,
            secret_hash: secret.hex(),
            created_at: write.now()?,
            seen_at: write.now()?,
        },
        "ON CONFLICT (platform_id, id) DO UPDATE SET device = excluded.device, seen_at = excluded.seen_at"
    )
    .later(write.connection)?;
    sql(LOCK)
        .bind(place.platform)
        .bind(place.device)
        .ahead(write.connection)
}

const SEEN: Sql = statement!("UPDATE devices SET seen_at = ? WHERE platform_id = ? AND id = ?");

/// Stores, at the end of the transaction, that a device was seen whose secret was proved.
pub fn note_seen(write: &mut Write<'_>, place: DevicePlace) {
    let seen = sql(SEEN).bind((write.now_value(), place.platform, place.device));
    write.run_last(format!("devices {} {}", place.platform, place.device), seen);
}

const SET: Sql = statement! {"
    UPDATE devices
    SET user_id = ?, logouts = ?, is_signed = ?
    WHERE platform_id = ? AND id = ?
"};

/// Sets the user of a locked device.
pub fn set(write: &mut Write<'_>, place: DevicePlace, user: &DeviceUser) -> Result<(), Error> {
    sql(SET)
        .bind((
            user.user_id,
            user.logouts,
            user.is_signed,
            place.platform,
            place.device,
        ))
        .later(write.connection)
}

row! {
    struct Described {
        device: Json,
    }
}

const DESCRIBED: Sql = statement!("SELECT device FROM devices WHERE platform_id = ? AND id = ?");

const REPRESENT: Sql = statement! {"
    UPDATE users
    SET analytics_device_id = ?
    WHERE id = ? AND analytics_device_id IS NULL AND revision = 0
"};

/// Sets a user's device id for analytics: the app's own id of the device, or else the device's id. A user keeps an id
/// that is set, and gets none after being announced: otherwise the events that analytics counted under another id,
/// without a name, would belong to another person. The user must be locked.
pub fn represent(write: &mut Write<'_>, place: DevicePlace, user: UserId) -> Result<(), Error> {
    let find = sql(DESCRIBED).bind(place.platform).bind(place.device);
    let Described { device } = find.one(write.connection, "device")?;
    let own = device
        .get("analytics_device_id")
        .and_then(Json::as_str)
        .map(str::to_owned);
    sql(REPRESENT)
        .bind(own.unwrap_or_else(|| place.device.to_string()))
        .bind(user)
        .later(write.connection)
}

row! {
    struct Moved {
        platform_id: PlatformId,
        id: DeviceId,
    }
}

const MOVE: Sql = statement! {hot "devices_user", "
    UPDATE devices
    SET user_id = ?, is_signed = FALSE
    WHERE user_id = ?
    RETURNING platform_id, id
"};

/// Moves the devices of a user who is merged into another one, and returns them.
pub fn move_all(
    write: &mut Write<'_>,
    from: UserId,
    to: UserId,
) -> Result<BTreeSet<DevicePlace>, Error> {
    let moved: Vec<Moved> = sql(MOVE).bind(to).bind(from).all(write.connection)?;
    Ok(moved.into_iter().map(Moved::place).collect())
}

impl Moved {
    const fn place(self) -> DevicePlace {
        DevicePlace {
            platform: self.platform_id,
            device: self.id,
        }
    }
}

const MOVE_BACK: Sql = statement! {"
    UPDATE devices
    SET user_id = ?
    WHERE platform_id = ? AND id = ? AND user_id = ? AND NOT is_signed
    RETURNING platform_id, id
"};

/// Moves back the devices that a merge moved, and returns those that it moved back. A device stays if the customer's
/// own server has signed a login on it since, or if it belongs to another user by now.
pub fn move_back(
    write: &mut Write<'_>,
    devices: &BTreeSet<DevicePlace>,
    from: UserId,
    to: UserId,
) -> Result<BTreeSet<DevicePlace>, Error> {
    let mut moving: Vec<Ahead<'static, Moved>> = Vec::with_capacity(devices.len());
    for place in devices {
        let back = sql(MOVE_BACK).bind((to, place.platform, place.device, from));
        moving.push(back.ahead(write.connection)?);
    }
    let mut moved = BTreeSet::new();
    for one in moving {
        moved.extend(one.first(write.connection)?.map(Moved::place));
    }
    Ok(moved)
}

impl DeviceUser {
    /// Returns the anonymous user of the device after a logout.
    pub fn logged_out(&self) -> Self {
        Self {
            user_id: None,
            logouts: self.logouts.saturating_add(1),
            is_signed: false,
        }
    }

    pub fn id(&self, place: DevicePlace) -> UserId {
        self.user_id
            .unwrap_or_else(|| UserId::of_device(place, self.logouts))
    }
}
