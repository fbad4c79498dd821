//! What a device may access: the purchases of its own verified claims and, if the app's server signed its login, all
//! purchases of its user.

use crate::devices::secret::{self, SecretHash};
use crate::purchases::owned::{OF_DEVICE, SHARED_WITH_DEVICE, owned_by};
use crate::store::Store;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use domain::user::{ActiveEntitlement, CustomerState};
use domain::{AppId, DevicePlace, UserId};
use std::collections::BTreeMap;

/// The active entitlements of the purchases to which a device has access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAccess {
    /// The device's own anonymous user, derived from its logouts; it reveals nothing about other users.
    pub device_user_id: UserId,
    pub entitlements: Vec<ActiveEntitlement>,
}

const LOGOUTS: Sql =
    statement!("SELECT logouts AS value FROM devices WHERE platform_id = ? AND id = ?");

impl Store {
    /// Returns what a device may access. An unknown device may access nothing. A device that was created with another
    /// secret or without one is refused with [`Error::Unproved`].
    pub async fn device_access(
        &self,
        app: AppId,
        place: DevicePlace,
        secret: SecretHash,
    ) -> Result<DeviceAccess, Error> {
        self.read_for_devices(move |connection| {
            secret::prove(connection, place, &secret)?;
            let DevicePlace { platform, device } = place;
            let logouts: Option<i64> =
                sql(LOGOUTS).bind(platform).bind(device).value(connection)?;
            let mut accessible = BTreeMap::new();
            for which in [OF_DEVICE, SHARED_WITH_DEVICE] {
                let found = owned_by(connection, app, sql(which).bind(platform).bind(device))?;
                accessible.extend(found.into_iter().map(|one| (one.collapse_key, one)));
            }
            let accessible: Vec<_> = accessible.into_values().collect();
            Ok(DeviceAccess {
                device_user_id: UserId::of_device(place, logouts.unwrap_or(0)),
                entitlements: CustomerState::of(&accessible, Vec::new()).active_entitlements,
            })
        })
        .await
    }
}
