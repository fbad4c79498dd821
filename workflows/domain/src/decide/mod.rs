//! The decision of one settling: what we know afterwards and what becomes of each notification.
//!
//! Ids, revisions and bodies are not here: they belong to the transaction that records the decision.

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

use crate::notification::{Kind, Notification, Outcome};
use crate::purchase::Purchase;
use crate::reading::{Parked, Reading};
use crate::time::Timestamp;
use crate::transition::Transition;
use serde::{Deserialize, Serialize};

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
/// Total and pure. The order of the notifications does not matter, nor how they are spread over several
/// decisions: the record is the same in the end.
#[must_use]
pub fn decide(purchase: &Purchase, notifications: &[(i64, Notification)], given: Given<'_>) -> Decision {
    let mut after = purchase.clone();
    for (_, notification) in notifications {
        after.learn(notification);
    }
    after.read(given.reading);
    let outcomes = notifications.iter().map(|(seq, notification)| match notification.kind {
        Kind::Unknown => (*seq, Outcome::Unknown),
        _ => (*seq, Outcome::Settled),
    });
    Decision { outcomes: outcomes.collect(), purchase: after, transitions: Vec::new(), waits: None, wake: None }
}
