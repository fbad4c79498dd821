//! The way from the stage that was last told, word by word, to the present.
//!
//! A word tells the transition that it names, unless that was told before: each transition is covered up to the
//! time of the word that told it or of the reading that showed it, and a renewal belongs to a term.

use super::Words;
use crate::notification::Kind;
use crate::purchase::{Life, Moment, Purchase, Said, Stage, Terms};
use crate::time::Timestamp;
use crate::transition::{Transition, What};

/// One walk.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    /// What is known, with the words and the reading of this settling.
    pub known: &'a Purchase,
    /// Where the store says it stands.
    pub truth: Option<Stage>,
    pub calendar: Option<Terms>,
    /// The words that are walked, and those that came too late for it.
    words: Vec<Moment>,
    pub late: Vec<Moment>,
    /// Up to which time a transition is covered that no word told.
    pub clock: Timestamp,
    pub stage: Stage,
    pub said: Said,
    pub transitions: Vec<Transition>,
    /// How many renewals were counted, since only so many are told.
    pub renewals: u64,
}

impl<'a> Walk<'a> {
    pub fn new(known: &'a Purchase, words: &Words, truth: Option<Stage>) -> Self {
        let newest = words.fresh.last().map(|(time, _)| *time);
        let clock = if truth.is_some() { known.answered_at() } else { newest };
        Self {
            known,
            calendar: known.calendar(),
            words: words.fresh.clone(),
            late: words.late.clone(),
            clock: clock.or_else(|| known.said.newest.map(|(time, _)| time)).unwrap_or_default(),
            stage: known.stage.clone(),
            said: known.said.clone(),
            truth,
            transitions: Vec::new(),
            renewals: 0,
        }
    }

    /// The words since the store answered last, walked anew.
    pub fn again(known: &'a Purchase) -> Self {
        let verified = known.verified.clone().unwrap_or_default();
        let fresh = known.words_after(verified.said.newest);
        let walk = Self::new(known, &Words { fresh, late: Vec::new() }, None);
        Self { stage: verified.stage, said: verified.said, ..walk }
    }

    /// Walks all words.
    pub fn follow(&mut self) {
        let words = std::mem::take(&mut self.words);
        let now = self.clock;
        let mut rest = words.as_slice();
        while let Some(((time, kind), ahead)) = rest.split_first() {
            self.clock = *time;
            self.keep_pace(*time, rest);
            self.word(*time, *kind, ahead);
            rest = ahead;
        }
        self.clock = now;
    }

    fn word(&mut self, time: Timestamp, kind: Kind, ahead: &[Moment]) {
        let is_new = self.stage.is_unknown();
        if !self.concerns(kind) {
            return;
        }
        match kind {
            Kind::SubscriptionPurchased
            | Kind::PlanChanged
            | Kind::ConsumablePurchased
            | Kind::EntitlementPurchased => {
                self.begin(time, kind);
            }
            Kind::ConsumableCancelled | Kind::EntitlementCancelled => self.take_back(),
            Kind::SubscriptionCancelled | Kind::Expired => self.end(time, kind, ahead),
            Kind::Adopted => self.adopt(),
            Kind::Replaced if self.truth.is_none() => self.stage.life = Life::Replaced,
            Kind::ScheduledToEnd if is_new && self.truth.is_none() => {
                self.appear();
                self.stage.is_off = true;
            }
            Kind::Replaced | Kind::Unknown => {}
            _ if is_new => self.first(time, kind),
            Kind::TrialConverted | Kind::Renewed | Kind::GraceEnded => self.paid(time, kind, ahead),
            Kind::PlanChangeScheduled => self.scheduled(time),
            Kind::AutoRenewalOn => self.on(time),
            Kind::AutoRenewalOff | Kind::ScheduledToEnd => self.off(time, kind, ahead),
            Kind::GraceBegan => self.grace(time, ahead),
        }
    }

