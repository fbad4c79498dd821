//! How selectors differ in what is owed.

use crate::redelivery::verdict::{Condition, Skipped};
use domain::RedeliverySelector::{self, All, Behind, Event, Failed, Lanes, NeverOwed, Purchase, Purchases, Range};

/// How the candidates of a selector are owed.
#[derive(Clone, Copy)]
pub struct Policy {
    /// When an event is owed.
    pub condition: Condition,
    /// Which deliveries are due at once.
    pub due: DueNow,
    /// The reason where there is no such purchase.
    pub absent: Skipped,
    /// The reason where the destination is not of the purchase's app.
    pub elsewhere: Skipped,
}

/// Which deliveries are due at once, whatever they wait for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum DueNow {
    /// None.
    Nothing,
    /// Those of the selected event, because a person selected it.
    Event,
    /// All of the lane: its back-off ends.
    Lane,
}

impl Policy {
    /// The policy of a selector.
    pub const fn of(selector: &RedeliverySelector) -> Self {
        let (absent, elsewhere) = (Skipped::Operators, Skipped::Deleted);
        let events = Self { condition: Condition::Always, due: DueNow::Nothing, absent, elsewhere };
        let states = Self { absent: Skipped::Unknown, elsewhere: Skipped::Unknown, ..events };
        match selector {
            Event(_) | Purchase(_) => Self { due: DueNow::Event, ..events },
            Lanes(_) => Self { due: DueNow::Lane, ..events },
            Range { .. } => events,
            Failed => Self { condition: Condition::Unacknowledged, ..events },
            Behind => Self { condition: Condition::Unacknowledged, ..states },
            NeverOwed => Self { condition: Condition::NeverOwed, ..states },
            All | Purchases(_) => states,
        }
    }
}
