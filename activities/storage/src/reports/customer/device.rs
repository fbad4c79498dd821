//! What a device may use: the purchases of its own verified claims, and, if the customer's server signed its login, all
//! purchases of its user.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{row, sql};
use crate::db::store::Store;
use crate::devices::secret::{self, SecretHash};
use crate::purchases::owned::{OF_DEVICE, SHARED_WITH_DEVICE, owned_by};
use domain::user::{ActiveEntitlement, CustomerState};
use domain::{AppId, DevicePlace, UserId};
use std::collections::BTreeMap;

/// The active entitlements of the purchases to which a device has access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceAccess {
    /// The user who has the device; its anonymous user before a login or a verified claim.
    pub user_id: UserId,
    /// Number of announcements of that user's state; 0 before the first.
    pub user_revision: i64,
    /// The entitlements, each once.
    pub entitlements: Vec<ActiveEntitlement>,
}

row! {
    struct DeviceUser {
        user_id: Option<UserId>,
        logouts: i64,
        revision: Option<i64>,
    }
}

const USER_OF_DEVICE: Sql = statement! {"
    SELECT d.user_id, d.logouts, u.revision
    FROM devices d
    LEFT JOIN users u ON u.id = d.user_id
    WHERE d.platform_id = ? AND d.id = ?
"};

impl Store {
    /// What a device may use. An unknown device may use nothing; one with another secret, or without one, is refused with
    /// [`Error::Unproved`].
    pub async fn device_access(
        &self,
        app: AppId,
        place: DevicePlace,
        secret: SecretHash,
    ) -> Result<DeviceAccess, Error> {
        self.read_for_devices(move |connection| {
            secret::prove(connection, place, &secret)?;
            let DevicePlace { platform, device } = place;
            let known: Option<DeviceUser> = sql(USER_OF_DEVICE).bind(platform).bind(device).first(connection)?;
            let user = known.as_ref().and_then(|known| known.user_id);
            let logouts = known.as_ref().map_or(0, |known| known.logouts);
            let mut accessible = BTreeMap::new();
            for which in [OF_DEVICE, SHARED_WITH_DEVICE] {
                let found = owned_by(connection, app, sql(which).bind(platform).bind(device))?;
                accessible.extend(found.into_iter().map(|one| (one.collapse_key, one)));
            }
            let accessible: Vec<_> = accessible.into_values().collect();
            Ok(DeviceAccess {
                user_id: user.unwrap_or_else(|| UserId::of_device(place, logouts)),
                user_revision: known.and_then(|known| known.revision).unwrap_or(0),
                entitlements: CustomerState::of(&accessible, Vec::new()).active_entitlements,
            })
        })
        .await
    }
}
