//! The devices of a user, as events list them.

use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, row, sql};
use domain::user::UserDevice;
use domain::{DeviceId, PlatformId, UserId};

/// Maximum number of devices in an event.
const MAX_LISTED: i64 = 100;

row! {
    struct DeviceRow {
        id: DeviceId,
        platform_id: PlatformId,
        platform_name: String,
        platform_type: String,
        marketplace_app_id: String,
    }
}

const OF_USER: Sql = statement! {hot "devices_user", "
    SELECT d.id, d.platform_id, f.name AS platform_name, f.store AS platform_type,
        f.package_name AS marketplace_app_id
    FROM devices d
    JOIN platforms f ON f.id = d.platform_id
    WHERE d.user_id = ?
    ORDER BY d.seen_at DESC, d.platform_id, d.id
    LIMIT {MAX_LISTED}
"};

/// Returns the devices of a user, most recently seen first.
pub fn of(connection: &mut AnyConnection, user: UserId) -> Result<Vec<UserDevice>, Error> {
    of_ahead(connection, user)?.fetch(connection)
}

/// Like [`of`], but the devices are fetched later.
pub fn of_ahead(connection: &mut AnyConnection, user: UserId) -> Result<DevicesAhead, Error> {
    sql(OF_USER).bind(user).ahead(connection).map(DevicesAhead)
}

/// The devices of a user, which are fetched later.
pub struct DevicesAhead(Ahead<'static, DeviceRow>);

impl DevicesAhead {
    /// Returns the devices, most recently seen first.
    pub fn fetch(self, connection: &mut AnyConnection) -> Result<Vec<UserDevice>, Error> {
        Ok(self
            .0
            .all(connection)?
            .into_iter()
            .map(DeviceRow::device)
            .collect())
    }
}

impl DeviceRow {
    fn device(self) -> UserDevice {
        let Self {
            id,
            platform_id,
            platform_name,
            platform_type,
            marketplace_app_id,
        } = self;
        UserDevice {
            id,
            platform_id,
            platform_name,
            platform_type,
            marketplace_app_id,
        }
    }
}
