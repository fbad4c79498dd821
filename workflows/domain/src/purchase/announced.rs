//! What events have already announced, so that nothing is announced twice.

use super::reports::Moment;
use crate::time::Timestamp;
use crate::transition::TransitionKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Announced {
    /// The time up to which each transition is covered: that of the report that announced it, or of the snapshot that
    /// showed it. A report of that time or earlier is about a transition that was already announced.
    pub through: BTreeMap<TransitionKind, Timestamp>,
    /// The newest settled report. An older report that arrives later is not walked: it is announced only if the
    /// difference between stages shows it.
    pub newest: Option<Moment>,
    /// Transitions that happened before the purchase was first seen and were not announced. A later report that names
    /// one announces it.
    pub unannounced: BTreeSet<TransitionKind>,
    /// Whether the end was announced, and no beginning or payment since then.
    pub is_expired: bool,
    /// Whether reports were settled since the store's last answer.
    pub is_unverified: bool,
}

impl Announced {
    /// Returns the time up to which `transition` is covered.
    pub fn covered(&self, transition: TransitionKind) -> Option<Timestamp> {
        self.through.get(&transition).copied()
    }

    /// Returns the latest time up to which one of these transitions is covered.
    pub fn last_covered(&self, transitions: &[TransitionKind]) -> Option<Timestamp> {
        transitions
            .iter()
            .filter_map(|transition| self.covered(*transition))
            .max()
    }

    /// Covers `transition` up to `time`. A pause needs no cover: the state shows it, and earlier releases do not read it.
    pub fn cover(&mut self, transition: TransitionKind, time: Timestamp) {
        if transition == TransitionKind::Paused {
            return;
        }
        let through = self.through.entry(transition).or_insert(time);
        *through = (*through).max(time);
    }
}
