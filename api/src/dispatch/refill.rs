//! Reads rows back from the inbox: those that did not fit in memory and, at startup or after Temporal was emptied, the
//! newest ones without an outcome.
//!
//! It is not stored which purchases the previous process signalled, so a restart repeats signals, which is harmless.
//! The cost is limited: one signal for each purchase, only while no other signal is due, and only for the newest
//! [`START_LIMIT`] purchases. The sweep signals older ones once they are overdue.

use super::Shared;
use super::plan::UnsentSignal;
use domain::Timestamp;
use domain::time::millis;
use std::sync::Arc;
use std::time::Duration;
use storage::{Open, Store, chain};
use tokio::time::{Instant, sleep, timeout};

/// Maximum number of purchases that are signalled at startup.
const START_LIMIT: usize = 10_000;
/// Maximum number of rows in one read.
const PAGE: usize = 500;
/// Pause after the database did not respond.
const PAUSE: Duration = Duration::from_secs(1);
/// Time between two checks whether Temporal was emptied, which the sweep detects and records.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Detects that Temporal was emptied while this process was running.
#[derive(Default)]
struct Losses {
    /// When Temporal was last emptied; `None` before the first check.
    last: Option<Option<Timestamp>>,
    checked_at: Option<Instant>,
}

impl Losses {
    /// Returns whether Temporal was emptied since the last call. Checks at most once in [`CHECK_INTERVAL`].
    async fn is_new(&mut self, store: &Store) -> bool {
        if self
            .checked_at
            .is_some_and(|at| at.elapsed() < CHECK_INTERVAL)
        {
            return false;
        }
        self.checked_at = Some(Instant::now());
        match store.last_sweep().await {
            Ok(sweep) => self
                .last
                .replace(sweep.emptied_at)
                .is_some_and(|last| last != sweep.emptied_at),
            Err(error) => {
                tracing::debug!(
                    error = chain(&error),
                    "whether Temporal was emptied is not known; checked again soon"
                );
                false
            }
        }
    }
}

/// Progress of reading the inbox at startup, from its newest row backwards.
struct StartPass {
    /// Rows below this sequence number remain to be read; `None` once all or enough rows were read.
    before: Option<i64>,
    /// Number of purchases that may still be signalled.
    left: usize,
}

impl StartPass {
    const fn new() -> Self {
        Self {
            before: Some(i64::MAX),
            left: START_LIMIT,
        }
    }

    /// Returns where to read next, and how many rows. `None` while memory has no room, and at the end.
    fn next(&self, shared: &Shared) -> Option<(i64, usize)> {
        let limit = shared.plan().backlog_room().min(PAGE).min(self.left);
        self.before
            .filter(|_| limit > 0)
            .map(|before| (before, limit))
    }

    async fn read(&mut self, shared: &Shared, store: &Store, before: i64, limit: usize) {
        match store
            .newest_open_before(before, i64::try_from(limit).unwrap_or(i64::MAX))
            .await
        {
            Ok(page) => {
                self.before = page.last().map(|last| last.seq);
                self.left = self.left.saturating_sub(page.len());
                for row in page {
                    shared.add_to_backlog(unsent(row));
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "the inbox could not be read at the start; it is tried again"
                );
                sleep(PAUSE).await;
            }
        }
    }
}

pub(super) async fn run(shared: Arc<Shared>, store: Store) {
    let (mut start_pass, mut losses) = (StartPass::new(), Losses::default());
    loop {
        if losses.is_new(&store).await {
            shared.plan().forget_sent();
            start_pass = StartPass::new();
        }
        let missed = shared.plan().missed_from();
        if let Some(from) = missed {
            pass(&shared, &store, from.saturating_sub(1)).await;
        } else if let Some((before, limit)) = start_pass.next(&shared) {
            start_pass.read(&shared, &store, before, limit).await;
        } else {
            _ = timeout(CHECK_INTERVAL, shared.room_freed.notified()).await;
        }
    }
}

/// Reads the inbox from above `cursor` to its end, page by page, whenever memory has room.
async fn pass(shared: &Shared, store: &Store, mut cursor: i64) {
    loop {
        let limit = wait_for_room(shared).await;
        shared.plan().about_to_read(cursor);
        let page = match store.open_after(cursor, limit).await {
            Ok(page) => page,
            Err(error) => {
                shared.plan().mark_missed_from(cursor.saturating_add(1));
                tracing::warn!(
                    error = chain(&error),
                    "the inbox could not be read for signals; it is tried again"
                );
                sleep(PAUSE).await;
                return;
            }
        };
        let Some(last) = page.last() else { return };
        cursor = last.seq;
        for row in page {
            shared.notify_again(unsent(row));
        }
    }
}

/// Waits until memory has room. Returns the number of rows to read.
async fn wait_for_room(shared: &Shared) -> i64 {
    loop {
        let room = shared.plan().room().min(PAGE);
        if room > 0 {
            return i64::try_from(room).unwrap_or(i64::MAX);
        }
        shared.room_freed.notified().await;
    }
}

fn unsent(row: Open) -> UnsentSignal {
    let (quiet_ms, cap_ms) = (millis(row.quiet), row.cap.map(millis));
    UnsentSignal {
        key: row.collapse_key,
        seq: row.seq,
        quiet_ms,
        cap_ms,
        trace: row.trace,
    }
}
