//! Shared locks on PostgreSQL. Many transactions share one; a transaction that changes the protected rows holds it
//! exclusively.
//!
//! They are advisory locks, because PostgreSQL grants these in the order of the requests: a change never waits for
//! transactions that came after it. With shared row locks, these would overtake it. On SQLite a writing transaction
//! excludes all others, so there is nothing to lock.
//!
//! The callers define the order in which a transaction takes several locks.

use crate::connection::AnyConnection;
use crate::error::Error;
use crate::sql::{Sql, statement};
use crate::statement::{Ahead, Number, sql};
use uuid::Uuid;

const SHARE: Sql =
    statement!("SELECT COUNT(pg_advisory_xact_lock_shared(CAST(? AS BIGINT))) AS value");

/// Shares the lock with this id, from the next statement until the end of the transaction.
pub fn share(connection: &mut AnyConnection, id: Uuid) -> Result<(), Error> {
    if connection.is_shared() {
        sql(SHARE).bind(number(id)).later(connection)
    } else {
        Ok(())
    }
}

const TRY_SHARE: Sql = statement!(
    "SELECT CAST(CASE WHEN pg_try_advisory_xact_lock_shared(CAST(? AS BIGINT)) THEN 1 ELSE 0 END AS BIGINT) AS value"
);

/// Like [`share`], without waiting. The result, which is fetched later, is 1 if the lock is shared, else 0. For
/// PostgreSQL only.
pub fn try_share(
    connection: &mut AnyConnection,
    id: Uuid,
) -> Result<Ahead<'static, Number>, Error> {
    sql(TRY_SHARE).bind(number(id)).ahead(connection)
}

const TAKE: Sql = statement!("SELECT COUNT(pg_advisory_xact_lock(CAST(? AS BIGINT))) AS value");

/// Takes the lock with this id exclusively, from the next statement until the end of the transaction. A transaction
/// that shares the lock must not take it: another one that shares it could do the same, and both would deadlock.
pub fn take(connection: &mut AnyConnection, id: Uuid) -> Result<(), Error> {
    if connection.is_shared() {
        sql(TAKE).bind(number(id)).later(connection)
    } else {
        Ok(())
    }
}

/// Returns the number of the lock. Transactions for two ids with the same number would wait for each other needlessly.
fn number(id: Uuid) -> i64 {
    let (high, low) = id.as_u64_pair();
    (high ^ low).cast_signed()
}
