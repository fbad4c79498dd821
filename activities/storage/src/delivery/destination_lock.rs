//! The lock of a destination on PostgreSQL. Leases of lanes share it and do not wait for each other. A change of the
//! destination or its health takes it exclusively, so a lease either precedes such a change or sees all of it.

use db::error::Error;
use db::shared_lock;
use db::writer::{NextTransaction, Write};
use domain::DestinationId;

/// Shares the lock until the end of the transaction, from the next statement on.
pub fn share(write: &mut Write<'_>, destination: DestinationId) -> Result<(), Error> {
    if write.connection.is_shared() {
        write.shared_destinations.insert(destination);
    }
    shared_lock::share(write.connection, destination.uuid())
}

/// Whether the transaction shares the lock. If so, it must not wait to take the lock exclusively: another transaction
/// that shares it could do the same, which is a deadlock.
pub fn is_shared(write: &Write<'_>, destination: DestinationId) -> bool {
    write.shared_destinations.contains(&destination)
}

/// Takes the lock exclusively until the end of the transaction, from the next statement on.
///
/// # Errors
/// Fails if the transaction shares the lock for an earlier job; the job then runs in the next transaction.
pub fn take(write: &mut Write<'_>, destination: DestinationId) -> Result<(), Error> {
    if !write.is_first && is_shared(write, destination) {
        return Err(Error::unavailable(NextTransaction));
    }
    shared_lock::take(write.connection, destination.uuid())
}
