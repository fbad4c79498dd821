//! Finished notifications that belong to no purchase of the customer: about another package, refused together with
//! their topic, of an unknown type, or unreadable.

use super::batch::{ErasureBatch, Removed};
use super::columns::{MESSAGES, NOTIFICATIONS};
use db::error::Error;
use db::partial::FINISHED_WITH_NAMES;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::sql;
use db::writer::Write;

const NEXT: Sql = statement! {hot "notifications_named", "
    SELECT seq AS value
    FROM notifications
    WHERE {FINISHED_WITH_NAMES} AND seq > ?
    ORDER BY seq
    LIMIT ?
"};
const OF_APP: &str =
    "seq IN (?*) AND platform_id IN (SELECT f.id FROM platforms f WHERE f.app_id = ?)";
// `|| ''` keeps the planner from using `notifications_unreadable`.
const WITH_PURCHASE: Clause = clause! {&[NOTIFICATIONS.select], "
    {OF_APP} AND collapse_key || '' IS NOT NULL
    ORDER BY seq
    FOR UPDATE
"};
const WITHOUT_PURCHASE: Clause = clause! {&[MESSAGES.select], "
    {OF_APP} AND collapse_key || '' IS NULL
    ORDER BY seq
    FOR UPDATE
"};

/// Removes the names from a batch. An unreadable message may contain names in any form, so it is reduced to its shape.
pub fn remove(write: &mut Write<'_>, batch: ErasureBatch<'_>) -> Result<Removed, Error> {
    let seqs: Vec<i64> = sql(NEXT)
        .bind(batch.after)
        .bind(batch.limit)
        .values(write.connection)?;
    let mut changed = 0;
    if !seqs.is_empty() {
        for (columns, condition) in [(NOTIFICATIONS, WITH_PURCHASE), (MESSAGES, WITHOUT_PURCHASE)] {
            let select = columns
                .of(condition)
                .uncached()
                .bind_list(seqs.iter().copied())
                .bind(batch.who.app);
            let rows = select.all(write.connection)?;
            changed += columns.remove(write, batch.who, rows)?.len();
        }
    }
    Ok(batch.removed(changed, &seqs))
}
