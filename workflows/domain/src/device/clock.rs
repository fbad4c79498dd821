//! Corrects the clocks of devices, of which many are wrong by minutes and some by years. A request contains the time at
//! which the device sent it, by the same clock that stamped its events; the difference to settle's clock corrects them
//! all.

use crate::time::Timestamp;
use std::time::Duration;

/// A smaller difference between a device's clock and settle's counts as the request's transit time, not as an error.
const TOLERANCE: Duration = Duration::from_secs(5);

/// The clock of a device, as observed in one request.
#[derive(Debug, Clone, Copy)]
pub struct DeviceClock {
    /// When the device sent the request, by its own clock.
    pub sent_at: Timestamp,
    /// When the request was received, by settle's clock.
    pub received_at: Timestamp,
}

impl DeviceClock {
    /// Converts a time of the device's clock to settle's clock. The result is never later than the receipt of the
    /// request.
    pub fn correct(self, time: Timestamp) -> Timestamp {
        let Self {
            sent_at,
            received_at,
        } = self;
        if sent_at.distance(received_at) < TOLERANCE {
            return time.min(received_at);
        }
        // The age of the event at the time of sending is correct, even if the clock was wrong.
        received_at.minus(sent_at.since(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000 + seconds * 1_000_000)
    }

    #[test]
    fn a_clock_that_is_right_is_left_alone() {
        let clock = DeviceClock {
            sent_at: at(-3),
            received_at: at(0),
        };
        assert_eq!(clock.correct(at(-60)), at(-60));
        assert_eq!(clock.correct(at(2)), at(0), "nothing is in the future");
    }

    #[test]
    fn a_wrong_clock_shows_the_age_of_an_event() {
        for year in [-20_i64, -1, 1, 30] {
            let offset = year * 365 * 86_400;
            let clock = DeviceClock {
                sent_at: at(offset),
                received_at: at(0),
            };
            assert_eq!(clock.correct(at(offset - 600)), at(-600), "{year}");
            assert_eq!(
                clock.correct(at(offset + 600)),
                at(0),
                "{year}: later than its own request"
            );
        }
    }

    proptest! {
        #[test]
        fn no_event_is_later_than_its_request(sent in any::<i64>(), received in any::<i64>(), time in any::<i64>()) {
            let clock = DeviceClock {
                sent_at: Timestamp::from_micros(sent),
                received_at: Timestamp::from_micros(received),
            };
            let corrected = clock.correct(Timestamp::from_micros(time));
            prop_assert!(corrected <= clock.received_at);
        }

        #[test]
        fn the_order_of_events_stays(sent in -1_000_000_i64..1_000_000, one in -1_000_000_i64..1_000_000, other in -1_000_000_i64..1_000_000) {
            let clock = DeviceClock { sent_at: at(sent), received_at: at(0) };
            let (first, last) = (one.min(other), one.max(other));
            prop_assert!(clock.correct(at(first)) <= clock.correct(at(last)));
        }
    }
}
