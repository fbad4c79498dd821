//! Overdue purchases: how the sweep finds and records them, and when it wakes them again.

use const_format::formatcp;
use domain::time::MINUTE;
use domain::{CollapseKey, Timestamp};
use std::collections::HashSet;
use std::time::Duration;

/// Number of consecutive wakes without a following settling after which the purchase's run is ended.
pub const MAX_UNFOLLOWED: i64 = 3;
/// Time until a purchase that did not settle after its first wake is woken again; it doubles with each further wake.
pub const FIRST_BACKOFF: Duration = MINUTE;
/// Number of doublings: the longest time is about an hour.
const DOUBLINGS: i64 = 6;

/// SQL for the back-off after another wake, in microseconds, from `wakes`, the number of earlier wakes without a
/// settling.
pub const BACKOFF: &str = formatcp!(
    "CAST({} AS BIGINT) << CAST(CASE WHEN wakes > {DOUBLINGS} THEN {DOUBLINGS} ELSE wakes END AS INTEGER)",
    FIRST_BACKOFF.as_micros()
);

/// Maximum numbers of purchases that one sweep finds.
#[derive(Debug, Clone, Copy)]
pub struct Quota {
    /// Limit per platform whose store is queried, for the calendar and changes of settings.
    pub per_store: i64,
    /// Limit per platform whose store is queried for purchases that have not settled although they were woken within
    /// the last minute, or although their postponed query is due. At this limit, the platform's changes of settings and
    /// its calendar wait.
    pub unfollowed: i64,
    /// Limit for each other category; a fifth of it for ended windows while the engine is only late.
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
    /// The purchases to wake, those for which a person waits first.
    pub found: Vec<Due>,
    /// Purchases that did not settle after several wakes: their runs may make no progress.
    pub unfollowed: Vec<CollapseKey>,
    /// Purchases that must not be woken before a time.
    pub postponed: Vec<Postponed>,
    /// Whether more may be due than are in `found`.
    pub more: bool,
    /// When this was read, by the database's clock.
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
    /// Returns the name in metrics and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unsettled => "unsettled",
            Self::Wake => "wake",
        }
    }
}

/// An overdue purchase that the sweep must not wake before a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Postponed {
    pub due: Due,
    pub until: Timestamp,
}

/// The sweep's action for a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepAction {
    Wake {
        /// Number of consecutive wakes that no settling followed.
        unfollowed: i64,
    },
    /// Do nothing until this time.
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

    /// Adds the purchases of a category; a purchase that is already in the list is not added again.
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

    /// Returns the number of purchases to wake whose window ended without a settling.
    pub fn missed(&self) -> usize {
        Self::of(DueReason::Unsettled, &self.found).count()
    }

    /// Returns those of the woken purchases that are in a category.
    pub fn of(why: DueReason, woken: &[Due]) -> impl Iterator<Item = CollapseKey> {
        woken
            .iter()
            .filter(move |due| due.why == why)
            .map(|due| due.collapse_key)
    }

    /// Returns the postponed purchases of a category, each with its time.
    pub fn postponed(&self, why: DueReason) -> impl Iterator<Item = (CollapseKey, Timestamp)> {
        let of_it = self
            .postponed
            .iter()
            .filter(move |postponed| postponed.due.why == why);
        of_it.map(|postponed| (postponed.due.collapse_key, postponed.until))
    }
}
