//! The data that a record reads before it locks anything, in one round trip.

use crate::purchases::purchase::{self, Origin, PurchaseRow};
use db::error::Error;
use db::sql::{Sql, statement};
use db::statement::{Ahead, Single, sql};
use db::writer::Write;
use domain::Outcome;
use domain::settling::Record;

pub struct Known {
    /// Row of the purchase, if there is one.
    pub row: Option<PurchaseRow>,
    pub origin: Origin,
    /// The store's id of the customer: in the last answer with one, else in the newest settled notification with one.
    pub named: Option<String>,
}

impl Known {
    /// Reads this data for a record. A statement that was queued before is run in the same round trip.
    pub fn read(write: &mut Write<'_>, record: &Record) -> Result<Self, Error> {
        let key = record.collapse_key;
        let row = purchase::find_ahead(write.connection, key)?;
        let named = newest_customer_ahead(write, record)?;
        let origin =
            purchase::origin(write.connection, key)?.ok_or(Error::Missing { what: "purchase" })?;
        let row = row.first(write.connection)?;
        let notified = named.map_or(Ok(None), |named| named.value(write.connection))?;
        let answered = row.as_ref().and_then(|row| row.answered_customer.clone());
        let named = answered.or(notified);
        Ok(Self { row, origin, named })
    }
}

const NEWEST_CUSTOMER: Sql = statement! {"
    SELECT app_user_id AS value
    FROM notifications
    WHERE seq IN (?*) AND collapse_key = ? AND app_user_id IS NOT NULL
    ORDER BY seq DESC
    LIMIT 1
"};

/// Begins to read the store's id of the customer in the newest settled notification with one; `None` if no notification
/// counts. Abandoned notifications, of purchases that the store does not accept, are left out unless the store
/// answered.
fn newest_customer_ahead(
    write: &mut Write<'_>,
    record: &Record,
) -> Result<Option<Ahead<'static, Single<String>>>, Error> {
    let is_believed = |outcome: &Outcome| record.is_answer || *outcome != Outcome::Abandoned;
    let settled = record
        .decision
        .outcomes
        .iter()
        .filter(|(_, outcome)| is_believed(outcome));
    let seqs: Vec<i64> = settled.map(|(seq, _)| *seq).collect();
    if seqs.is_empty() {
        return Ok(None);
    }
    let newest = sql(NEWEST_CUSTOMER)
        .uncached()
        .bind_list(seqs)
        .bind(record.collapse_key);
    newest.value_ahead(write.connection).map(Some)
}
