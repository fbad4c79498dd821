//! A long snapshot of PostgreSQL, like that of a backup with `pg_dump`: while it is held, the server removes no dead
//! row versions.

use diesel::connection::SimpleConnection;
use diesel::{Connection, RunQueryDsl};
use system_tests::postgres::PgConnection;

/// A held snapshot, which ends when this is dropped.
pub struct Snapshot(#[expect(dead_code, reason = "dropped at the end of the fault")] PgConnection);

impl Snapshot {
    /// Begins a session that holds a snapshot; blocks.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn hold(database: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::establish(database)?;
        connection.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
        // The first query takes the snapshot.
        diesel::sql_query("SELECT 1").execute(&mut connection)?;
        Ok(Self(connection))
    }
}
