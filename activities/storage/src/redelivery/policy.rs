//! The policy of each selector: on which condition an event is queued again, and which deliveries become due at once.

use crate::redelivery::verdict::{Condition, Skipped};
use domain::RedeliverySelector::{
    All, Behind, Event, Failed, Lanes, NeverQueued, Purchase, Purchases, Range,
};
use domain::Selection;

/// How the candidates of a selector are treated.
#[derive(Clone, Copy)]
pub struct Policy {
    /// The condition on which an event is queued again.
    pub condition: Condition,
    /// Which pending deliveries become due at once.
    pub due: DueNow,
    /// Why a candidate is skipped if its purchase does not exist.
    pub absent: Skipped,
    /// Why a candidate is skipped if its destination does not belong to the purchase's app, or was deleted.
    pub elsewhere: Skipped,
}

/// Which pending deliveries become due at once, despite their back-off.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DueNow {
    /// No pending delivery.
    Nothing,
    Event,
    /// All deliveries of the lane, so that its back-off ends.
    Lane,
}

impl Policy {
    pub const fn of(selection: &Selection) -> Self {
        let (absent, elsewhere) = (Skipped::Operators, Skipped::Deleted);
        let events = Self {
            condition: Condition::Always,
            due: DueNow::Nothing,
            absent,
            elsewhere,
        };
        let states = Self {
            absent: Skipped::Unknown,
            elsewhere: Skipped::Unknown,
            ..events
        };
        let policy = match &selection.selector {
            Event(_) | Purchase(_) => Self {
                due: DueNow::Event,
                ..events
            },
            Lanes(_) => Self {
                due: DueNow::Lane,
                ..events
            },
            Range { .. } => events,
            Failed => Self {
                condition: Condition::Unacknowledged,
                ..events
            },
            Behind => Self {
                condition: Condition::Unacknowledged,
                ..states
            },
            NeverQueued => Self {
                condition: Condition::NeverQueued,
                ..states
            },
            All | Purchases(_) => states,
        };
        if selection.is_urgent {
            Self {
                due: DueNow::Lane,
                ..policy
            }
        } else {
            policy
        }
    }
}
