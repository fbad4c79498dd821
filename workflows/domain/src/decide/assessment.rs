//! The state of a purchase according to its store's answer and to the reports that the answer may not show yet.

use crate::purchase::{Behind, Moment, Purchase, Stage, Unconfirmed};
use crate::time::Timestamp;
use crate::verification::Snapshot;

/// Input of an assessment: the store's answer in one settling, and the notifications known by then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evidence<'a> {
    pub before: &'a Purchase,
    /// The purchase with the notifications and the answer of this settling.
    pub after: &'a Purchase,
    /// The reports of this settling that are newer than all reports that were settled before.
    pub fresh: &'a [Moment],
    /// The other new reports of this settling: a newer one was settled before them.
    pub late: &'a [Moment],
    /// The snapshot; `None` if the store answered that the receipt is no longer valid.
    pub snapshot: Option<&'a Snapshot>,
    pub at: Timestamp,
}

/// The state of a purchase according to the store's answer and the newest notifications.
#[derive(Debug, Clone)]
pub(crate) struct Assessment {
    pub stage: Stage,
    /// The number of paid terms that the answer alone shows.
    pub shown_terms: Option<u64>,
    /// The notification, or the incomplete change, that the answer contradicts.
    pub behind: Option<Behind>,
    /// The parts of `stage` that only notifications show.
    pub unconfirmed: Unconfirmed,
    /// The time of the first snapshot that showed the incomplete change; `None` if the answer shows none.
    pub incomplete_since: Option<Timestamp>,
}

impl Assessment {
    /// Returns the assessment whose stage is the one that the answer shows.
    pub fn exact(shown: Stage) -> Self {
        Self {
            shown_terms: shown.terms,
            stage: shown,
            behind: None,
            unconfirmed: Unconfirmed::default(),
            incomplete_since: None,
        }
    }
}