    /// Tells the payments before this word that the store shows and no word of this settling tells.
    fn keep_pace(&mut self, time: Timestamp, words: &[Moment]) {
        let pays = |(_, kind): &Moment| matches!(kind, Kind::Renewed | Kind::GraceEnded | Kind::TrialConverted);
        if !self.stage.runs() || words.iter().any(pays) {
            return;
        }
        let shown = self.truth.as_ref().and_then(|truth| truth.terms);
        let (Some(calendar), Some(shown), Some(told)) = (self.calendar, shown, self.stage.terms) else { return };
        let number = calendar.begun(time).min(shown);
        if number > told {
            self.resume_in_time(words);
            self.pay(Some(number), None);
            self.change_plan_in_time();
        }
    }

    /// What does not renew is not paid: it was switched on again, unless the store shows that it still is off.
    pub fn resume_in_time(&mut self, ahead: &[Moment]) {
        let switch = |(_, kind): &&Moment| matches!(kind, Kind::AutoRenewalOn | Kind::AutoRenewalOff);
        let is_on = match ahead.iter().find(switch) {
            Some((_, kind)) => *kind == Kind::AutoRenewalOff,
            None => self.truth.as_ref().is_some_and(|truth| truth.runs() && !truth.is_off),
        };
        if self.truth.is_some() && self.stage.is_off && is_on {
            self.stage.is_off = false;
            if !self.said.untold.remove(&What::Cancelled) {
                self.infer(What::Resumed, None);
            }
        }
    }

    /// The plan changes with the first payment of the term that the store shows.
    pub fn change_plan_in_time(&mut self) {
        let shown = self.truth.as_ref().filter(|truth| truth.terms <= self.stage.terms);
        let sku = shown.and_then(|truth| truth.sku.clone());
        self.change_plan(sku.as_deref());
    }

    /// Whether the word can be said of this kind of product.
    fn concerns(&self, kind: Kind) -> bool {
        match kind {
            Kind::Adopted | Kind::Replaced => true,
            Kind::ConsumablePurchased
            | Kind::EntitlementPurchased
            | Kind::ConsumableCancelled
            | Kind::EntitlementCancelled => self.known.is_one_time(),
            _ => !self.known.is_one_time(),
        }
    }

    pub fn is_over_in_truth(&self) -> bool {
        self.truth.as_ref().is_some_and(Stage::is_over)
    }

    fn runs_in_truth(&self) -> bool {
        self.truth.as_ref().is_some_and(Stage::runs)
    }

    /// A receipt begins: its first word, or it came back after its end.
    fn begin(&mut self, time: Timestamp, kind: Kind) {
        let was_over = matches!(self.stage.life, Life::Cut | Life::Ended | Life::Revoked);
        let is_back = was_over && !self.is_over_in_truth() && !self.is_covered(What::Purchased, time);
        let is_change = kind == Kind::PlanChanged;
        if is_change && !self.stage.is_unknown() {
            if self.said.covered(What::PlanChanged).is_none() && self.stage.life != Life::Replaced {
                self.revive(is_back);
                let has_begun =
                    [What::TrialStarted, What::Purchased].iter().any(|what| self.said.covered(*what).is_some());
                if self.stage.in_trial && !has_begun {
                    self.say(What::TrialStarted, time);
                }
                self.say(What::PlanChanged, time);
            }
            return;
        }
        // The receipt of a plan change is told as that, also when the store calls it a purchase besides.
        let is_known_change = kind == Kind::SubscriptionPurchased && self.known.was_told(Kind::PlanChanged);
        if !is_back && (is_known_change || !self.stage.is_unknown()) {
            return;
        }
        let had_trial = self.stage.is_unknown() && self.known.trial_end().is_some();
        let next = self.stage.terms.filter(|_| is_back && self.truth.is_none()).map(|terms| terms.saturating_add(1));
        self.appear();
        if self.known.is_one_time() {
            // A receipt of what is bought once is bought once, whatever comes late.
            if self.said.covered(What::Purchased).is_none() {
                self.say(What::Purchased, time);
            }
            return;
        }
        self.stage.in_grace = false;
        self.said.untold.remove(&What::GraceBegan);
        self.stage.pending = None;
        self.stage.in_trial = had_trial || self.truth.as_ref().is_some_and(|truth| truth.in_trial);
        let shown = self.stage.terms.filter(|_| is_back);
        self.stage.terms = shown.or(next).or(Some(u64::from(!self.stage.in_trial)));
        if self.stage.in_trial {
            self.say(What::TrialStarted, time);
        }
        self.say(if is_change { What::PlanChanged } else { What::Purchased }, time);
    }

