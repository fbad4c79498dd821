//! Reads rows back from the inbox: those that did not fit in memory, and at the start all rows without an outcome.

use super::Shared;
use super::plan::UnsentSignal;
use domain::time::millis;
use std::sync::Arc;
use std::time::Duration;
use storage::{Store, chain};
use tokio::time::sleep;

/// Maximum number of rows of one read.
const PAGE: usize = 500;
/// The pause after the database did not answer.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs until it is aborted.
pub(super) async fn run(shared: Arc<Shared>, store: Store) {
    loop {
        let missed = shared.plan().missed_from();
        match missed {
            Some(from) => pass(&shared, &store, from.saturating_sub(1)).await,
            None => shared.room_freed.notified().await,
        }
    }
}

/// Reads the inbox from above `cursor` to its end, page by page, as soon as memory has room.
async fn pass(shared: &Shared, store: &Store, mut cursor: i64) {
    loop {
        let limit = wait_for_room(shared).await;
        shared.plan().about_to_read(cursor);
        let page = match store.open_after(cursor, limit).await {
            Ok(page) => page,
            Err(error) => {
                shared.plan().mark_missed_from(cursor.saturating_add(1));
                tracing::warn!(error = chain(&error), "the inbox could not be read for signals; it is tried again");
                sleep(PAUSE).await;
                return;
            }
        };
        let Some(last) = page.last() else { return };
        cursor = last.seq;
        for row in page {
            let (quiet_ms, cap_ms) = (millis(row.quiet), row.cap.map(millis));
            shared.notify(UnsentSignal { key: row.collapse_key, seq: row.seq, quiet_ms, cap_ms });
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
