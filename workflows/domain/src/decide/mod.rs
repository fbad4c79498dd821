//! The decision of one settling: what we know afterwards, what happened, and what becomes of each notification.
//!
//! The state comes from the store when it answered; words name the transitions and fill what it cannot say.
//! Ids, revisions and bodies are not here: they belong to the transaction that records the decision.

mod asked;
mod difference;
mod telling;
mod truth;
mod wake;
mod walk;

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod asking;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod seeds;
#[cfg(test)]
pub(crate) mod tests;

use crate::notification::{Kind, Notification, Outcome};
use crate::purchase::{Moment, Purchase, Said, Stage};
use crate::reading::{Parked, Reading};
use crate::time::Timestamp;
use crate::transition::{Transition, What};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use walk::Walk;

/// So long a reading may not show yet what the store said of auto-renewal.
const BEHIND_MS: i64 = 600_000;

/// What a settling was given beside the notifications.
#[derive(Debug, Clone, Copy)]
pub struct Given<'a> {
    /// What the store said.
    pub reading: &'a Reading,
    /// Whether a change of plan put another receipt in its place which is known to be real.
    pub is_replaced: bool,
    /// Now, by the clock that stamps rows.
    pub now: Timestamp,
}

/// What one settling found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What we know now.
    pub purchase: Purchase,
    /// What happened, in the order in which it is told.
    pub transitions: Vec<Transition>,
    /// The final word on each notification, by its sequence number; those that are not listed stay open and
    /// wait. `Settled` becomes `NoChange` where the record finds nothing to say.
    pub outcomes: Vec<(i64, Outcome)>,
    /// What the others wait for.
    pub waits: Option<Waits>,
    /// When to look at it again, without being told anything.
    pub wake: Option<Timestamp>,
}

/// What notifications wait for after their window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    /// The store cannot be reached.
    Verification,
    /// The store does not accept the receipt.
    Parked(Parked),
}

/// Decides what `notifications` mean for a purchase of which `purchase` is known.
///
/// Total and pure. The order of the notifications does not matter, nor whether one of them comes twice.
#[must_use]
pub fn decide(purchase: &Purchase, notifications: &[(i64, Notification)], given: Given<'_>) -> Decision {
    if let Reading::Parked(why) = given.reading {
        return asked::park(purchase, notifications, *why, given.now);
    }
    let spoken = asked::spoken(purchase, notifications, given);
    let mut after = purchase.clone();
    after.parked_since = None;
    let words = Words::of(purchase, &spoken);
    for (_, notification) in &spoken {
        after.learn(notification);
    }
    if given.is_replaced {
        after.replace();
    }
    let (transitions, is_behind) = settle(purchase, &mut after, &words, given);
    let is_waiting = spoken.len() < notifications.len();
    let soon = is_behind.then(|| given.now.plus_millis(BEHIND_MS));
    let wake = soon.into_iter().chain(wake::after(&after, given)).min();
    Decision {
        transitions,
        outcomes: spoken.iter().map(|(seq, notification)| (*seq, outcome(notification))).collect(),
        waits: is_waiting.then_some(Waits::Verification),
        wake,
        purchase: after,
    }
}

const fn outcome(notification: &Notification) -> Outcome {
    match notification.kind {
        Kind::Unknown => Outcome::Unknown,
        _ => Outcome::Settled,
    }
}

/// The known words of one settling, each once.
#[derive(Debug, Default)]
struct Words {
    /// Those newer than all that were settled before, in the order of the store's clock.
    fresh: Vec<Moment>,
    /// The others that were not heard before.
    late: Vec<Moment>,
}

impl Words {
    fn of(purchase: &Purchase, spoken: &[&(i64, Notification)]) -> Self {
        let told = spoken.iter().map(|(_, told)| (told.store_time, told.kind));
        let words: BTreeSet<Moment> = told.filter(|(_, kind)| *kind != Kind::Unknown).collect();
        let words = words.into_iter().filter(|word| !purchase.remembers(*word));
        let (fresh, late) = words.partition(|word| Some(*word) > purchase.said.newest);
        Self { fresh, late }
    }

    /// Whether auto-renewal is off by the last word about it, if that is so new that a reading may not show it yet.
    /// The next reading decides.
    fn switched(&self, said: &Said, read_at: Timestamp) -> Option<bool> {
        let switch = |(_, kind): &&Moment| matches!(kind, Kind::AutoRenewalOn | Kind::AutoRenewalOff);
        let (time, kind) = *self.fresh.iter().rev().find(switch)?;
        let is_told = [What::Cancelled, What::Resumed].iter().any(|what| said.covered(*what) >= Some(time));
        (!is_told && read_at.millis_since(time) <= BEHIND_MS).then_some(kind == Kind::AutoRenewalOff)
    }
}

/// Brings words and reading together: the stage afterwards, the transitions on the way to it, and whether the store
/// seems to be behind its own words.
fn settle(before: &Purchase, after: &mut Purchase, words: &Words, given: Given<'_>) -> (Vec<Transition>, bool) {
    let mut is_behind = false;
    let truth = match given.reading {
        Reading::Verified(snapshot) => {
            after.read(snapshot);
            let shown = truth::shown(before, after, snapshot);
            let switched =
                words.switched(&before.said, snapshot.at).filter(|is_off| shown.runs() && shown.is_off != *is_off);
            is_behind = switched.is_some();
            Some(Stage { is_off: switched.unwrap_or(shown.is_off), ..shown })
        }
        Reading::Gone => {
            after.vanish(given.now);
            Some(truth::gone(after))
        }
        Reading::Unverifiable | Reading::Unreachable { .. } | Reading::Parked(_) => None,
    };
    let is_answer = truth.is_some();
    let goal = truth.clone().unwrap_or_else(|| truth::told(after));
    let mut walk = Walk::new(after, words, truth);
    walk.follow();
    walk.reach(&goal);
    let Walk { stage, mut said, transitions, .. } = walk;
    let has_heard = !words.fresh.is_empty() || !words.late.is_empty();
    said.newest = said.newest.max(words.fresh.last().copied());
    said.is_unverified = !is_answer && (said.is_unverified || has_heard);
    after.said = said;
    match after.answered_at().filter(|_| is_answer) {
        Some(at) => after.stand(stage, at, is_behind),
        None => after.stage = stage,
    }
    (transitions, is_behind)
}
