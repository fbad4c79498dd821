//! The devices with access to a purchase: those with a verified claim of it, in the order of the verification, and those of
//! its user whose login the customer's own server signed.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Ahead, row, sql};
use crate::db::writer::Write;
use domain::device::Device;
use domain::event::{ClaimType, DeviceAccess, MAX_DEVICES};
use domain::{CollapseKey, DeviceId, PlatformId, Timestamp, UserId};
use std::collections::BTreeSet;

row! {
    struct DeviceRow {
        platform_id: PlatformId,
        device_id: DeviceId,
        device: Device,
        seen_at: Timestamp,
        platform_type: String,
        is_original: bool,
    }
}

const CLAIMED: Sql = statement! {hot "claims_of_key", "
    SELECT c.platform_id, c.device_id, d.device, d.seen_at, f.store AS platform_type, TRUE AS is_original
    FROM claims c
    JOIN devices d ON d.platform_id = c.platform_id AND d.id = c.device_id
    JOIN platforms f ON f.id = c.platform_id
    WHERE c.collapse_key = ? AND c.status = 'verified'
    ORDER BY c.verified_at, c.device_id
    LIMIT ?
"};

/// A device of the customer of the store who bought it has the same access as one that claims it.
const SIGNED: Sql = statement! {hot "devices_user", "
    SELECT d.platform_id, d.id AS device_id, d.device, d.seen_at, f.store AS platform_type,
        EXISTS (SELECT 1 FROM claims c JOIN purchases p ON p.platform_id = c.platform_id
            AND p.app_user_id = c.app_user_id
            WHERE c.platform_id = d.platform_id AND c.device_id = d.id AND c.status = 'verified'
            AND p.collapse_key = ?) AS is_original
    FROM devices d
    JOIN platforms f ON f.id = d.platform_id
    WHERE d.user_id = ? AND d.is_signed
    ORDER BY d.created_at, d.id
    LIMIT ?
"};

/// The devices with access to a purchase, which are fetched later.
pub struct Accesses {
    claimed: Ahead<'static, DeviceRow>,
    signed: Option<Ahead<'static, DeviceRow>>,
}

impl Accesses {
    /// Reads the devices with access to a purchase of this user.
    pub fn read(write: &mut Write<'_>, key: CollapseKey, user: Option<UserId>) -> Result<Self, Error> {
        let limit = i64::try_from(MAX_DEVICES).unwrap_or(i64::MAX);
        let claimed = sql(CLAIMED).bind(key).bind(limit).ahead(write.connection)?;
        let signed =
            user.map(|user| sql(SIGNED).bind(key).bind(user).bind(limit).ahead(write.connection)).transpose()?;
        Ok(Self { claimed, signed })
    }

    /// The devices, those that claimed it first in front.
    pub fn fetch(self, write: &mut Write<'_>) -> Result<Vec<DeviceAccess>, Error> {
        let mut rows = self.claimed.all(write.connection)?;
        let claimed: BTreeSet<_> = rows.iter().map(|row| (row.platform_id, row.device_id)).collect();
        let signed = self.signed.map_or_else(|| Ok(Vec::new()), |signed| signed.all(write.connection))?;
        rows.extend(signed.into_iter().filter(|row| !claimed.contains(&(row.platform_id, row.device_id))));
        Ok(rows.into_iter().take(MAX_DEVICES).map(DeviceRow::access).collect())
    }
}

impl DeviceRow {
    fn access(self) -> DeviceAccess {
        let claim_type = if self.is_original { ClaimType::OriginalPurchaser } else { ClaimType::CrossPlatformShared };
        DeviceAccess {
            id: self.device_id,
            platform_type: self.platform_type,
            claim_type,
            first_launch: self.device.first_launch,
            last_active: self.seen_at,
        }
    }
}