    /// It came back after its end.
    pub fn revive(&mut self, is_back: bool) {
        if is_back {
            self.stage = Stage { life: Life::Running, in_grace: false, is_off: false, ..self.stage.clone() };
            self.said.has_ended = false;
        }
    }

    /// It runs from now on, as the store shows it; what nobody told of that stays untold.
    fn appear(&mut self) {
        self.stage = match &self.truth {
            Some(truth) if truth.runs() => truth.clone(),
            Some(truth) => Stage { life: Life::Running, is_off: false, ..truth.clone() },
            None => Stage { life: Life::Running, sku: self.stage.sku.take(), ..Stage::default() },
        };
        self.said.untold.clear();
        self.said.untold.extend(self.stage.is_off.then_some(What::Cancelled));
        self.said.untold.extend(self.stage.in_grace.then_some(What::GraceBegan));
    }

    /// An admin told of it: it stands as the store shows it, and nothing of that is told.
    fn adopt(&mut self) {
        if let Some(truth) = self.truth.clone().filter(|_| self.stage.is_unknown()) {
            self.stage = truth;
        }
    }

    /// The first word of a receipt that began unseen: it tells what it names, and nothing else is told.
    fn first(&mut self, time: Timestamp, kind: Kind) {
        if kind == Kind::GraceEnded && self.is_over_in_truth() {
            return;
        }
        self.appear();
        match kind {
            Kind::Renewed => {
                self.past_trial();
                self.say(What::Renewed, time);
            }
            Kind::TrialConverted => {
                self.past_trial();
                self.stage.terms = self.stage.terms.max(Some(1));
                self.say(What::TrialConverted, time);
                self.say(What::Renewed, time);
            }
            Kind::AutoRenewalOn => {
                self.stage.is_off = false;
                self.said.untold.remove(&What::Cancelled);
                self.say(What::Resumed, time);
            }
            Kind::AutoRenewalOff => {
                self.stage.is_off = true;
                self.say(What::Cancelled, time);
            }
            Kind::GraceBegan => {
                if !self.stage.in_grace && self.truth.as_ref().is_some_and(Stage::runs) {
                    // It was repaired since: the term that the store shows is the one that the repair began.
                    self.stage.terms = self.stage.terms.map(|terms| terms.saturating_sub(1));
                }
                self.stage.in_grace = true;
                self.say(What::GraceBegan, time);
            }
            Kind::GraceEnded => {
                self.past_trial();
                self.stage.in_grace = false;
                self.say(What::Recovered, time);
            }
            Kind::PlanChangeScheduled => {
                self.stage.pending = self.stage.pending.take().or_else(|| Some(String::new()));
                self.say(What::PlanChangeScheduled, time);
            }
            _ => {}
        }
    }

    fn scheduled(&mut self, time: Timestamp) {
        let shown = self.truth.as_ref().map(|truth| truth.pending.clone());
        let is_news = match &shown {
            Some(pending) => pending.is_some() && *pending != self.stage.pending,
            None => true,
        };
        let is_told = self.stage.pending.as_deref() == Some("") && shown.is_some();
        if self.stage.runs() && is_news && !is_told && !self.is_covered(What::PlanChangeScheduled, time) {
            self.say(What::PlanChangeScheduled, time);
            self.stage.pending = shown.flatten().or_else(|| Some(String::new()));
        }
    }

    fn on(&mut self, time: Timestamp) {
        let is_back = self.stage.life == Life::Ended && self.runs_in_truth() && !self.is_covered(What::Resumed, time);
        if self.stage.life == Life::Cut || is_back {
            self.revive(true);
            self.stage.is_off = true;
        }
        if !self.stage.runs() || self.is_covered(What::Resumed, time) {
            return;
        }
        if !self.stage.is_off {
            if self.is_echo(What::Resumed, time) {
                return;
            }
            self.infer(What::Cancelled, None);
        }
        self.stage.is_off = false;
        self.said.untold.remove(&What::Cancelled);
        self.say(What::Resumed, time);
    }

