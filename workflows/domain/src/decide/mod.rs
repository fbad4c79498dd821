//! The decision of one settling: what we know afterwards, what happened, and what becomes of each notification.
//!
//! The state comes from the store when it answered; words name the transitions and fill what it cannot say.
//! Ids, revisions and bodies are not here: they belong to the transaction that records the decision.

mod asked;
mod difference;
mod lag;
mod payment;
mod successor;
mod telling;
mod truth;
mod wake;
mod walk;

#[cfg(test)]
mod arrows;
#[cfg(test)]
mod asking;
#[cfg(test)]
mod conversions;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod lagging;
#[cfg(test)]
mod lives;
#[cfg(test)]
mod order;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod seeds;
#[cfg(test)]
mod succeeding;
#[cfg(test)]
pub(crate) mod tests;

use crate::notification::{Kind, Notification, Outcome};
use crate::purchase::{Behind, Life, Moment, Purchase, Unconfirmed};
use crate::reading::{Parked, Reading};
use crate::time::Timestamp;
use crate::transition::Transition;
use lag::{Evidence, Weighed};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use walk::Walk;

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
    /// What became of a notification that the store's reading contradicts or contradicted, and when that one happened.
    #[serde(default)]
    pub lag: Option<(Timestamp, Lag)>,
}

/// How a reading that lags stands to a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lag {
    /// The reading does not show it yet.
    Behind,
    /// The reading shows it now.
    CaughtUp,
    /// A reading two hours later still contradicts it, and counts.
    Overruled,
}

impl Lag {
    fn between(before: Option<Behind>, after: Option<Behind>) -> Option<(Timestamp, Self)> {
        match (before.filter(|before| !before.is_decided), after) {
            (Some(before), None) => Some((before.since, Self::CaughtUp)),
            (before, Some(after)) if !after.is_decided && before.is_none_or(|before| before.since != after.since) => {
                Some((after.since, Self::Behind))
            }
            (before, Some(after)) if after.is_decided && before.is_some() => Some((after.since, Self::Overruled)),
            _ => None,
        }
    }
}

/// What notifications wait for after their window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Waits {
    /// The store cannot be reached.
    Verification,
    /// The store does not show it yet.
    Confirmation,
    /// The store does not accept the receipt.
    Parked(Parked),
}

/// Decides what `notifications` mean for a purchase of which `purchase` is known.
///
/// Total and pure. The order of the notifications does not matter, nor whether one of them comes twice.
#[must_use]
pub fn decide(purchase: &Purchase, notifications: &[(i64, Notification)], given: Given<'_>) -> Decision {
    let is_believed = asked::is_believed(purchase, given);
    let given = match given.reading {
        Reading::Parked(_) if is_believed => Given { reading: &Reading::Unverifiable, ..given },
        Reading::Parked(why) => return asked::park(purchase, notifications, *why, given.now),
        _ => given,
    };
    let ready = asked::spoken(purchase, notifications, given);
    let (ready, late_store) = confirmed(purchase, ready, given);
    if late_store.is_some() && ready.is_empty() && purchase.stage.is_unknown() {
        return asked::postpone(purchase, late_store, given);
    }
    let Settled { purchase: mut after, transitions } = settle(purchase, &ready, (given, late_store));
    after.is_believed = is_believed || (after.is_believed && !given.reading.is_answer());
    after.expect_end(waiting_end(notifications, &ready));
    let waits = match given.reading {
        _ if ready.len() == notifications.len() => None,
        Reading::Unreachable { .. } => Some(Waits::Verification),
        _ => Some(Waits::Confirmation),
    };
    let wake = if is_believed { wake::weekly(&after, given.now) } else { wake::after(&after, given) };
    Decision {
        transitions,
        outcomes: ready.iter().map(|(seq, notification)| (*seq, outcome(notification))).collect(),
        waits,
        wake,
        lag: given.read_at().and_then(|_| Lag::between(purchase.behind, after.behind)),
        purchase: after,
    }
}

/// Those notifications that the reading does not contradict, or that it can contradict for good; and what the others,
/// which wait, show the reading to lack.
fn confirmed<'a>(
    purchase: &Purchase,
    ready: Vec<&'a (i64, Notification)>,
    given: Given<'_>,
) -> (Vec<&'a (i64, Notification)>, Option<Behind>) {
    let Some(at) = given.read_at() else { return (ready, None) };
    let moment = |(_, notification): &&(i64, Notification)| (notification.store_time, notification.kind);
    let (others, doubtful): (Vec<_>, Vec<_>) = ready.iter().partition(|one| !lag::may_wait(moment(one), at));
    if doubtful.is_empty() {
        return (ready, None);
    }
    let taken = Taken::of(purchase, &others, given);
    let Some(weighed) = &taken.weighed else { return (ready, None) };
    let evidence = taken.evidence(purchase, given);
    let waiting: BTreeSet<Moment> =
        doubtful.iter().map(moment).filter(|moment| evidence.is_premature(&weighed.stage, *moment)).collect();
    let late_store = waiting.iter().map(|(time, _)| Behind { since: *time, is_decided: false }).max();
    (ready.into_iter().filter(|one| !waiting.contains(&moment(one))).collect(), late_store)
}

