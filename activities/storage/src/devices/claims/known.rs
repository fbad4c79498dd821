//! Which purchases are known: the store has answered a query about them, or sent a notification about them. A claim of
//! a known purchase costs no query, so it counts towards no limit and is never dropped. A device cannot make a purchase
//! known.

use crate::devices::rows::SIZES;
use db::error::Error;
use db::partial::OPEN_OF_KEY_N;
use db::sql::{Sql, statement};
use db::statement::{batches, sql};
use db::writer::Write;
use domain::CollapseKey;
use std::collections::BTreeSet;

const RECORDED: Sql = statement! {"
    SELECT p.collapse_key AS value
    FROM purchases p
    WHERE p.collapse_key IN (?*) AND p.revision > 0
"};

const NOTIFIED: Sql = statement! {hot "notifications_open_of_key", "
    SELECT DISTINCT n.collapse_key AS value
    FROM notifications n
    WHERE n.collapse_key IN (?*) AND {OPEN_OF_KEY_N} AND n.waiting_topic_id IS NULL
"};

/// Returns those of the purchases that are known.
pub fn purchases(
    write: &mut Write<'_>,
    keys: &BTreeSet<CollapseKey>,
) -> Result<BTreeSet<CollapseKey>, Error> {
    let keys: Vec<CollapseKey> = keys.iter().copied().collect();
    let mut known = BTreeSet::new();
    for batch in batches(&keys, &SIZES) {
        for which in [RECORDED, NOTIFIED] {
            let found: Vec<CollapseKey> = sql(which)
                .bind_list(batch.iter().copied())
                .values(write.connection)?;
            known.extend(found);
        }
    }
    Ok(known)
}
