//! A long snapshot of PostgreSQL, as a backup with `pg_dump` has one: while it is held, the server removes no dead version of
//! a row.

use diesel::connection::SimpleConnection;
use diesel::{Connection, RunQueryDsl};
use system_tests::postgres::PgConnection;

/// It ends when it is dropped.
pub struct Snapshot(#[expect(dead_code, reason = "dropped at the end of the fault")] PgConnection);

impl Snapshot {
    /// Begins a session that holds one; blocking.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn hold(database: &str) -> anyhow::Result<Self> {
        let mut connection = PgConnection::establish(database)?;
        connection.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ")?;
        // It is taken by the first query.
        diesel::sql_query("SELECT 1").execute(&mut connection)?;
        Ok(Self(connection))
    }
}
