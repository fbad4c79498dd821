//! How a walk tells what happened, and what it remembers of that.

use super::walk::Walk;
use crate::time::Timestamp;
use crate::transition::{Transition, What};

/// Two words of one act are not further apart; beyond that, a word in between was lost.
const ONE_ACT_MS: i64 = 600_000;

impl Walk<'_> {
    /// Tells what happened at a time.
    pub fn say(&mut self, what: What, time: Timestamp) {
        self.tell(what, Some(time));
        self.said.cover(what, time);
    }

    /// Tells what must have happened, though no word said so.
    pub fn infer(&mut self, what: What, at: Option<Timestamp>) {
        self.tell(what, at);
        self.said.cover(what, self.clock);
    }

    fn tell(&mut self, what: What, at: Option<Timestamp>) {
        match what {
            What::Expired if self.said.has_ended => return,
            What::Expired => self.said.has_ended = true,
            What::Purchased | What::PlanChanged | What::Renewed | What::Recovered | What::TrialConverted => {
                self.said.has_ended = false;
            }
            _ => {}
        }
        let cycle = self.stage.terms.map(|terms| terms.max(1));
        self.transitions.push(Transition { what, at, cycle });
    }

    pub fn is_covered(&self, what: What, time: Timestamp) -> bool {
        self.said.covered(what) >= Some(time)
    }

    pub fn is_echo(&self, what: What, time: Timestamp) -> bool {
        self.said.covered(what).is_some_and(|told| time.millis_since(told) <= ONE_ACT_MS)
    }
}
