//! Overdue purchases: how the sweep finds and records them, and how their wakes are repeated.

use const_format::formatcp;
use domain::time::MINUTE;
use domain::{CollapseKey, Timestamp};
use std::collections::HashSet;
use std::time::Duration;

/// Number of wakes in a row that no settling followed, after which the purchase's run is ended.
pub const MAX_UNFOLLOWED: i64 = 3;
/// Time until a purchase is woken again that did not follow its first wake; it doubles with each further wake.
pub const FIRST_BACKOFF: Duration = MINUTE;
/// Number of doublings: the longest time is about an hour.
const DOUBLINGS: i64 = 6;

/// The back-off after another wake, in microseconds, by the number of `wakes` that were not followed before it.
pub const BACKOFF: &str = formatcp!(
    "CAST({} AS BIGINT) << CAST(CASE WHEN wakes > {DOUBLINGS} THEN {DOUBLINGS} ELSE wakes END AS INTEGER)",
    FIRST_BACKOFF.as_micros()
);

/// Maximum numbers of purchases that are found at once.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Limit per platform whose store is queried, for the calendar and changes of settings.
    pub per_store: i64,
    /// Of each platform whose store is queried: those that were woken within the last minute, or whose query that was
    /// put off is due, and that did not settle yet. While there are so many, its changes of settings and its calendar wait.
    pub unfollowed: i64,
    /// Limit for each other category; a fifth of it for windows that ended, while the engine is only late.
    pub others: i64,
}

impl Quota {
    pub const fn of(limit: i64) -> Self {
        Self {
            per_store: limit,
            unfollowed: i64::MAX,
            others: limit,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overdue {
    /// The purchases to wake; those that a person waits for first.
    pub found: Vec<Due>,
    /// Purchases that did not follow several wakes: their runs may make no progress.
    pub unfollowed: Vec<CollapseKey>,
    /// Purchases that must not be woken before a time.
    pub postponed: Vec<Postponed>,
    /// Whether more may be due than are in `found`.
    pub more: bool,
    /// The time of the reading, by the database's clock.
    pub at: Timestamp,
}

/// A purchase that should be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub collapse_key: CollapseKey,
    pub why: DueReason,
}

/// Why a purchase should be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueReason {
    /// A window ended, and no settling followed.
    Unsettled,
    /// The next wake is due.
    Wake,
}

impl DueReason {
    /// The name in metrics and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsettled => "unsettled",
            Self::Wake => "wake",
        }
    }
}

/// A purchase that is past its time, and that the sweep must leave alone until another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postponed {
    pub due: Due,
    pub until: Timestamp,
}

/// The sweep's action for a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepAction {
    Wake {
        /// Number of wakes in a row that were not followed.
        unfollowed: i64,
    },
    /// Left alone until this time.
    Postpone(Timestamp),
}

#[derive(Debug, Default)]
pub struct OverduePage {
    pub all: Vec<(CollapseKey, SweepAction)>,
    pub more: bool,
}

impl Overdue {
    pub const fn new(at: Timestamp) -> Self {
        Self {
            found: Vec::new(),
            unfollowed: Vec::new(),
            postponed: Vec::new(),
            more: false,
            at,
        }
    }

    /// Adds a category, each purchase once.
    pub fn add(&mut self, why: DueReason, category: OverduePage) {
        let mut seen: HashSet<CollapseKey> =
            self.found.iter().map(|due| due.collapse_key).collect();
        self.more |= category.more;
        for (collapse_key, next) in category.all {
            let due = Due { collapse_key, why };
            match next {
                SweepAction::Postpone(until) => self.postponed.push(Postponed { due, until }),
                SweepAction::Wake { unfollowed } if seen.insert(collapse_key) => {
                    self.found.push(due);
                    if unfollowed >= MAX_UNFOLLOWED {
                        self.unfollowed.push(collapse_key);
                    }
                }
                SweepAction::Wake { .. } => {}
            }
        }
    }

    /// Number of the purchases to wake whose window ended without a settling.
    pub fn missed(&self) -> usize {
        Self::of(DueReason::Unsettled, &self.found).count()
    }

    /// The purchases of a category that were woken.
    pub fn of(why: DueReason, woken: &[Due]) -> impl Iterator<Item = CollapseKey> {
        woken
            .iter()
            .filter(move |due| due.why == why)
            .map(|due| due.collapse_key)
    }

    /// The purchases of a category that are postponed, each with its time.
    pub fn postponed(&self, why: DueReason) -> impl Iterator<Item = (CollapseKey, Timestamp)> {
        let of_it = self
            .postponed
            .iter()
            .filter(move |postponed| postponed.due.why == why);
        of_it.map(|postponed| (postponed.due.collapse_key, postponed.until))
    }
}
