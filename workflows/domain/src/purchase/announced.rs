//! What was already told to the world, so that nothing is told twice.

use super::reports::Moment;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The memory of what was told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Announced {
    /// Up to which time each transition is covered: the time of the word that told it, or of the reading that
    /// showed it. A word of that time or before it speaks of what was told.
    pub through: BTreeMap<TransitionKind, Timestamp>,
    /// The newest word that was settled. Older ones are late: only a difference of states speaks for them.
    pub newest: Option<Moment>,
    /// What holds since the first sight and was never told; the word that names it tells it.
    pub unannounced: BTreeSet<TransitionKind>,
    /// The end was told, and nothing that was paid since.
    pub is_expired: bool,
    /// The last settling had no answer of the store.
    pub is_unverified: bool,
}

impl Announced {
    /// Up to which time `what` is covered.
    pub fn covered(&self, what: TransitionKind) -> Option<Timestamp> {
        self.through.get(&what).copied()
    }

    /// Covers `what` up to `time`.
    pub fn cover(&mut self, what: TransitionKind, time: Timestamp) {
        let through = self.through.entry(what).or_insert(time);
        *through = (*through).max(time);
    }
}
