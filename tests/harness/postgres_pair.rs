//! Two PostgreSQL servers of a test's own: a primary, and a standby that replicates it and may take its place.

use super::postgres::{self, Fsync, Own, PgConnection};
use super::wait;
use super::world::SOON;
use anyhow::Context;
use diesel::{Connection, QueryableByName, RunQueryDsl};
use storage::Database;

/// The name of the database with settle's tables.
const NAME: &str = "settle";

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    value: i64,
}

/// The servers of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Primary,
    Standby,
}

/// They end when it is dropped.
pub struct Pair {
    primary: Own,
    standby: Own,
}

impl Pair {
    /// Starts both, which sync or do not, with a database of settle's tables, all of them empty; blocking.
    ///
    /// # Errors
    /// When there are no programs, or they do not start.
    pub fn start(sync: Fsync) -> anyhow::Result<Self> {
        let home = api::tools::home(&std::env::temp_dir());
        let primary = Own::init(&postgres::programs(&home)?, sync)?;
        let standby = primary.standby()?;
        primary.start()?;
        standby.start()?;
        let pair = Self { primary, standby };
        postgres::execute(
            &format!("{}/postgres", pair.primary.base()),
            &format!("CREATE DATABASE {NAME}"),
        )?;
        // It blocks on a runtime of its own, and this may be a thread of another one.
        let database = Database::Postgres(pair.url_of(Side::Primary));
        let created = std::thread::spawn(move || storage::create_tables(&database)).join();
        created.map_err(|_| anyhow::anyhow!("settle's tables cannot be created"))??;
        pair.catch_up()?;
        Ok(pair)
    }

    /// From now on each commit waits until it is on the standby's disk too; blocking.
    ///
    /// # Errors
    /// When the primary does not do it.
    pub fn confirm(&self) -> anyhow::Result<()> {
        self.set("synchronous_standby_names", "'*'")
    }

    /// Changes a setting of the primary.
    fn set(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let primary = self.url_of(Side::Primary);
        postgres::execute(&primary, &format!("ALTER SYSTEM SET {name} = {value}"))?;
        postgres::execute(&primary, "SELECT pg_reload_conf()")
    }

    /// Returns a URL that names both servers, this one first.
    pub fn url(&self, first: Side) -> String {
        let (first, second) = match first {
            Side::Primary => (&self.primary, &self.standby),
            Side::Standby => (&self.standby, &self.primary),
        };
        format!(
            "postgres://settle@{},{}/{NAME}",
            first.host(),
            second.host()
        )
    }

    /// Returns a URL of one server alone.
    pub fn url_of(&self, side: Side) -> String {
        format!("{}/{NAME}", self.server(side).base())
    }

    /// The number that a query returns in the column `value`, at one server.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn number(&self, side: Side, query: &str) -> anyhow::Result<i64> {
        let mut connection = PgConnection::establish(&self.url_of(side))?;
        let rows: Vec<Number> = diesel::sql_query(query).load(&mut connection)?;
        rows.first()
            .map(|row| row.value)
            .with_context(|| format!("{query}: no row"))
    }

    /// Returns the number of sessions of the database at a server, without the one that counts.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn sessions(&self, side: Side) -> anyhow::Result<i64> {
        let count = "SELECT COUNT(*) AS value FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.number(side, count)
    }

    /// Waits until the standby has everything that the primary committed before; blocking.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn catch_up(&self) -> anyhow::Result<()> {
        let position =
            |function| format!("SELECT CAST({function}() - '0/0'::pg_lsn AS BIGINT) AS value");
        let wanted = self.number(Side::Primary, &position("pg_current_wal_lsn"))?;
        wait::until_blocking(SOON, "a standby that has everything", || {
            match self.number(Side::Standby, &position("pg_last_wal_replay_lsn")) {
                Ok(replayed) if replayed >= wanted => Ok(()),
                other => Err(format!("{other:?} of {wanted}")),
            }
        })
    }

    /// Kills a server (SIGKILL), as a power cut would.
    pub fn crash(&self, side: Side) {
        self.server(side).crash();
    }

    /// Starts a server after [`Self::crash`], and waits until it has recovered; blocking.
    ///
    /// # Errors
    /// When it does not recover.
    pub fn recover(&self, side: Side) -> anyhow::Result<()> {
        self.server(side).start()
    }

    /// Returns the ids of the processes of a server, in no order.
    pub fn processes(&self, side: Side) -> Vec<u32> {
        self.server(side).processes()
    }

    /// Kills the primary and starts it again, and waits until it accepts connections; blocking.
    ///
    /// # Errors
    /// When it does not start.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.crash(Side::Primary);
        self.recover(Side::Primary)
    }

    /// Makes the primary read-only, which goes on running with all its sessions, and promotes the standby; blocking.
    ///
    /// # Errors
    /// When a server does not do it.
    pub fn fail_over(&self) -> anyhow::Result<()> {
        self.demote()?;
        self.catch_up()?;
        self.promote()
    }

    /// Makes the primary read-only, which goes on running with all its sessions; blocking.
    ///
    /// # Errors
    /// When it does not do it.
    pub fn demote(&self) -> anyhow::Result<()> {
        self.set("default_transaction_read_only", "on")
    }

    /// Makes the standby a primary, once it has replayed all that it has; blocking.
    ///
    /// # Errors
    /// When it does not become one.
    pub fn promote(&self) -> anyhow::Result<()> {
        let promoted = self.number(
            Side::Standby,
            "SELECT CAST(CAST(pg_promote() AS INT) AS BIGINT) AS value",
        )?;
        anyhow::ensure!(promoted == 1, "the standby was not promoted in time");
        Ok(())
    }

    /// Ends the sessions of the primary that write, as a fail-over does: after [`Self::promote`] nothing confirms a
    /// commit of theirs, which would wait forever; blocking.
    ///
    /// # Errors
    /// When they go on.
    pub fn end_writers(&self) -> anyhow::Result<()> {
        let end = "SELECT COUNT(pg_terminate_backend(pid)) AS value FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND (backend_xid IS NOT NULL OR wait_event = 'SyncRep')";
        wait::until_blocking(SOON, "a primary without writers", || {
            match self.number(Side::Primary, end) {
                Ok(0) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
    }

    const fn server(&self, side: Side) -> &Own {
        match side {
            Side::Primary => &self.primary,
            Side::Standby => &self.standby,
        }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        self.primary.remove();
        self.standby.remove();
    }
}
