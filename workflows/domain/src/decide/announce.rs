//! Records the transitions of a walk, and the time up to which each kind is covered, so that each transition is
//! announced once.

use super::walk::Walk;
use crate::time::{MINUTE, Timestamp};
use crate::transition::{Transition, TransitionKind};
use std::time::Duration;

/// Maximum time between two reports that switch auto-renewal the same way and count as one action. If they are further
/// apart, a report of the opposite switch was lost between them. A cancellation this close to a switch-off counts as
/// the same action.
pub(crate) const REPEATED_WITHIN: Duration = MINUTE.saturating_mul(10);

impl Walk<'_> {
    /// Announces a transition that a report names. `time` is the time of the report.
    pub fn announce(&mut self, transition: TransitionKind, time: Timestamp) {
        self.push(transition, Some(time));
        self.announced.cover(transition, time);
    }

    /// Announces a transition that no report names but that must have happened. `at` is its time, if known. If it is
    /// later than the settling, such as the date of a renewal that was paid early, the time of the settling replaces
    /// it.
    pub fn announce_unreported(&mut self, transition: TransitionKind, at: Option<Timestamp>) {
        self.push(transition, at.map(|at| at.min(self.now)));
        self.announced.cover(transition, self.clock);
    }

    /// Gives each transition without a time the earliest time of those that follow it, since it happened by then.
    pub fn date_by_next(&mut self) {
        let mut next = None;
        for transition in self.transitions.iter_mut().rev() {
            transition.at = transition.at.or(next);
            next = transition.at.min(next.or(transition.at));
        }
    }

    fn push(&mut self, transition: TransitionKind, at: Option<Timestamp>) {
        match transition {
            TransitionKind::Expired if self.announced.is_expired => return,
            TransitionKind::Expired => self.announced.is_expired = true,
            TransitionKind::Purchased
            | TransitionKind::PlanChanged
            | TransitionKind::Renewed
            | TransitionKind::Recovered
            | TransitionKind::TrialConverted => {
                self.announced.is_expired = false;
            }
            _ => {}
        }
        let cycle = self.stage.terms.map(|terms| terms.max(1));
        self.transitions.push(Transition {
            kind: transition,
            at,
            cycle,
        });
    }

    /// Whether a transition of this kind is covered up to `time`, so that a report of that time announces nothing.
    pub fn is_covered(&self, transition: TransitionKind, time: Timestamp) -> bool {
        self.announced.covered(transition) >= Some(time)
    }

    /// Whether a report at `time` repeats one of the same kind that was announced at most ten minutes earlier.
    pub fn is_repeated(&self, transition: TransitionKind, time: Timestamp) -> bool {
        self.announced
            .covered(transition)
            .is_some_and(|announced| time.since(announced) <= REPEATED_WITHIN)
    }
}
