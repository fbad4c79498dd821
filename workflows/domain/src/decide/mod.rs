//! The decision of one settling: what we know afterwards and what becomes of each notification.
//!
//! Ids, revisions and bodies are not here: they belong to the transaction that records the decision.

#[cfg(test)]
mod properties;
#[cfg(test)]
pub(crate) mod tests;

pub use crate::environment::Environment;
use crate::event;
use crate::notification::{Kind, Notification, Outcome};
use crate::purchase::Purchase;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What one settling found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What we know now.
    pub purchase: Purchase,
    /// Whether what we say changed, or a transition happened. It raises the revision.
    pub changed: bool,
    /// The final word on each notification, by its sequence number.
    pub outcomes: Vec<(i64, Outcome)>,
}

/// Decides what `notifications` mean for a purchase of which `purchase` is known.
///
/// Total and pure. The order of the notifications does not matter, nor how they are spread over several
/// decisions: the record is the same in the end. `_now` changes nothing as long as only notifications
/// speak; dates of a verified receipt will be compared with it.
#[must_use]
pub fn decide(
    purchase: &Purchase,
    notifications: &[(i64, Notification)],
    environment: Environment,
    _now: Timestamp,
) -> Decision {
    let mut after = purchase.clone();
    for (_, notification) in notifications {
        after.learn(notification);
    }
    let changed = purchase.state() != after.state() || says(purchase, environment) != says(&after, environment);
    let known = if changed { Outcome::Settled } else { Outcome::NoChange };
    let outcomes = notifications.iter().map(|(seq, notification)| match notification.kind {
        Kind::Unknown => (*seq, Outcome::Unknown),
        _ => (*seq, known),
    });
    Decision { outcomes: outcomes.collect(), purchase: after, changed }
}

/// What we say of it. The names of the platform and the receipt never change, so they are left empty.
fn says(purchase: &Purchase, environment: Environment) -> serde_json::Value {
    event::data(purchase, "", "", environment)
}
