//! The claims of a purchase.

use super::newest::MAX_ROWS;
use db::connection::AnyConnection;
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{row, sql};
use domain::{CollapseKey, DeviceId, PlatformId, Timestamp};
use serde::Serialize;

row! {
    /// A device's claim of a purchase.
    #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
    pub struct ClaimView {
        pub device_id: DeviceId,
        /// `purchased`, `restored` or `present`.
        pub kind: String,
        /// `pending`, `verified` or `refused`.
        pub status: String,
        /// Why the claim is refused or still pending.
        pub reason: Option<String>,
        /// Why the database refused the last step of the claim's verification, which is retried; `None` if it did not.
        pub failure: Option<String>,
        /// When the claim was made on the device, by settle's clock.
        pub occurred_at: Timestamp,
        /// When the store confirmed the claim.
        pub verified_at: Option<Timestamp>,
    }
}

const OF_PURCHASE: Sql = statement! {"
    SELECT device_id, kind, status, reason, failure, occurred_at, verified_at
    FROM claims
    WHERE collapse_key = ?
    ORDER BY verified_at IS NULL, verified_at, created_at, device_id
    LIMIT ?
"};

/// Returns the claims of a purchase: the verified ones in order of their verification, then the others.
pub fn of_purchase(
    connection: &mut AnyConnection,
    key: CollapseKey,
) -> Result<Vec<ClaimView>, Error> {
    sql(OF_PURCHASE).bind(key).bind(MAX_ROWS).all(connection)
}

row! {
    /// The platform of a purchase, and its store.
    pub struct ClaimPlatform {
        pub platform_id: PlatformId,
        pub store: String,
    }
}

const PLATFORM: Sql = statement! {hot "claims_of_key", "
    SELECT f.id AS platform_id, f.store
    FROM claims c
    JOIN platforms f ON f.id = c.platform_id
    WHERE c.collapse_key = ?
    LIMIT 1
"};

/// Returns the platform of a purchase of which only claims are known.
pub fn platform(
    connection: &mut AnyConnection,
    key: CollapseKey,
) -> Result<Option<ClaimPlatform>, Error> {
    sql(PLATFORM).bind(key).first(connection)
}
