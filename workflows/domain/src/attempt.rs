//! What holds for attempts wherever they are judged, counted or planned.

/// Statuses from 400 to 499 that refuse no event: 408, 425 and 429 are about the time, 410 is about all events.
pub const NO_REFUSALS: [u16; 4] = [408, 410, 425, 429];
/// How long a destination that counts recognizes an event by its id, in milliseconds: after seven days it would count it
/// twice.
pub const RECOGNIZED_MS: i64 = 7 * 24 * 3_600_000;
/// How long after its first attempt such an event is attempted, in milliseconds: never in the last hour.
pub const REPEATED_MS: i64 = RECOGNIZED_MS - 3_600_000;

/// Whether a status refuses the event itself.
#[must_use]
pub fn is_refusal(status: u16) -> bool {
    (400..=499).contains(&status) && !NO_REFUSALS.contains(&status)
}
