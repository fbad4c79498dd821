//! How a walk records transitions, and covers them so that each is announced once.

use super::walk::Walk;
use crate::time::{MINUTE, Timestamp};
use crate::transition::{Transition, TransitionKind};
use std::time::Duration;

/// Maximum distance of two reports of one act; beyond that, a report in between was lost.
const ONE_ACT: Duration = MINUTE.saturating_mul(10);

impl Walk<'_> {
    /// Announces what a report of this time names.
    pub fn announce(&mut self, transition: TransitionKind, time: Timestamp) {
        self.push(transition, Some(time));
        self.announced.cover(transition, time);
    }

    /// Announces what must have happened, although no notification reported it.
    pub fn infer(&mut self, transition: TransitionKind, at: Option<Timestamp>) {
        self.push(transition, at);
        self.announced.cover(transition, self.clock);
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
        self.transitions.push(Transition { kind: transition, at, cycle });
    }

    pub fn is_covered(&self, transition: TransitionKind, time: Timestamp) -> bool {
        self.announced.covered(transition) >= Some(time)
    }

    pub fn is_echo(&self, transition: TransitionKind, time: Timestamp) -> bool {
        self.announced.covered(transition).is_some_and(|announced| time.since(announced) <= ONE_ACT)
    }
}
