//! The slots of a destination on PostgreSQL: claims share its limits and settings, and lock no row of it.
//!
//! A destination has [`SLOTS`] slots, which are advisory locks of transactions. A claim takes a free one without waiting
//! and holds it until its lease is committed; each lease of a transaction has a slot of its own. A claim counts the
//! requests in flight after it took its slot, so at most [`SLOTS`] leases, its own among them, are not in its count. It
//! may lease if all of these keep to the concurrency.
//!
//! A claim that is nearer to the concurrency, or finds no free slot, and each one at a destination with a rate, takes
//! all slots. Then no other lease is uncommitted, and its count is exact. Whoever locks the health of the destination
//! takes all of them first: a change of the destination comes before a claim and is seen by it, or comes after it.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Ahead, Number, sql};
use crate::db::writer::{NextTransaction, Write};
use domain::DestinationId;

/// Number of slots of a destination.
pub const SLOTS: i64 = 16;
/// In [`Write::slots`]: the transaction holds all slots.
const ALL: i64 = i64::MAX;

/// None is taken where a claim must take all: it would wait for another one that holds a slot and waits too.
const TAKE: Sql = statement! {"
    SELECT slot AS value
    FROM generate_series(CAST(? AS BIGINT), {SLOTS} - 1) AS slot
    WHERE CASE WHEN (
        SELECT d.rate IS NULL AND d.concurrency >= {SLOTS} + (SELECT COUNT(*) FROM lanes l
            WHERE l.destination_id = d.id AND l.lease_token IS NOT NULL AND l.lease_until > ?)
        FROM destinations d
        WHERE d.id = ?
    ) THEN pg_try_advisory_xact_lock(CAST(? AS BIGINT) + slot) ELSE FALSE END
    LIMIT 1
"};

/// A slot that is being taken.
pub struct Taking {
    destination: DestinationId,
    slot: Ahead<'static, Number>,
}

/// A slot that was taken.
#[derive(Clone, Copy)]
pub struct Slot {
    destination: DestinationId,
    number: i64,
}

/// Takes a free slot, which is fetched later. `None` if the transaction may take no more.
pub fn take_ahead(write: &mut Write<'_>, destination: DestinationId) -> Result<Option<Taking>, Error> {
    let first = write.slots.get(&destination).copied().unwrap_or(0);
    if !write.connection.is_shared() || first >= SLOTS {
        return Ok(None);
    }
    let slot = sql(TAKE).bind(first).bind(write.now).bind(destination).bind(base(destination));
    let slot = slot.ahead(write.connection)?;
    Ok(Some(Taking { destination, slot }))
}

impl Taking {
    /// The slot, if one was free. It is held until the end of the transaction.
    pub fn fetch(self, write: &mut Write<'_>) -> Result<Option<Slot>, Error> {
        let Some(number) = self.slot.first(write.connection)?.map(|slot| slot.value) else { return Ok(None) };
        write.slots.entry(self.destination).or_insert(number);
        Ok(Some(Slot { destination: self.destination, number }))
    }
}

impl Slot {
    /// Notes that the slot has a lease: another claim of the transaction takes another slot.
    pub fn fill(self, write: &mut Write<'_>) {
        write.slots.insert(self.destination, self.number + 1);
    }
}

const TAKE_ALL: Sql = statement! {"
    SELECT COUNT(pg_advisory_xact_lock(CAST(? AS BIGINT) + slot)) AS value
    FROM generate_series(0, {SLOTS} - 1) AS slot
"};

/// Takes all slots, before the next statement whose result is needed; waits for those that others hold.
///
/// # Errors
/// The transaction holds some of them for an earlier job: two such could wait for each other, so this job is run in the
/// next transaction.
pub fn take_all(write: &mut Write<'_>, destination: DestinationId) -> Result<(), Error> {
    if !write.connection.is_shared() {
        return Ok(());
    }
    if !write.is_first && write.slots.get(&destination).is_some_and(|next| *next != ALL) {
        return Err(Error::unavailable(NextTransaction));
    }
    // They are taken again if the transaction has them: a job that took them may have been rolled back.
    write.slots.insert(destination, ALL);
    sql(TAKE_ALL).bind(base(destination)).later(write.connection)
}

/// The error of a claim whose slot does not keep the limits any more. It must not wait for the others with it, so it is
/// run again in another transaction, which takes all slots at once.
pub fn outrun() -> Error {
    Error::unavailable(NextTransaction)
}

/// The number of the first slot's lock. Two destinations with the same numbers would wait for each other needlessly.
fn base(destination: DestinationId) -> i64 {
    let (high, low) = destination.uuid().as_u64_pair();
    (high ^ low).cast_signed() & !(SLOTS - 1)
}