/// When the purchase ended by the newest notification of an end that is not decided now.
fn waiting_end(notifications: &[(i64, Notification)], ready: &[&(i64, Notification)]) -> Option<Timestamp> {
    let is_end = |one: &Notification| matches!(one.kind, Kind::SubscriptionCancelled | Kind::Expired);
    let is_ready = |seq: i64| ready.iter().any(|(decided, _)| *decided == seq);
    let ends = notifications.iter().filter(|(seq, one)| is_end(one) && !is_ready(*seq));
    ends.map(|(_, one)| one.store_time).max()
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
}

impl Given<'_> {
    /// When the store answered, if it did.
    const fn read_at(&self) -> Option<Timestamp> {
        match self.reading {
            Reading::Verified(snapshot) => Some(snapshot.at),
            Reading::Gone => Some(self.now),
            Reading::Unverifiable | Reading::Unreachable { .. } | Reading::Parked(_) => None,
        }
    }
}

/// What is known with the notifications and the reading of a settling.
struct Taken {
    after: Purchase,
    words: Words,
    /// What both show together, if the store answered.
    weighed: Option<Weighed>,
}

impl Taken {
    fn of(before: &Purchase, notifications: &[&(i64, Notification)], given: Given<'_>) -> Self {
        let mut after = before.clone();
        after.parked_since = None;
        let words = Words::of(before, notifications);
        for (_, notification) in notifications {
            after.learn(notification);
        }
        if given.is_replaced {
            after.replace();
        }
        let mut taken = Self { after, words, weighed: None };
        match given.reading {
            Reading::Verified(snapshot) => {
                if let Some(time) = taken.begins_again(before) {
                    taken.after.begin_again(time, snapshot);
                }
                taken.after.read(snapshot);
                let shown = truth::shown(before, &taken.after, snapshot);
                taken.weighed = Some(taken.evidence(before, given).weigh(shown));
            }
            Reading::Gone => {
                let weighed = taken.evidence(before, given).weigh(truth::gone(&taken.after));
                if weighed.stage.runs() {
                    taken.after.vanish_unconfirmed(given.now);
                } else {
                    taken.after.vanish(given.now);
                }
                taken.weighed = Some(weighed);
            }
            Reading::Unverifiable | Reading::Unreachable { .. } | Reading::Parked(_) => {
                if let (Some(time), Some(last)) = (taken.begins_again(before), &before.snapshot) {
                    taken.after.begin_again(time, last);
                }
            }
        }
        taken
    }

    fn evidence<'a>(&'a self, before: &'a Purchase, given: Given<'a>) -> Evidence<'a> {
        let snapshot = match given.reading {
            Reading::Verified(snapshot) => Some(snapshot.as_ref()),
            _ => None,
        };
        let at = given.read_at().unwrap_or(given.now);
        Evidence { before, after: &self.after, fresh: &self.words.fresh, late: &self.words.late, snapshot, at }
    }

    /// When it was paid again after its end.
    fn begins_again(&self, before: &Purchase) -> Option<Timestamp> {
        let pays = |(time, kind): &&Moment| match kind {
            Kind::SubscriptionPurchased | Kind::Renewed | Kind::TrialConverted => true,
            Kind::GraceEnded => !before.is_end_of_grace(*time),
            _ => false,
        };
        let is_over = matches!(before.stage.life, Life::Cut | Life::Ended);
        // What was paid before the end belongs to the terms that ended.
        let is_later = |(time, _): &&Moment| before.expires_at().is_none_or(|end| *time > end);
        let paid = self.words.fresh.iter().filter(|_| is_over).filter(pays);
        paid.filter(is_later).map(|(time, _)| *time).next()
    }
}

/// What a settling knows, and what happened.
struct Settled {
    purchase: Purchase,
    transitions: Vec<Transition>,
}

/// Brings notifications and reading together: the stage afterwards, and the transitions on the way to it.
fn settle(
    before: &Purchase,
    notifications: &[&(i64, Notification)],
    (given, late_store): (Given<'_>, Option<Behind>),
) -> Settled {
    let Taken { mut after, words, weighed } = Taken::of(before, notifications, given);
    let truth = weighed.as_ref().map(|weighed| weighed.stage.clone());
    let goal = truth.clone().unwrap_or_else(|| truth::told(&after));
    let mut walk = Walk::new(&after, &words, truth);
    walk.follow();
    walk.reach(&goal);
    walk.end_without_successor(given.now);
    let Walk { stage, mut said, transitions, .. } = walk;
    let has_heard = !words.fresh.is_empty() || !words.late.is_empty();
    said.newest = said.newest.max(words.fresh.last().copied());
    said.is_unverified = weighed.is_none() && (said.is_unverified || has_heard);
    after.said = said;
    match (weighed, after.answered_at()) {
        (Some(weighed), Some(at)) => {
            after.behind = weighed.behind.max(late_store);
            after.doubt(weighed.half_made_at);
            let switch = weighed.unconfirmed.switch || late_store.is_some();
            let unconfirmed = Unconfirmed { switch, ..weighed.unconfirmed };
            after.leave(before, &stage, at);
            after.stand(stage, weighed.shown_terms, (at, unconfirmed));
        }
        _ => after.stage = stage,
    }
    after.miss_successor(before, given.now);
    Settled { purchase: after, transitions }
}
