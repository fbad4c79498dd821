//! The time of a platform's first delivery, which completes the platform's connection. Recorded once for each platform.

use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::sql;
use db::writer::Write;
use domain::CollapseKey;

/// Uses a separate table instead of a column of the platform, so that deliveries and changes of the platform never wait
/// for each other.
const NOTE: Sql = statement! {"
    INSERT INTO first_deliveries (platform_id, delivered_at)
    SELECT p.platform_id, CAST(? AS BIGINT)
    FROM purchases p
    WHERE p.collapse_key = ?
        AND NOT EXISTS (SELECT 1 FROM first_deliveries f WHERE f.platform_id = p.platform_id)
    ON CONFLICT DO NOTHING
"};

/// Records that an event of a purchase was delivered, if it is the first one of its platform. Must be the transaction's
/// last lock: a concurrent first delivery of the platform waits for the transaction's end.
pub fn note(write: &mut Write<'_>, key: CollapseKey) -> Result<(), Error> {
    sql(NOTE)
        .bind(write.now()?)
        .bind(key)
        .later(write.connection)
}
