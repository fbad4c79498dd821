//! The sequences of events that part 4.3 of the facts allows.

use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Life {
    #[default]
    Unknown,
    Running,
    Over,
}

/// The state of a subscription as a consumer of the events knows it.
#[derive(Debug, Default)]
pub struct Sequence {
    life: Life,
    in_trial: bool,
    /// Whether a trial was upgraded, so that the next payment may or may not convert one.
    may_be_trial: bool,
    is_off: bool,
    may_be_off: bool,
    in_grace: bool,
    /// Whether its beginning may still be announced although it runs.
    may_begin: bool,
    /// What must follow at once.
    next: &'static [&'static str],
    counts: BTreeMap<String, usize>,
}

impl Sequence {
    /// Takes up an event. Returns whether it may follow.
    pub fn follow(&mut self, event: &str) -> bool {
        *self.counts.entry(event.to_owned()).or_default() += 1;
        let is_next = self.next.is_empty() || self.next.contains(&event);
        self.next = &[];
        if self.life == Life::Unknown && !["journey.trial.started", "purchased"].contains(&event) {
            // It is first seen behind its beginning, which may be announced later.
            self.life = Life::Running;
            self.may_begin = true;
            self.may_be_trial = true;
            self.may_be_off = true;
        }
        is_next && self.apply(event)
    }

    fn apply(&mut self, event: &str) -> bool {
        let runs = self.life == Life::Running;
        match event {
            "journey.trial.started" => {
                self.in_trial = true;
                self.may_be_trial = false;
                self.next = &["purchased"];
                !runs || self.may_begin
            }
            "purchased" => {
                self.life = Life::Running;
                self.is_off &= self.may_begin;
                self.in_grace &= self.may_begin;
                !runs || std::mem::take(&mut self.may_begin)
            }
            "journey.trial.converted" => {
                self.next = &["renewed", "renewal_in_grace_period"];
                (std::mem::take(&mut self.in_trial) || std::mem::take(&mut self.may_be_trial))
                    && runs
            }
            "renewed" => {
                // Behind a refund, renewal may be on.
                let is_allowed = self.life != Life::Unknown && !self.in_trial;
                self.life = Life::Running;
                self.in_grace = false;
                is_allowed
            }
            "renewal_in_grace_period" => {
                std::mem::take(&mut self.in_grace) && runs && !self.in_trial
            }
            "in_grace_period" => !std::mem::replace(&mut self.in_grace, true) && runs,
            "cancelled" => {
                self.may_be_off = false;
                !std::mem::replace(&mut self.is_off, true) && runs
            }
            "resumed" => {
                let was_off = std::mem::take(&mut self.is_off);
                let is_reversed = self.life == Life::Over;
                // Renewal may be off behind the reversal of a refund.
                let is_allowed = is_reversed || was_off || self.may_be_off;
                self.may_be_off = is_reversed;
                self.life = Life::Running;
                is_allowed
            }
            "sku_change" => {
                self.in_grace = false;
                self.may_be_trial |= std::mem::take(&mut self.in_trial);
                runs
            }
            "pending_sku_change" => runs,
            "journey.trial.did_not_convert" => {
                self.next = &["expired"];
                (std::mem::take(&mut self.in_trial) || std::mem::take(&mut self.may_be_trial))
                    && runs
            }
            "expired" => {
                self.life = Life::Over;
                self.is_off = false;
                self.may_be_off = false;
                self.may_be_trial = false;
                self.in_trial = false;
                self.in_grace = false;
                runs
            }
            _ => false,
        }
    }

    /// The number of each event.
    pub const fn counts(&self) -> &BTreeMap<String, usize> {
        &self.counts
    }
}
