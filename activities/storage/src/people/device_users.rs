//! Whose a device is. Without a login and without a verified claim it belongs to an anonymous user of its own, who has no
//! row: the id is computed from the device and the number of its logouts.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, insert, statement};
use crate::db::statement::{row, sql};
use crate::db::writer::Write;
use crate::devices::secret::{self, SecretHash};
use crate::purchases::users::StoreCustomer;
use domain::device::Device;
use domain::{AppId, DeviceId, DevicePlace, PlatformId, UserId};
use serde_json::Value as Json;
use std::collections::BTreeSet;

row! {
    /// Whose a device is, as it is stored.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct DeviceUser {
        pub user_id: Option<UserId>,
        pub logouts: i64,
        pub is_signed: bool,
    }
}

row! {
    /// The app and store of a platform.
    pub struct PlatformRow {
        pub app_id: AppId,
        pub store: String,
    }
}

const PLATFORM: Sql = statement!("SELECT app_id, store FROM platforms WHERE id = ? AND deleted_at IS NULL");

/// The app and the store of a device's platform.
pub fn platform(connection: &mut AnyConnection, place: DevicePlace) -> Result<PlatformRow, Error> {
    sql(PLATFORM).bind(place.platform).one(connection, "platform")
}

const FIND: Sql = statement!("SELECT user_id, logouts, is_signed FROM devices WHERE platform_id = ? AND id = ?");

/// Whose a device is; nobody's, while it is unknown.
pub fn find(connection: &mut AnyConnection, place: DevicePlace) -> Result<DeviceUser, Error> {
    let row: Option<DeviceUser> = sql(FIND).bind(place.platform).bind(place.device).first(connection)?;
    Ok(row.unwrap_or(DeviceUser { user_id: None, logouts: 0, is_signed: false }))
}

const IS_KNOWN: Sql = statement!("SELECT COUNT(*) AS value FROM devices WHERE platform_id = ? AND id = ?");

/// Whether a device reported or logged in.
pub fn is_known(connection: &mut AnyConnection, place: DevicePlace) -> Result<bool, Error> {
    let found: Option<i64> = sql(IS_KNOWN).bind(place.platform).bind(place.device).value(connection)?;
    Ok(found.is_some_and(|found| found > 0))
}

const LOCK: Sql = statement! {"
    SELECT user_id, logouts, is_signed
    FROM devices
    WHERE platform_id = ? AND id = ?
    FOR UPDATE
"};

/// Locks a device until the end of the transaction; users are locked before.
pub fn lock(write: &mut Write<'_>, place: DevicePlace) -> Result<DeviceUser, Error> {
    sql(LOCK).bind(place.platform).bind(place.device).one(write.connection, "device")
}

/// Locks a device that proves itself until the end of the transaction, and stores how it describes itself now; users are
/// locked before. Creates it with this secret if it is unknown.
pub fn store(
    write: &mut Write<'_>,
    place: DevicePlace,
    device: &Device,
    secret: &SecretHash,
) -> Result<DeviceUser, Error> {
    let device = serde_json::to_string(device)
        .map_err(|cause| Error::corrupt_by("a device cannot be written as JSON", cause))?;
    insert!(
        devices {
            platform_id: place.platform,
            id: place.device,
            device,
            secret_hash: secret.hex(),
            created_at: write.now()?,
            seen_at: write.now()?,
        },
        "ON CONFLICT (platform_id, id) DO UPDATE SET device = excluded.device, seen_at = excluded.seen_at"
    )
    .later(write.connection)?;
    let user = lock(write, place)?;
    // Another process may have created it meanwhile.
    secret::prove(write.connection, place, secret)?;
    Ok(user)
}

const SET: Sql = statement! {"
    UPDATE devices
    SET user_id = ?, logouts = ?, is_signed = ?
    WHERE platform_id = ? AND id = ?
"};

/// Sets whose a device is. The device is locked.
pub fn set(write: &mut Write<'_>, place: DevicePlace, user: &DeviceUser) -> Result<(), Error> {
    sql(SET)
        .bind(user.user_id)
        .bind(user.logouts)
        .bind(user.is_signed)
        .bind(place.platform)
        .bind(place.device)
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

/// Gives a user the id that a device has in analytics: the app's own one, else that of the device. A user who has one keeps
/// it, and so does one who was announced: what the analytics counted under another id, without a name, would stay somebody
/// else's. The user is locked.
pub fn represent(write: &mut Write<'_>, place: DevicePlace, user: UserId) -> Result<(), Error> {
    let find = sql(DESCRIBED).bind(place.platform).bind(place.device);
    let Described { device } = find.one(write.connection, "device")?;
    let own = device.get("analytics_device_id").and_then(Json::as_str).map(str::to_owned);
    sql(REPRESENT).bind(own.unwrap_or_else(|| place.device.to_string())).bind(user).later(write.connection)
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

/// Moves the devices of a user who becomes another one, and returns them.
pub fn move_all(write: &mut Write<'_>, from: UserId, to: UserId) -> Result<BTreeSet<DevicePlace>, Error> {
    let moved: Vec<Moved> = sql(MOVE).bind(to).bind(from).all(write.connection)?;
    Ok(moved.into_iter().map(|one| DevicePlace { platform: one.platform_id, device: one.id }).collect())
}

const MOVE_BACK: Sql = statement! {"
    UPDATE devices
    SET user_id = ?
    WHERE platform_id = ? AND id = ? AND user_id = ? AND NOT is_signed
"};

/// Moves devices back that a merge moved, and returns those that it did. One on which the customer's own server signed a
/// login since stays, and so does one that is another user's by now.
pub fn move_back(
    write: &mut Write<'_>,
    devices: &BTreeSet<DevicePlace>,
    from: UserId,
    to: UserId,
) -> Result<BTreeSet<DevicePlace>, Error> {
    let mut moved = BTreeSet::new();
    for place in devices {
        let back = sql(MOVE_BACK).bind(to).bind(place.platform).bind(place.device).bind(from);
        if back.run(write.connection)? > 0 {
            moved.insert(*place);
        }
    }
    Ok(moved)
}

const CLAIMED: Sql = statement! {"
    SELECT DISTINCT app_user_id AS value
    FROM claims
    WHERE platform_id = ? AND device_id = ? AND status = 'verified'
    ORDER BY app_user_id
"};

/// The customers of the store whose receipts the device has: those of its verified claims.
pub fn claimed(
    connection: &mut AnyConnection,
    place: DevicePlace,
    store: &str,
) -> Result<BTreeSet<StoreCustomer>, Error> {
    let names: Vec<String> = sql(CLAIMED).bind(place.platform).bind(place.device).values(connection)?;
    let customer = |app_user_id| StoreCustomer { store: store.to_owned(), app_user_id };
    Ok(names.into_iter().map(customer).collect())
}

impl DeviceUser {
    pub fn id(&self, place: DevicePlace) -> UserId {
        self.user_id.unwrap_or_else(|| UserId::of_device(place, self.logouts))
    }
}