    fn off(&mut self, time: Timestamp, kind: Kind, ahead: &[Moment]) {
        let is_reminder = kind == Kind::ScheduledToEnd;
        let is_outdated = is_reminder && !self.was_off(ahead);
        if !self.stage.runs() || is_outdated || self.is_covered(What::Cancelled, time) {
            return;
        }
        if self.stage.is_off {
            let is_untold = self.said.untold.contains(&What::Cancelled);
            let has_begun = [What::Purchased, What::PlanChanged].iter().any(|what| self.said.covered(*what).is_some());
            let is_named = is_untold && has_begun;
            if (is_reminder && !is_named) || (!is_untold && self.is_echo(What::Cancelled, time)) {
                return;
            }
            if !is_untold && kind == Kind::SubscriptionCancelled {
                return;
            }
            if !is_untold {
                self.infer(What::Resumed, None);
            }
        }
        self.stage.is_off = true;
        self.said.untold.remove(&What::Cancelled);
        self.say(What::Cancelled, time);
    }

    /// Whether the store shows that it will not renew, or a later word says that this was changed.
    fn was_off(&self, ahead: &[Moment]) -> bool {
        let is_shown = self.truth.as_ref().is_none_or(|truth| truth.is_over() || truth.is_off);
        is_shown || ahead.iter().any(|(_, kind)| *kind == Kind::AutoRenewalOn)
    }

    /// Grace began, if the store shows it, or that it went on from there.
    fn grace(&mut self, time: Timestamp, ahead: &[Moment]) {
        let is_untold = self.said.untold.contains(&What::GraceBegan);
        let is_graced = self.truth.as_ref().is_some_and(|truth| truth.runs() && truth.in_grace);
        self.revive(is_graced && self.stage.life == Life::Ended && !self.is_covered(What::GraceBegan, time));
        if !self.stage.runs() || self.is_covered(What::GraceBegan, time) || (self.stage.in_grace && !is_untold) {
            return;
        }
        let is_repair = |(_, kind): &Moment| matches!(kind, Kind::GraceEnded | Kind::Renewed | Kind::TrialConverted);
        let is_shown = self.truth.as_ref().is_none_or(|truth| {
            truth.in_grace || truth.is_over() || truth.terms > self.stage.terms || ahead.iter().any(is_repair)
        });
        if is_shown {
            self.resume_in_time(ahead);
            self.said.untold.remove(&What::GraceBegan);
            self.stage.in_grace = true;
            self.say(What::GraceBegan, time);
        }
    }

    fn take_back(&mut self) {
        if self.truth.as_ref().is_none_or(|truth| truth.life == Life::Revoked) && self.stage.life != Life::Replaced {
            self.stage.life = Life::Revoked;
        }
    }

    /// It ended, if the store says so too. A cancellation of what still runs switches auto-renewal off.
    fn end(&mut self, time: Timestamp, kind: Kind, ahead: &[Moment]) {
        let is_cancelled = kind == Kind::SubscriptionCancelled;
        let Some(truth) = self.truth.clone() else { return self.end_by_words(time, is_cancelled) };
        if truth.runs() && is_cancelled && self.was_off(ahead) {
            if self.stage.is_unknown() {
                self.appear();
                self.said.untold.insert(What::Cancelled);
            }
            return self.off(time, kind, ahead);
        }
        if truth.life != Life::Ended {
            return;
        }
        if self.stage.is_unknown() {
            self.say(What::Expired, time);
            self.said.untold.clear();
            self.stage = truth;
        } else if self.stage.runs() || self.said.untold.contains(&What::Expired) {
            self.expire(&truth, Some(time));
        }
    }

    /// It ended, and nobody can be asked: that is the replacement if another receipt is known to have taken its place.
    fn end_by_words(&mut self, time: Timestamp, is_cancelled: bool) {
        match self.stage.life {
            _ if self.known.is_replaced() || self.known.was_told(Kind::Replaced) => self.stage.life = Life::Replaced,
            Life::Cut if !is_cancelled => self.stage.life = Life::Ended,
            Life::Unknown | Life::Running => {
                let life = if is_cancelled { Life::Cut } else { Life::Ended };
                let goal = Stage { life, in_grace: false, is_off: true, ..self.stage.clone() };
                self.expire(&goal, Some(time));
            }
            _ => {}
        }
    }
}
