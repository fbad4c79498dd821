//! Finds out from the audit log which apps changed. An entry gets its sequence number before its transaction commits,
//! so a lower number may become visible later. Therefore recent entries are read again, and those already seen are
//! skipped.

use domain::AppId;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use storage::AuditedChange;
use tokio::time::Instant;

/// Maximum time after which an entry can become visible after a later one: longer than the longest transaction of a
/// change.
const OVERLAP: Duration = Duration::from_secs(120);
/// Number of entries before the newest that are read again after the start, because their age is unknown.
const AT_START: i64 = 1000;
/// Maximum number of entries that are read at once. If there are more, everything counts as changed.
pub const MOST: i64 = 10_000;

/// Prefixes of operations that invalidate a platform, its keys or its topics.
const OUTDATING: [&str; 3] = ["app.", "platform.", "topic."];

/// Changes since the last read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    Apps(BTreeSet<AppId>),
    All,
}

#[derive(Debug)]
pub struct Feed {
    /// The newest sequence number at several times, oldest first. The first one is old enough that no earlier entry can
    /// still appear.
    newest: VecDeque<(Instant, i64)>,
    /// Entries after the first of these numbers that have been seen.
    seen: BTreeSet<i64>,
}

impl Feed {
    /// Creates a feed of changes from now on. `newest` is the number of the newest entry.
    pub fn new(newest: i64, now: Instant) -> Self {
        Self {
            newest: VecDeque::from([(now, newest.saturating_sub(AT_START))]),
            seen: BTreeSet::new(),
        }
    }

    /// Returns the number after which entries must be read.
    pub fn after(&self) -> i64 {
        self.newest.front().map_or(0, |(_, seq)| *seq)
    }

    /// Returns the changes in `entries`, which are those after [`Feed::after`], read at `now`.
    pub fn take(&mut self, entries: &[AuditedChange], now: Instant) -> Changed {
        let newest = entries
            .iter()
            .map(|entry| entry.seq)
            .max()
            .unwrap_or(0)
            .max(self.after());
        if i64::try_from(entries.len()).is_ok_and(|count| count >= MOST) {
            *self = Self::new(newest, now);
            return Changed::All;
        }
        let new = entries.iter().filter(|entry| self.seen.insert(entry.seq));
        let outdating = new.filter(|entry| {
            OUTDATING
                .iter()
                .any(|begin| entry.operation.starts_with(begin))
        });
        let apps = outdating.filter_map(|entry| entry.app_id).collect();
        self.newest.push_back((now, newest));
        while self
            .newest
            .get(1)
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= OVERLAP)
        {
            self.newest.pop_front();
        }
        self.seen = self.seen.split_off(&self.after().saturating_add(1));
        Changed::Apps(apps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> AppId {
        AppId::new(uuid::Uuid::from_u128(1))
    }

    fn entry(seq: i64, operation: &str) -> AuditedChange {
        AuditedChange {
            seq,
            operation: operation.to_owned(),
            app_id: Some(app()),
        }
    }

    fn one() -> Changed {
        Changed::Apps(BTreeSet::from([app()]))
    }

    fn none() -> Changed {
        Changed::Apps(BTreeSet::new())
    }

    #[test]
    fn an_entry_counts_once_also_if_a_later_one_was_visible_first() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut feed = Feed::new(5000, start);
        assert_eq!(
            feed.after(),
            4000,
            "what was not committed yet at the start is not missed"
        );
        assert_eq!(feed.take(&[entry(5002, "platform.update")], at(1)), one());
        assert_eq!(feed.take(&[entry(5002, "platform.update")], at(2)), none());
        let both = [entry(5001, "topic.reject"), entry(5002, "platform.update")];
        assert_eq!(feed.take(&both, at(3)), one());
        for second in 4..130 {
            let visible: Vec<_> = both
                .iter()
                .filter(|entry| entry.seq > feed.after())
                .cloned()
                .collect();
            assert_eq!(feed.take(&visible, at(second)), none());
        }
        assert_eq!(feed.after(), 5002, "what is old enough is not read again");
        assert_eq!(
            feed.take(
                &[entry(5003, "customer.erase"), entry(5004, "key.create")],
                at(131)
            ),
            none()
        );
        assert_eq!(feed.take(&[entry(5005, "app.delete")], at(132)), one());
    }

    #[test]
    fn too_many_entries_change_everything() {
        let mut feed = Feed::new(0, Instant::now());
        let entries: Vec<_> = (1..=MOST).map(|seq| entry(seq, "customer.erase")).collect();
        assert_eq!(feed.take(&entries, Instant::now()), Changed::All);
        assert_eq!(feed.after(), MOST - AT_START);
    }
}
