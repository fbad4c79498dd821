//! Texts that people wrote about a customer: names and reasons in the app's entries of the audit log, reasons of
//! erasure requests, and names of redelivery runs. Permission to erase an app's customer does not extend to entries of
//! other apps, to entries of no single app, or to names of keys.

use super::batch::{ErasureBatch, Removed, pattern, seqs};
use super::columns::{AUDIT_LOG, ERASURES, RowTexts};
use crate::redelivery::runs;
use db::error::Error;
use db::secrets::Secrets;
use db::sql::{Clause, Sql, clause, statement};
use db::statement::{Value, sql};
use db::writer::Write;

/// Number of audit entries that one step searches.
const SEARCHED_PER_STEP: i64 = 2000;

const END_OF_SEARCH: Sql = statement! {"
    SELECT MAX(seq) AS value
    FROM (SELECT seq FROM audit_log WHERE seq > ? ORDER BY seq LIMIT {SEARCHED_PER_STEP}) searched
    HAVING MAX(seq) IS NOT NULL
"};
const ENTRIES_NAMING_CUSTOMER: Clause = clause! {&[AUDIT_LOG.select], "
    seq > ? AND seq <= ? AND app_id = ?
        AND EXISTS (WITH names (pattern) AS (VALUES ?*)
            SELECT 1 FROM names WHERE reason LIKE pattern ESCAPE '\\' OR actor LIKE pattern ESCAPE '\\')
    ORDER BY seq
    LIMIT ?
"};
const ERASURES_OF_APP: Clause = clause!(
    &[ERASURES.select],
    "app_id = ? ORDER BY id FOR NO KEY UPDATE"
);

/// Removes the names from a batch of the app's audit entries and, after the last batch, from the other texts that
/// people wrote.
pub fn remove(
    write: &mut Write<'_>,
    secrets: &Secrets,
    batch: ErasureBatch<'_>,
) -> Result<Removed, Error> {
    let (who, names) = (batch.who, batch.who.names.texts());
    let end: Option<i64> = sql(END_OF_SEARCH)
        .bind(batch.after)
        .value(write.connection)?;
    let Some(end) = end else {
        let patterns = names.iter().map(|name| pattern(name));
        let changed = runs::conceal(write, secrets, patterns, |run| who.names.are_in(run))?;
        let rows = ERASURES
            .of(ERASURES_OF_APP)
            .bind(who.app)
            .all(write.connection)?;
        let changed = changed + ERASURES.remove(write, who, rows)?.len();
        return Ok(Removed {
            changed,
            next_after: None,
        });
    };
    let patterns = names.iter().map(|name| [Value::from(pattern(name))]);
    let select = AUDIT_LOG
        .of(ENTRIES_NAMING_CUSTOMER)
        .uncached()
        .bind((batch.after, end, who.app));
    let rows: Vec<RowTexts> = select
        .bind_rows(patterns)
        .bind(batch.limit)
        .all(write.connection)?;
    let found = seqs(AUDIT_LOG, &rows);
    let changed = AUDIT_LOG.remove(write, who, rows)?.len();
    let Removed {
        changed,
        next_after,
    } = batch.removed(changed, &found);
    Ok(Removed {
        changed,
        next_after: next_after.or(Some(end)),
    })
}
