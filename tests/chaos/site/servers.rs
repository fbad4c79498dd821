//! A round's PostgreSQL: a primary whose commits wait for a standby, and the standby, which takes over once; and the
//! faults of both.

use super::{End, Site};
use crate::plan::{Kind, random};
use crate::snapshot::Snapshot;
use system_tests::postgres::Fsync;
use system_tests::postgres_pair::{Pair, Side};
use tokio::time::Instant;

pub struct Servers {
    pair: Pair,
    /// The server that accepts writes.
    primary: Side,
    /// Whether the former primary continues to run, without accepting writes.
    is_demoted: bool,
}

impl Servers {
    /// Starts both servers; blocks. Returns a URL that names both, in an order that depends on the seed.
    pub fn start(seed: u64) -> anyhow::Result<(Self, String)> {
        let pair = Pair::start(Fsync::On)?;
        pair.confirm()?;
        let first = if random(seed, 200_004).percent(50) {
            Side::Primary
        } else {
            Side::Standby
        };
        let url = pair.url(first);
        Ok((
            Self {
                pair,
                primary: Side::Primary,
                is_demoted: false,
            },
            url,
        ))
    }

    /// Kills the primary.
    pub fn crash(&self) {
        self.pair.crash(self.primary);
    }

    /// Restarts the primary after [`Self::crash`]; blocks.
    pub fn recover(&self) -> anyhow::Result<()> {
        self.pair.recover(self.primary)
    }

    /// Returns the ids of the primary's processes.
    pub fn processes(&self) -> Vec<u32> {
        self.pair.processes(self.primary)
    }

    /// Returns whether the standby can still take over.
    pub fn has_standby(&self) -> bool {
        self.primary == Side::Primary
    }

    /// Kills the primary permanently, or makes it read-only; blocks. Nothing accepts writes until [`Self::promote`].
    pub fn demote(&mut self, is_killed: bool) -> anyhow::Result<()> {
        self.is_demoted = !is_killed;
        if is_killed {
            self.pair.crash(Side::Primary);
            return Ok(());
        }
        self.pair.demote()
    }

    /// Promotes the standby, which has everything that was committed; blocks.
    pub fn promote(&mut self) -> anyhow::Result<()> {
        self.primary = Side::Standby;
        if !self.is_demoted {
            return self.pair.promote();
        }
        self.pair.catch_up()?;
        self.pair.promote()?;
        self.pair.end_writers()
    }
}

impl Site {
    pub(super) fn kill_database(&mut self, over: Instant) -> bool {
        let Some(servers) = self.servers.as_ref().filter(|_| self.is_database_up) else {
            return false;
        };
        servers.crash();
        self.is_database_up = false;
        self.queue(over, Kind::DatabaseKilled, End::Database);
        true
    }

    /// Makes the primary stop accepting writes. At `over`, the standby takes over.
    pub(super) fn demote(&mut self, over: Instant, is_killed: bool) -> bool {
        let servers = self
            .servers
            .as_mut()
            .filter(|servers| self.is_database_up && servers.has_standby());
        let Some(servers) = servers else { return false };
        tokio::task::block_in_place(|| servers.demote(is_killed))
            .expect("a primary that is demoted");
        self.is_database_up = false;
        self.queue(over, Kind::FailedOver, End::FailOver);
        true
    }

    /// Records that PostgreSQL is available again, and restarts what its outage ended.
    pub(super) fn find_database(&mut self) {
        (self.is_database_up, self.outage_over) = (true, Some(Instant::now()));
        let database = self.world.installation.database();
        for queued in &mut self.ends {
            if let End::Snapshot(held) = &mut queued.end {
                *held = tokio::task::block_in_place(|| Snapshot::hold(database))
                    .ok()
                    .map(Box::new);
            }
        }
    }

    pub(super) fn hold_snapshot(&mut self, over: Instant) -> bool {
        let database = self.world.installation.database();
        let held = tokio::task::block_in_place(|| Snapshot::hold(database))
            .ok()
            .map(Box::new);
        self.queue(over, Kind::Snapshot, End::Snapshot(held));
        true
    }
}
