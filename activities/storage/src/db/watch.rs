//! The thread that watches the calls in flight, and logs each that takes long while it still runs: what it waits for,
//! and on PostgreSQL what the server says about it. It uses none of the connections that it watches.

use crate::config::Database;
use crate::connection::AnyConnection;
use crate::error::{Error, chain};
use crate::sql::{Sql, statement};
use crate::statement::{row, sql};
use crate::waits::{Calls, RunningCall, Step, Waits};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, Weak};
use std::thread::{Builder, sleep};
use std::time::Duration;
use tokio::time::Instant;

/// Interval at which the calls are checked.
const INTERVAL: Duration = Duration::from_millis(500);
/// A call that takes this long is logged and counted.
const LONG: Duration = Duration::from_secs(2);
/// Minimum time between two log lines about the same wait. The later line covers all calls since.
const QUIET: Duration = Duration::from_secs(10);
/// Maximum time for the server to accept a connection, and to answer.
const LIMIT: Duration = Duration::from_secs(1);

/// Key by which similar calls are grouped: their purpose, what they wait for and where.
type CallKind = (&'static str, &'static str, Step);

struct Watcher {
    database: Database,
    waits: Weak<Mutex<Calls>>,
    /// When each kind was logged last, and the number of calls since.
    logged: BTreeMap<CallKind, (Option<Instant>, u64)>,
}

row! {
    /// A session, and one of those that it waits for.
    struct SessionRow {
        pid: i64,
        state: String,
        blocker: Option<i64>,
        blocker_state: String,
    }
}

/// The server's information about a session.
#[derive(Default)]
struct Session {
    state: String,
    blockers: Vec<String>,
}

/// Starts the thread, which ends soon after the last handle of `waits` was dropped.
pub fn start(database: &Database, waits: &Waits) -> Result<(), Error> {
    let mut watcher = Watcher {
        database: database.clone(),
        waits: waits.downgrade(),
        logged: BTreeMap::new(),
    };
    let work = move || {
        while let Some(waits) = Waits::upgrade(&watcher.waits) {
            watcher.log(&waits);
            drop(waits);
            sleep(INTERVAL);
        }
    };
    Builder::new()
        .name("storage-watch".to_owned())
        .spawn(work)
        .map(drop)
        .map_err(Error::unavailable)
}

impl Watcher {
    fn log(&mut self, waits: &Waits) {
        let now = Instant::now();
        let mut oldest: BTreeMap<CallKind, RunningCall> = BTreeMap::new();
        for call in waits.find_long(now, LONG) {
            let (purpose, waits_for) = (call.purpose, call.waits_for());
            let labels = [("purpose", purpose), ("waits_for", waits_for)];
            metrics::counter!("settle_database_long_calls_total", &labels).increment(1);
            let kind = (purpose, waits_for, call.state.step);
            self.logged.entry(kind).or_default().1 += 1;
            oldest.entry(kind).or_insert(call);
        }
        let is_new = |kind: &CallKind| {
            self.logged
                .get(kind)
                .is_none_or(|(at, _)| at.is_none_or(|at| now - at >= QUIET))
        };
        oldest.retain(|kind, _| is_new(kind));
        if oldest.is_empty() {
            return;
        }
        let (sessions, error) = match self.sessions(waits, oldest.values()) {
            Ok(sessions) => (sessions, None),
            Err(error) => (HashMap::new(), Some(chain(&error))),
        };
        for (kind, call) in oldest {
            let session = call
                .state
                .backend
                .and_then(|backend| sessions.get(&i64::from(backend)));
            let (_, calls) = self.logged.insert(kind, (Some(now), 0)).unwrap_or_default();
            tracing::warn!(
                purpose = call.purpose,
                waits_for = call.waits_for(),
                step = %call.state.step,
                step_ms = millis(now, call.state.since),
                call_ms = millis(now, call.began),
                calls,
                backend.pid = call.state.backend,
                backend.state = session.map(|session| session.state.as_str()),
                blockers = session.map(|session| session.blockers.join(", ")),
                error,
                "a call of the database takes more than two seconds"
            );
        }
    }

    /// Returns the server's information about the sessions of these calls.
    fn sessions<'c>(
        &self,
        waits: &Waits,
        calls: impl Iterator<Item = &'c RunningCall>,
    ) -> Result<HashMap<i64, Session>, Error> {
        let backends: Vec<i64> = calls
            .filter_map(|call| call.state.backend)
            .map(i64::from)
            .collect();
        if backends.is_empty() {
            return Ok(HashMap::new());
        }
        let connection =
            AnyConnection::briefly(&self.database, LIMIT).map_err(Error::unavailable)?;
        let Some(mut connection) = connection else {
            return Ok(HashMap::new());
        };
        let rows: Vec<SessionRow> = sql(SESSIONS)
            .bind_list(backends)
            .uncached()
            .all(&mut connection)?;
        let own = waits.by_backend();
        let mut sessions: HashMap<i64, Session> = HashMap::new();
        for row in rows {
            let session = sessions.entry(row.pid).or_default();
            session.state = row.state;
            session.blockers.extend(
                row.blocker
                    .map(|pid| shown(pid, &row.blocker_state, own.get(&pid))),
            );
        }
        Ok(sessions)
    }
}

/// Selects sessions, and those that each waits for. Reads no text of a query and no value.
const SESSIONS: Sql = statement! {"
    SELECT CAST(s.pid AS BIGINT) AS pid, CONCAT_WS(' ', s.state, s.wait_event_type, s.wait_event) AS state,
        CAST(blocker AS BIGINT) AS blocker,
        CONCAT_WS(' ', NULLIF(b.application_name, ''), b.state, b.wait_event_type, b.wait_event,
            CAST(EXTRACT(EPOCH FROM clock_timestamp() - b.xact_start) * 1000 AS BIGINT) || ' ms') AS blocker_state
    FROM pg_stat_activity s
    LEFT JOIN LATERAL (SELECT DISTINCT unnest(pg_blocking_pids(s.pid)) AS blocker) blockers ON TRUE
    LEFT JOIN pg_stat_activity b ON b.pid = blocker
    WHERE s.pid IN (?*)
    ORDER BY s.pid, blocker
"};

/// Returns a text about a session that another one waits for, with its call if it is one of this process.
fn shown(pid: i64, state: &str, own: Option<&RunningCall>) -> String {
    let own = own.map(|call| format!(", of this process: {} at {}", call.purpose, call.state.step));
    format!("{pid} ({state}{})", own.unwrap_or_default())
}

fn millis(now: Instant, since: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX)
}
