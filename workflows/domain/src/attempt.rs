//! What holds for attempts wherever they are judged, counted or planned.

use crate::time::{DAY, HOUR};
use std::time::Duration;

/// Statuses from 400 to 499 that refuse no event: 408, 425 and 429 are about the time, 410 is about all events.
pub const NO_REFUSALS: [u16; 4] = [408, 410, 425, 429];
/// How long a destination that counts recognizes an event by its id: after seven days it would count it twice.
pub const RECOGNIZED: Duration = DAY.saturating_mul(7);
/// How long after its first attempt such an event is attempted: never in the last hour.
pub const REPEATED: Duration = RECOGNIZED.saturating_sub(HOUR);

/// Whether a status refuses the event itself.
#[must_use]
pub fn is_refusal(status: u16) -> bool {
    (400..=499).contains(&status) && !NO_REFUSALS.contains(&status)
}
