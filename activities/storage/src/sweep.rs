//! What is overdue, so that storage alone can rebuild every workflow.
//!
//! Each question walks an index over what is open or pending, from its oldest end. Nothing here
//! grows with purchases that sleep.

use crate::connection::AnyConnection;
use crate::statement::{Statement, row, sql};
use crate::{Error, Store};
use domain::{CollapseKey, Timestamp};
use std::collections::HashSet;

/// A workflow may be so late with a window before the sweep looks after it.
const UNSETTLED_GRACE_MS: i64 = 15_000;
/// A lane may be so late with an attempt.
const LANE_GRACE_MS: i64 = 45_000;

/// A purchase that should be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The purchase.
    pub collapse_key: CollapseKey,
    /// `unsettled`, `lane` or `wake`.
    pub why: &'static str,
}

row! {
    struct Key {
        collapse_key: CollapseKey,
    }
}

/// The newest open row of a purchase is past its window: nobody restarts it any more.
const PAST_WINDOW: &str = "SELECT n.collapse_key FROM notifications n \
     WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.due_at < ? \
     AND NOT EXISTS (SELECT 1 FROM notifications m WHERE m.collapse_key = n.collapse_key \
     AND m.outcome IS NULL AND m.waiting_topic_id IS NULL AND m.seq + 0 > n.seq) \
     AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key AND p.held_until > ?) \
     ORDER BY n.due_at LIMIT ?";

/// An open row is past the longest wait of its platform.
const PAST_CAP: &str = "SELECT DISTINCT n.collapse_key FROM notifications n \
     WHERE n.outcome IS NULL AND n.waiting_topic_id IS NULL AND n.cap_at IS NOT NULL AND n.cap_at < ? \
     AND NOT EXISTS (SELECT 1 FROM purchases p WHERE p.collapse_key = n.collapse_key AND p.held_until > ?) LIMIT ?";

/// A pending delivery is past its time and nobody has its lane. `CROSS JOIN` so that SQLite goes from
/// the few destinations to what each is owed.
const LATE_LANES: &str = "SELECT DISTINCT d.collapse_key FROM destinations x CROSS JOIN deliveries d \
     WHERE x.enabled AND x.deleted_at IS NULL AND d.destination_id = x.id AND d.status = 'pending' \
     AND d.next_due_at < ? AND NOT EXISTS (SELECT 1 FROM lanes l WHERE l.destination_id = d.destination_id \
     AND l.collapse_key = d.collapse_key AND l.lease_until > ?) LIMIT ?";

/// A purchase asked to be looked at again.
const PAST_WAKE: &str = "SELECT collapse_key FROM purchases WHERE next_wake_at IS NOT NULL AND next_wake_at <= ? \
     AND (held_until IS NULL OR held_until <= ?) ORDER BY next_wake_at LIMIT ?";

impl Store {
    /// At most `limit` purchases with overdue rows, overdue deliveries or a past wake.
    pub async fn due(&self, limit: i64) -> Result<Vec<Due>, Error> {
        let clock = self.clock;
        self.read(move |connection| {
            let now = connection.now(clock)?;
            let found = [
                find(connection, PAST_WINDOW, "unsettled", (now.plus_millis(-UNSETTLED_GRACE_MS), now, limit))?,
                find(connection, PAST_CAP, "unsettled", (now.plus_millis(-UNSETTLED_GRACE_MS), now, limit))?,
                find(connection, LATE_LANES, "lane", (now.plus_millis(-LANE_GRACE_MS), now, limit))?,
                find(connection, PAST_WAKE, "wake", (now, now, limit))?,
            ];
            Ok(in_turn(found, usize::try_from(limit).unwrap_or(0)))
        })
        .await
    }
}

fn find(
    connection: &mut AnyConnection,
    question: &'static str,
    why: &'static str,
    (before, now, limit): (Timestamp, Timestamp, i64),
) -> Result<Vec<Due>, Error> {
    let question: Statement<'_> = sql(question).bind(before).bind(now).bind(limit);
    let keys: Vec<Key> = question.all(connection)?;
    Ok(keys.into_iter().map(|key| Due { collapse_key: key.collapse_key, why }).collect())
}

/// Takes from each list in turn, each purchase once, so that no list starves another.
fn in_turn<const N: usize>(lists: [Vec<Due>; N], limit: usize) -> Vec<Due> {
    let longest = lists.iter().map(Vec::len).max().unwrap_or(0);
    let mut seen = HashSet::new();
    (0..longest)
        .flat_map(|index| lists.iter().filter_map(move |list| list.get(index)))
        .filter(|due| seen.insert(due.collapse_key))
        .take(limit)
        .copied()
        .collect()
}
