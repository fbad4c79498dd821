//! The leases of requests. A test may move a clock only while no live process holds a lease: a jump of the clock ends
//! leases early, and then a second request about the same purchase, user or destination could begin during the first.

use super::postgres::PgConnection;
use super::process::Backend;
use super::wait;
use super::world::{SOON, World};
use diesel::connection::SimpleConnection as _;
use diesel::{
    Connection as _, QueryResult, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query,
};
use domain::Timestamp;
use std::collections::BTreeSet;

/// The tables whose rows are leased.
const TABLES: [&str; 3] = ["leases", "user_leases", "streams"];

#[derive(QueryableByName)]
struct Token {
    #[diesel(sql_type = diesel::sql_types::Text)]
    lease_token: String,
}

/// The leases of a world, and the processes that can hold them.
#[derive(Debug, Default)]
pub struct Leases {
    /// Processes started by the last start.
    processes: BTreeSet<u32>,
    /// Tokens of leases held by killed processes, which are not waited for.
    left: BTreeSet<String>,
}

impl Leases {
    /// Returns the leases of the processes that run now.
    pub fn of(world: &mut World) -> Self {
        Self {
            processes: processes(world),
            left: BTreeSet::new(),
        }
    }

    /// Records the leases left by killed processes, before others are started.
    pub fn leave(&mut self, world: &World, now: Timestamp) {
        self.left.extend(Database::of(world).live(now));
    }

    /// Records which processes run after a start.
    pub fn started(&mut self, world: &mut World) {
        self.processes = processes(world);
    }

    /// Moves a clock by `change` while, by this clock, no live process holds a lease and none can take one: the program
    /// cannot write at that moment.
    ///
    /// # Panics
    /// When a lease is held for longer than any request takes, or a process runs that was not passed to
    /// [`Self::started`].
    pub async fn between_requests(
        &self,
        world: &mut World,
        now: impl Fn() -> Timestamp,
        change: impl FnOnce(),
    ) {
        let running = processes(world);
        let unknown: Vec<_> = running.difference(&self.processes).collect();
        assert!(
            unknown.is_empty(),
            "processes that were not started by the calendar: {unknown:?}"
        );
        let (mut database, mut locked) = (Database::of(world), Database::of(world));
        wait::until(SOON, "a moment without a leased request", async || {
            let mut held = || -> Vec<String> {
                // Aborted processes have no request in flight.
                let is_running = !processes(world).is_empty();
                let live = if is_running {
                    database.live(now())
                } else {
                    Vec::new()
                };
                live.into_iter()
                    .filter(|token| !self.left.contains(token))
                    .collect()
            };
            // The lock is taken only when probably nothing is leased, so that it delays no request.
            let leased = held();
            if !leased.is_empty() {
                return Err(format!("leased by {leased:?}"));
            }
            match locked.lock() {
                Ok(()) if held().is_empty() => Ok(()),
                begun => {
                    locked.run("ROLLBACK").map_err(|error| error.to_string())?;
                    Err(format!("a request that has just begun, or {begun:?}"))
                }
            }
        })
        .await;
        change();
        locked.run("COMMIT").expect("the end of the transaction");
    }
}

/// Returns the ids of the world's running processes.
fn processes(world: &mut World) -> BTreeSet<u32> {
    world
        .processes()
        .iter_mut()
        .filter_map(|one| one.exit_status().is_none().then(|| one.id()))
        .collect()
}

/// A database connection of the test.
enum Database {
    Sqlite(SqliteConnection),
    Postgres(Box<PgConnection>),
}

impl Database {
    fn of(world: &World) -> Self {
        let url = world.installation.database();
        let (mut database, patience) = match world.installation.backend() {
            Backend::Sqlite => (
                Self::Sqlite(SqliteConnection::establish(url).expect("a file")),
                "PRAGMA busy_timeout = 60000",
            ),
            Backend::Postgres | Backend::SyncedPostgres => (
                Self::Postgres(Box::new(PgConnection::establish(url).expect("a database"))),
                "SET lock_timeout = '60s'",
            ),
        };
        database.run(patience).expect("a setting");
        database
    }

    fn run(&mut self, statements: &str) -> QueryResult<()> {
        match self {
            Self::Sqlite(connection) => connection.batch_execute(statements),
            Self::Postgres(connection) => connection.batch_execute(statements),
        }
    }

    /// Begins a transaction during which no other session can take a lease.
    fn lock(&mut self) -> QueryResult<()> {
        let tables = TABLES.join(", ");
        match self {
            Self::Sqlite(connection) => connection.batch_execute("BEGIN IMMEDIATE"),
            Self::Postgres(connection) => {
                connection.batch_execute(&format!("BEGIN; LOCK TABLE {tables} IN EXCLUSIVE MODE"))
            }
        }
    }

    /// Returns the tokens of the leases that are live at `now`.
    fn live(&mut self, now: Timestamp) -> Vec<String> {
        let of = |table: &str| {
            let live = format!("lease_token IS NOT NULL AND lease_until > {}", now.micros());
            format!("SELECT lease_token FROM {table} WHERE {live}")
        };
        let query = sql_query(TABLES.map(of).join(" UNION ALL "));
        let rows: QueryResult<Vec<Token>> = match self {
            Self::Sqlite(connection) => query.load(connection),
            Self::Postgres(connection) => query.load(connection.as_mut()),
        };
        rows.expect("the leases")
            .into_iter()
            .map(|row| row.lease_token)
            .collect()
    }
}
