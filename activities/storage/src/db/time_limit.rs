//! The time limit of a statement on SQLite, which has none of its own; PostgreSQL has `statement_timeout`.
//!
//! SQLite calls a *progress handler* while it runs a statement, and aborts the statement if the handler requests that
//! (<https://sqlite.org/c3ref/progress_handler.html>). Diesel 2.3 does not expose its connection, so SQLite itself sets
//! the handler on each connection that this process opens (<https://sqlite.org/c3ref/auto_extension.html>). It runs on
//! the thread of the statement and checks that thread's limit: without one, as in the writer, it never aborts.

use crate::waits;
use libsqlite3_sys::{
    SQLITE_OK, sqlite3, sqlite3_api_routines, sqlite3_auto_extension, sqlite3_progress_handler,
};
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::Once;
use std::time::Duration;

/// Number of steps of SQLite's virtual machine between two checks of the clock: about a millisecond.
const STEPS: c_int = 10_000;

thread_local! {
    static LIMIT: Cell<Option<Duration>> = const { Cell::new(None) };
    /// Number of calls of the handler since the limit was set.
    static TICKS: Cell<u64> = const { Cell::new(0) };
}

/// Limits each statement of this thread, until the returned value is dropped. Then an earlier limit applies again.
pub fn limit(limit: Duration) -> Limited {
    let before = LIMIT.replace(Some(limit));
    if before.is_none() {
        TICKS.set(0);
    }
    Limited { before }
}

#[must_use]
pub struct Limited {
    before: Option<Duration>,
}

impl Limited {
    /// Returns the number of progress calls (10,000 SQLite steps each) since the limit was set.
    #[cfg(feature = "fail-points")]
    pub fn ticks(&self) -> u64 {
        TICKS.get()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        LIMIT.set(self.before);
    }
}

/// Sets the handler on every connection to SQLite that this process opens from now on.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        #[expect(
            unsafe_code,
            reason = "Diesel has no call for it; the function stays valid as long as the process"
        )]
        // SAFETY: `watch` has the signature that SQLite documents for this call, and is never unloaded.
        let code = unsafe { sqlite3_auto_extension(Some(watch)) };
        if code != SQLITE_OK {
            tracing::warn!(code, "statements of SQLite have no time limit");
        }
    });
}

/// Sets the handler of a new connection.
extern "C" fn watch(
    connection: *mut sqlite3,
    _: *mut *mut c_char,
    _: *const sqlite3_api_routines,
) -> c_int {
    #[expect(
        unsafe_code,
        reason = "the connection is SQLite's own, which it passes for this"
    )]
    // SAFETY: SQLite calls this with an open connection, and `is_late` uses no argument.
    unsafe {
        sqlite3_progress_handler(connection, STEPS, Some(is_late), null_mut());
    }
    SQLITE_OK
}

/// Returns 1 if the statement that this thread runs has exceeded its time limit, else 0.
extern "C" fn is_late(_: *mut c_void) -> c_int {
    TICKS.set(TICKS.get() + 1);
    c_int::from(LIMIT.get().is_some_and(|limit| waits::elapsed() >= limit))
}

#[cfg(test)]
mod tests {
    use super::limit;
    use crate::config::Database;
    use crate::connection::AnyConnection;
    use crate::error::{Error, chain};
    use crate::statement::sql;
    use crate::waits::{Step, WaitNote};
    use std::time::Duration;

    /// A statement that takes a second or more if nothing ends it.
    const COUNT: &str = "
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000000) SELECT COUNT(*) AS value FROM n
    ";

    #[test]
    fn a_statement_of_sqlite_ends_at_its_time_limit() {
        let path = std::env::temp_dir().join(format!("settle-limit-{}.db", std::process::id()));
        let connection = &mut AnyConnection::to(&Database::Sqlite(path.clone())).unwrap();
        let place = WaitNote::new(Step::Code);
        let _entered = place.enter();
        let limited = limit(Duration::from_millis(20));
        let interrupted = sql(COUNT).value::<i64>(connection).unwrap_err();
        assert!(
            matches!(&interrupted, Error::Unavailable(_))
                && chain(&interrupted).contains("interrupted"),
            "{interrupted:?}"
        );
        assert_eq!(
            sql("SELECT 1 AS value").value::<i64>(connection).unwrap(),
            Some(1),
            "the connection goes on"
        );
        drop(limit(Duration::from_secs(60)));
        sql(COUNT)
            .value::<i64>(connection)
            .expect_err("the earlier limit holds again");
        drop(limited);
        assert_eq!(
            sql(COUNT).value::<i64>(connection).unwrap(),
            Some(3_000_000),
            "without a limit nothing ends it"
        );
        std::fs::remove_file(path).unwrap();
    }
}
