//! Two PostgreSQL servers for one test: a primary, and a standby that replicates it and may take its place.

use super::postgres::{self, Fsync, Own, PgConnection};
use super::wait;
use super::world::SOON;
use anyhow::Context;
use diesel::{Connection, QueryableByName, RunQueryDsl};
use storage::Database;

/// Name of the database with settle's tables.
const NAME: &str = "settle";

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    value: i64,
}

/// One of the two servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Primary,
    Standby,
}

/// A running pair. Both servers stop when it is dropped.
pub struct Pair {
    primary: Own,
    standby: Own,
}

impl Pair {
    /// Starts both servers with this setting of `fsync`, and a database with settle's empty tables; blocks.
    ///
    /// # Errors
    /// When the programs are missing or do not start.
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
        // In a thread of its own, because this call blocks on its own runtime and may run on another runtime's thread.
        let database = Database::Postgres(pair.url_of(Side::Primary));
        let created = std::thread::spawn(move || storage::create_tables(&database)).join();
        created.map_err(|_| anyhow::anyhow!("settle's tables cannot be created"))??;
        pair.catch_up()?;
        Ok(pair)
    }

    /// Makes each commit wait from now on until it is on the standby's disk too; blocks.
    ///
    /// # Errors
    /// When the primary refuses.
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

    /// Returns a URL that names this server only.
    pub fn url_of(&self, side: Side) -> String {
        format!("{}/{NAME}", self.server(side).base())
    }

    /// Returns the number in the column `value` of a query at one server.
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

    /// Returns the number of sessions of the database at a server, without the counting session itself.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn sessions(&self, side: Side) -> anyhow::Result<i64> {
        let count = "SELECT COUNT(*) AS value FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        self.number(side, count)
    }

    /// Waits until the standby has everything that the primary has committed; blocks.
    ///
    /// # Errors
    /// When the standby does not catch up in time.
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

    /// Kills a server (SIGKILL).
    pub fn crash(&self, side: Side) {
        self.server(side).crash();
    }

    /// Starts a server after [`Self::crash`], and waits until it has recovered; blocks.
    ///
    /// # Errors
    /// When it does not recover.
    pub fn recover(&self, side: Side) -> anyhow::Result<()> {
        self.server(side).start()
    }

    /// Returns the ids of a server's processes, in no particular order.
    pub fn processes(&self, side: Side) -> Vec<u32> {
        self.server(side).processes()
    }

    /// Kills the primary, restarts it and waits until it accepts connections; blocks.
    ///
    /// # Errors
    /// When the primary does not start.
    pub fn restart(&self) -> anyhow::Result<()> {
        self.crash(Side::Primary);
        self.recover(Side::Primary)
    }

    /// Makes the primary read-only, while it continues to run with all its sessions, and promotes the standby; blocks.
    ///
    /// # Errors
    /// When a server refuses.
    pub fn fail_over(&self) -> anyhow::Result<()> {
        self.demote()?;
        self.catch_up()?;
        self.promote()
    }

    /// Makes the primary read-only, while it continues to run with all its sessions; blocks.
    ///
    /// # Errors
    /// When the primary refuses.
    pub fn demote(&self) -> anyhow::Result<()> {
        self.set("default_transaction_read_only", "on")
    }

    /// Promotes the standby to primary once it has replayed everything it has received; blocks.
    ///
    /// # Errors
    /// When the promotion fails.
    pub fn promote(&self) -> anyhow::Result<()> {
        let promoted = self.number(
            Side::Standby,
            "SELECT CAST(CAST(pg_promote() AS INT) AS BIGINT) AS value",
        )?;
        anyhow::ensure!(promoted == 1, "the standby was not promoted in time");
        Ok(())
    }

    /// Ends the primary's writing sessions, as a failover does: after [`Self::promote`] nothing confirms their commits,
    /// which would wait forever; blocks.
    ///
    /// # Errors
    /// When such sessions remain.
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
