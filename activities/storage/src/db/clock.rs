//! The clock that stamps rows: PostgreSQL's own, because several processes share that database; on SQLite the
//! process's.

use crate::connection::AnyConnection;
use crate::error::Error;
use crate::sql::{Sql, statement};
use crate::statement::{Ahead, Single, sql};
use domain::Timestamp;

const NOW: Sql =
    statement!("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT) AS value");

impl AnyConnection {
    /// Returns the current time by the clock that stamps rows: the server's on PostgreSQL, `clock` on SQLite.
    pub fn now(&mut self, clock: fn() -> Timestamp) -> Result<Timestamp, Error> {
        if !self.is_shared() {
            return Ok(clock());
        }
        Ok(sql(NOW).value(self)?.unwrap_or_default())
    }

    /// Like [`Self::now`], but the time is fetched later.
    pub fn now_ahead(&mut self, clock: fn() -> Timestamp) -> Result<Now, Error> {
        if !self.is_shared() {
            return Ok(Now::Known(clock()));
        }
        sql(NOW).value_ahead(self).map(Now::Running)
    }
}

/// The current time, which may not be fetched yet.
#[derive(Clone)]
pub enum Now {
    Known(Timestamp),
    /// Sent to the server as a query, and fetched later.
    Running(Ahead<'static, Single<Timestamp>>),
}

impl Now {
    pub fn fetch(self, connection: &mut AnyConnection) -> Result<Timestamp, Error> {
        match self {
            Self::Known(at) => Ok(at),
            Self::Running(at) => Ok(at.value(connection)?.unwrap_or_default()),
        }
    }
}
