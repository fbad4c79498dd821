//! The clock that stamps rows: PostgreSQL's own, because several processes share that database; on SQLite the
//! process's.

use crate::db::connection::AnyConnection;
use crate::db::error::Error;
use crate::db::sql::{Sql, statement};
use crate::db::statement::sql;
use domain::Timestamp;

const NOW: Sql = statement!("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS value");

impl AnyConnection {
    /// The present time by the clock that stamps rows: the server's on PostgreSQL, `clock` on SQLite.
    pub fn now(&mut self, clock: fn() -> Timestamp) -> Result<Timestamp, Error> {
        if !self.is_shared() {
            return Ok(clock());
        }
        Ok(sql(NOW).value(self)?.unwrap_or_default())
    }
}
