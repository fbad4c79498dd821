//! Duties to a store: what has to be done about a purchase before a deadline, after which the store takes the purchase
//! back. Who does it is a setting of the platform, and not known here.

use crate::store_state::StoreStatus;
use crate::stores::Policy;
use crate::time::{MINUTE, Timestamp};
use crate::verification::Snapshot;
use std::time::Duration;

/// Time between the last check before the deadline and the alarm, in which the check is settled.
const CHECK_MARGIN: Duration = MINUTE.saturating_mul(30);

/// The acknowledgement of a purchase to its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledgement {
    /// Not possible yet: the first payment is pending.
    Early,
    Due(Deadline),
    Done,
    /// No longer possible: the purchase is over.
    Over,
}

/// The deadline of a duty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline {
    pub at: Timestamp,
    /// When an alarm is raised if the duty is still open; `None` if no alarm is wanted.
    pub warn_at: Option<Timestamp>,
}

/// Returns the acknowledgement of a purchase as an answer shows it; `None` if the store needs none, or does not show
/// it.
pub fn acknowledgement(policy: &Policy, shown: &Snapshot) -> Option<Acknowledgement> {
    let state = shown.state.as_deref()?;
    if state.is_acknowledged? {
        return Some(Acknowledgement::Done);
    }
    let within = (policy.acknowledged_within)(shown)?;
    Some(match state.status {
        StoreStatus::Pending => Acknowledgement::Early,
        StoreStatus::Over => Acknowledgement::Over,
        StoreStatus::Active
        | StoreStatus::Grace
        | StoreStatus::AccountHold
        | StoreStatus::Paused => {
            let began = shown.purchased_at.unwrap_or(shown.at);
            let warn_at = began.plus(warned_after(within));
            Acknowledgement::Due(Deadline {
                at: began.plus(within),
                warn_at: (!shown.is_test).then_some(warn_at),
            })
        }
    })
}

/// Returns how long after the beginning of a purchase its acknowledgement is checked: after two thirds of the time.
pub fn checked_after(within: Duration) -> Duration {
    within.saturating_mul(2) / 3
}

/// Returns how long after the beginning of a purchase an alarm is due if it is not acknowledged.
pub fn warned_after(within: Duration) -> Duration {
    checked_after(within).saturating_add(CHECK_MARGIN)
}
