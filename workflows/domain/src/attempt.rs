//! Rules about attempts that several packages share: which responses refuse an event, and how long an event may be sent
//! again.

use crate::time::{DAY, HOUR};
use std::time::Duration;

/// Statuses from 400 to 499 that do not refuse the event itself: 408, 425 and 429 ask for a later attempt, 410 refuses
/// all events.
const NO_REFUSALS: [u16; 4] = [408, 410, 425, 429];
/// How long a destination that counts events deduplicates them by event id: a repetition after seven days is counted
/// twice.
pub const RECOGNIZED: Duration = DAY.saturating_mul(7);
/// Maximum time after an event's first attempt at which it may be sent to such a destination again: `RECOGNIZED` less a
/// margin of one hour.
pub const REPEATED: Duration = RECOGNIZED.saturating_sub(HOUR);

/// Whether a status refuses the event itself.
pub fn is_refusal(status: u16) -> bool {
    (400..=499).contains(&status) && !NO_REFUSALS.contains(&status)
}
