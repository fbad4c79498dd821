//! The meaning of a store's answers and reports for a purchase.

use super::answers::Answers;
use crate::decide::wake;
use crate::notification::NotificationKind;
use crate::purchase::Purchase;
use crate::time::Timestamp;
use crate::verification::{Snapshot, Verification};
use std::time::Duration;

/// The key of a purchase's id in `external_ids`, unless its store has a common name for it.
pub const RECEIPT_ID: &str = "receipt_id";

/// The rules of a store: constants and pure functions.
#[derive(Debug)]
pub struct Policy {
    /// The store's name on platforms, in URLs and in the database.
    pub store: &'static str,
    /// Key and format of a purchase's id in the `external_ids` of events.
    pub purchase_id_key: &'static str,
    /// How the customer of a purchase is identified.
    pub customer: CustomerSource,
    /// Proof that a device's user owns a purchase.
    pub proof: Proof,
    /// What a check may rest on.
    pub evidence: Evidence,
    /// How answers are interpreted.
    pub answers: Answers,
    /// Meaning of an answer by which the store no longer knows a purchase.
    pub gone: Gone,
    /// Whether a purchase runs again after its end as soon as an answer shows it running: with a payment if more time
    /// is paid than before the end, else resumed.
    pub can_leave_end: bool,
    pub schedules: Schedules,
    /// Returns when to recheck a purchase about which the store answered.
    pub wake: fn(&Purchase, Timestamp) -> Option<Timestamp>,
    /// Returns how long after its beginning a purchase has to be acknowledged to the store; `None` if it needs no
    /// acknowledgement.
    pub acknowledged_within: fn(&Snapshot) -> Option<Duration>,
}

impl Policy {
    /// Whether the store answered about the state of a purchase.
    pub fn is_answer(&self, verification: &Verification) -> bool {
        let is_lost = *verification == Verification::Gone && self.gone == Gone::LastKnown;
        verification.is_answer() && !is_lost
    }

    /// Whether a purchase counts as real: see [`Verification::is_real`]. Where answers show the state, only an answer is
    /// evidence, and a purchase whose first payment is pending takes the place of no other one.
    pub fn is_real(&self, verification: &Verification) -> bool {
        match verification {
            _ if !self.answers.rules().shows_states() => verification.is_real(),
            Verification::Verified(shown) => {
                shown.state.as_ref().is_some_and(|state| state.is_paid())
            }
            _ => false,
        }
    }
}

/// How the customer of a purchase is identified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CustomerSource {
    /// Notifications name the customer, and a query needs the name.
    Notification,
    /// Only an answer can name the customer, and a query needs no name.
    Answer,
}

/// Proof that a device's user owns a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The store confirms the pair of customer and purchase.
    Pair,
    /// The store knows the purchase: its id is a secret of its owner.
    Possession,
    /// The device hands in a transaction that the store signed. The purchase's id proves nothing: it can be guessed.
    Signed,
}

/// What a check may rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// What the store answers to a query. A notification only says that there is something to query.
    Read,
    /// Also what the store signed in the purchase's notifications. A check needs no credential for it, and gets the
    /// bodies of the open notifications.
    Signed,
}

/// Meaning of an answer by which the store no longer knows a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// The purchase is over.
    Over,
    /// The last known state remains valid.
    LastKnown,
}

/// How long notifications wait for the store.
#[derive(Debug, Clone, Copy)]
pub struct Schedules {
    /// When a purchase that the store does not know is rechecked, counted from the first query; then its notifications
    /// are given up.
    pub unknown: &'static [Duration],
    /// When a purchase that belongs to another customer is rechecked, counted from the first query.
    pub wrong_customer: &'static [Duration],
    /// How long the store may not answer before all reports are believed.
    pub believed_after: Duration,
    /// Kinds that are settled without an answer, because no answer can change what they announce.
    pub settled_unverified: &'static [NotificationKind],
}

/// Returns the next recheck according to the dates of the last answer alone: shortly after each of them, and once a
/// week.
pub fn wake_by_dates(purchase: &Purchase, now: Timestamp) -> Option<Timestamp> {
    wake::by_dates(purchase, now)
}
