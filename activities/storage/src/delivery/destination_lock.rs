//! The lock of a destination on PostgreSQL. Claims share it, and wait for no other claim. Whoever changes the destination,
//! or its health, has it alone: a claim comes before such a change, or sees it whole.
//!
//! It is an advisory lock, because PostgreSQL grants these in the order of the requests: a change never waits for claims
//! that came after it. Shared locks of a row would let them pass.

use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use crate::db::writer::{NextTransaction, Write};
use domain::DestinationId;

const SHARE: Sql = statement!("SELECT COUNT(pg_advisory_xact_lock_shared(CAST(? AS BIGINT))) AS value");

/// Shares the lock until the end of the transaction, from the next statement on.
pub fn share(write: &mut Write<'_>, destination: DestinationId) -> Result<(), Error> {
    if !write.connection.is_shared() {
        return Ok(());
    }
    write.shared_destinations.insert(destination);
    sql(SHARE).bind(number(destination)).later(write.connection)
}

/// Whether the transaction shares the lock. Then it must not wait for having it alone: another one that shares it could do
/// the same.
pub fn is_shared(write: &Write<'_>, destination: DestinationId) -> bool {
    write.shared_destinations.contains(&destination)
}

const TAKE: Sql = statement!("SELECT COUNT(pg_advisory_xact_lock(CAST(? AS BIGINT))) AS value");

/// Takes the lock alone until the end of the transaction, from the next statement on.
///
/// # Errors
/// The transaction shares the lock for an earlier job, so this job is run in the next transaction.
pub fn take(write: &mut Write<'_>, destination: DestinationId) -> Result<(), Error> {
    if !write.connection.is_shared() {
        return Ok(());
    }
    if !write.is_first && is_shared(write, destination) {
        return Err(Error::unavailable(NextTransaction));
    }
    sql(TAKE).bind(number(destination)).later(write.connection)
}

/// The number of the lock. Two destinations with the same one would wait for each other needlessly.
fn number(destination: DestinationId) -> i64 {
    let (high, low) = destination.uuid().as_u64_pair();
    (high ^ low).cast_signed()
}
