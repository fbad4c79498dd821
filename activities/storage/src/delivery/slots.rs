//! The slots of a destination on PostgreSQL: claims share its limits and settings, and lock no row of it.
//!
//! A destination has [`SLOTS`] slots, which are advisory locks of transactions. A claim takes a free one without waiting
//! and holds it until its lease is committed. A transaction has at most [`leases`] leases in one slot, a number that
//! follows from the concurrency alone; with more, it takes another slot. A claim counts the requests in flight after it
//! took its slot, so at most `SLOTS * leases` leases, its own among them, are not in its count. It may lease if all of
//! these keep to the concurrency.
//!
//! A claim that is nearer to the concurrency, and each one at a destination with a rate, takes all slots. Then no other
//! lease is uncommitted, and its count is exact. A claim that finds no free slot, because somebody has all of them, waits
//! for one only: if it took all of them too, it would stand before the next claim in the same way, without end.
//!
//! A claim of the destination's stream of device events takes all of them too: it sets how many requests the stream may
//! make at once, which every count of a lane's claim includes.
//!
//! Whoever locks the health of the destination takes all of them first: a change of the destination, also of its
//! concurrency, comes before a claim and is seen by it, or comes after it. Only a claim that notifies operators of a dead
//! delivery locks the health with the slot that it has.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::{Ahead, Number, sql};
use crate::db::writer::{HeldSlots, NextTransaction, Write};
use domain::DestinationId;

/// Number of slots of a destination.
const SLOTS: i64 = 16;
/// The slots and what they may hold without being in a count: half of the concurrency, and a request in each at least.
const PARTS: i64 = 2 * SLOTS;
/// In [`Write::slots`]: the transaction holds all slots.
const ALL: HeldSlots = HeldSlots { first: i64::MAX, leases: 0 };

/// Maximum number of leases of a transaction in one slot of a destination with this concurrency.
fn leases(concurrency: i64) -> i64 {
    concurrency.div_euclid(PARTS).max(1)
}

/// Whether one more request keeps to the concurrency, whatever is in the slots of others.
pub fn is_far(in_flight: i64, concurrency: i64) -> bool {
    in_flight.saturating_add(SLOTS.saturating_mul(leases(concurrency))) <= concurrency
}

/// None is taken where a claim must take all: it would wait for another one that holds a slot and waits too.
const TAKE: Sql = statement! {"
    SELECT slot AS value
    FROM generate_series(CAST(? AS BIGINT), {SLOTS} - 1) AS slot
    WHERE CASE WHEN (
        SELECT d.rate IS NULL AND d.concurrency >= {SLOTS} * GREATEST(1, d.concurrency / {PARTS})
            + (SELECT COUNT(*) FROM lanes l
                WHERE l.destination_id = d.id AND l.lease_token IS NOT NULL AND l.lease_until > ?)
            + COALESCE((SELECT s.channels FROM streams s WHERE s.destination_id = d.id AND s.lease_until > ?), 0)
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
    let first = write.slots.get(&destination).map_or(0, |held| held.first);
    if !write.connection.is_shared() || first >= SLOTS {
        return Ok(None);
    }
    let now = write.now_value();
    let slot = sql(TAKE).bind(first).bind(now.clone()).bind(now).bind(destination).bind(base(destination));
    let slot = slot.ahead(write.connection)?;
    Ok(Some(Taking { destination, slot }))
}

impl Taking {
    /// The slot, if one was free. It is held until the end of the transaction.
    pub fn fetch(self, write: &mut Write<'_>) -> Result<Option<Slot>, Error> {
        let Some(number) = self.slot.first(write.connection)?.map(|slot| slot.value) else { return Ok(None) };
        let held = write.slots.entry(self.destination).or_insert(HeldSlots { first: number, leases: 0 });
        if held.first != number {
            *held = HeldSlots { first: number, leases: 0 };
        }
        Ok(Some(Slot { destination: self.destination, number }))
    }
}

impl Slot {
    /// Notes that the slot has a lease more. If it is full, the next claim of the transaction takes another slot.
    pub fn fill(self, write: &mut Write<'_>, concurrency: i64) {
        let Some(held) = write.slots.get_mut(&self.destination) else { return };
        held.leases = held.leases.saturating_add(1);
        if held.leases >= leases(concurrency) {
            *held = HeldSlots { first: self.number.saturating_add(1), leases: 0 };
        }
    }
}

const WAIT: Sql = statement! {"
    SELECT slot AS value
    FROM (SELECT CAST(pg_backend_pid() % {SLOTS} AS BIGINT) AS slot) own
    WHERE pg_advisory_xact_lock(CAST(? AS BIGINT) + slot) IS NOT NULL
"};

/// Whether the transaction holds all slots.
pub fn has_all(write: &Write<'_>, destination: DestinationId) -> bool {
    write.slots.get(&destination) == Some(&ALL)
}

/// Whether the transaction holds slots, but not all of them.
pub fn has_some(write: &Write<'_>, destination: DestinationId) -> bool {
    write.slots.get(&destination).is_some_and(|held| *held != ALL)
}

/// Waits for a slot, because somebody else has all of them.
///
/// # Errors
/// The transaction holds a slot, with which it must not wait, so this job is run in the next transaction.
pub fn wait(write: &mut Write<'_>, destination: DestinationId) -> Result<Slot, Error> {
    if write.slots.contains_key(&destination) {
        return Err(outrun());
    }
    let number: Option<i64> = sql(WAIT).bind(base(destination)).value(write.connection)?;
    let number = number.ok_or(Error::Missing { what: "slot" })?;
    write.slots.insert(destination, HeldSlots { first: number, leases: 0 });
    Ok(Slot { destination, number })
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
    if !write.is_first && has_some(write, destination) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_count_shows_keeps_to_the_concurrency() {
        for concurrency in [1, 4, 16, 31, 32, 33, 100, 1_000, 100_000] {
            let last = (0..=concurrency).rev().find(|in_flight| is_far(*in_flight, concurrency));
            let Some(last) = last else {
                assert!(concurrency < SLOTS, "{concurrency}: each claim is near");
                continue;
            };
            let uncounted = SLOTS * leases(concurrency);
            assert!(last + uncounted <= concurrency && last * 2 >= concurrency - PARTS, "{concurrency}: {last}");
        }
    }
}
