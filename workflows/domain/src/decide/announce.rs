//! How a walk records transitions, and up to which time each kind is then covered, so that it is announced once.

use super::walk::Walk;
use crate::time::{MINUTE, Timestamp};
use crate::transition::{Transition, TransitionKind};
use std::time::Duration;

/// Two reports that switch auto-renewal the same way are of one act if they are at most ten minutes apart; else a report
/// of the opposite was lost between them. A cancellation this close to a switch-off is one act with it.
pub(crate) const REPEATED_WITHIN: Duration = MINUTE.saturating_mul(10);

impl Walk<'_> {
    /// Announces a transition that a report of `time` names.
    pub fn announce(&mut self, transition: TransitionKind, time: Timestamp) {
        self.push(transition, Some(time));
        self.announced.cover(transition, time);
    }

    /// Announces a transition that must have happened although no report names it. `at` is its time, if known: a date
    /// later than the settling, such as that of a renewal that was paid early, is moved there.
    pub fn announce_unreported(&mut self, transition: TransitionKind, at: Option<Timestamp>) {
        self.push(transition, at.map(|at| at.min(self.now)));
        self.announced.cover(transition, self.clock);
    }

    /// Dates what has no date: it happened by the time of what follows it.
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

    /// Whether a report of `time` is about a transition that was announced already.
    pub fn is_covered(&self, transition: TransitionKind, time: Timestamp) -> bool {
        self.announced.covered(transition) >= Some(time)
    }

    /// Whether a report of `time` repeats one that was announced at most ten minutes before.
    pub fn is_repeated(&self, transition: TransitionKind, time: Timestamp) -> bool {
        self.announced
            .covered(transition)
            .is_some_and(|announced| time.since(announced) <= REPEATED_WITHIN)
    }
}
