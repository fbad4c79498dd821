//! When the first event of a platform was delivered, which completes its connection. Recorded once for each platform.

use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::CollapseKey;

/// A row of its own and no column of the platform: so it waits for no change of the platform, and that for no delivery.
const NOTE: Sql = statement! {"
    INSERT INTO first_deliveries (platform_id, delivered_at)
    SELECT p.platform_id, CAST(? AS BIGINT)
    FROM purchases p
    WHERE p.collapse_key = ?
        AND NOT EXISTS (SELECT 1 FROM first_deliveries f WHERE f.platform_id = p.platform_id)
    ON CONFLICT DO NOTHING
"};

/// Notes that an event of a purchase was delivered, if it is the first one of its platform. The last lock of a
/// transaction: another first one of the platform waits for its end.
pub fn note(write: &mut Write<'_>, key: CollapseKey) -> Result<(), Error> {
    sql(NOTE)
        .bind(write.now()?)
        .bind(key)
        .later(write.connection)
}
